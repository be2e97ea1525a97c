import { describe, expect, it } from "vitest";
import { checkTarget, MAX_TARGET_CHARACTERS, targetPolicy } from "../../../src/webhooks/target.ts";

const production = targetPolicy({ ENVIRONMENT: "production", PUBLIC_URL: "https://vault.example.com" });
const dev = targetPolicy({ ENVIRONMENT: "dev", PUBLIC_URL: "http://127.0.0.1:8787" });

const accepted = [
  "https://shop.example.com/hooks",
  "https://shop.example.com",
  "https://shop.example.com:443/",
  "https://shop.example.com:8443/hook?token=a%20b",
  "https://SHOP.example.com/",
  "https://xn--bcher-kva.example/",
  "https://8.8.8.8/",
  "https://[2606:4700:4700::1111]/",
  "https://a.b.c.d.example.co.uk:65535/x",
  "https://internal.example.com/",
  "https://localhost.example.com/",
  "https://127.0.0.1.example.com/",
  // Digits that are a name.
  "https://1e100.net/",
];

/** What each would reach, or why it is refused. */
const refused: Record<string, readonly string[]> = {
  "must be an https URL": [
    "http://shop.example.com/",
    "http://localhost/",
    "http://127.0.0.1:9000/",
    "ftp://shop.example.com/",
    "file://shop.example.com/etc/passwd",
    "ws://shop.example.com/",
  ],
  "must be an absolute URL of printable ASCII characters": [
    "",
    "https://",
    "https:///",
    "//shop.example.com/",
    "shop.example.com",
    "/hooks",
    "https:shop.example.com",
    "https:/shop.example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    " https://shop.example.com/",
    "https://shop.example.com/ ",
    "https://shop.example.com/\n",
    "https://shop.exa\tmple.com/",
    "https://shop.example.com/bücher",
    "https://bücher.example/",
    "https://①②⑦.⓪.⓪.①/",
    "https://shop.example.com\\@127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https://[::1",
    "https://999.999.999.999/",
    "https://1.2.3.4.5/",
    "https://shop.example.com:99999/",
    "https://shop.example.com:port/",
    "https://a b.example.com/",
  ],
  "must not contain a user name or password": [
    "https://user@shop.example.com/",
    "https://user:secret@shop.example.com/",
    "https://@shop.example.com/",
    "https://shop.example.com@127.0.0.1/",
    "https://127.0.0.1:80@shop.example.com/",
  ],
  "must not contain a fragment": ["https://shop.example.com/#x", "https://shop.example.com#@127.0.0.1/"],
  "must name a public host": [
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://sub.localhost/",
    "https://intranet/",
    "https://intranet./",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://router.home.arpa/",
    "https://something.test/",
    "https://something.invalid/",
    "https://hidden.onion/",
  ],
  "must not name an address that is private, local or reserved": [
    "https://127.0.0.1/",
    "https://127.255.255.254/",
    "https://0.0.0.0/",
    "https://0.1.2.3/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://169.254.169.254/latest/meta-data/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://192.168.0.1/",
    "https://198.18.0.1/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://224.0.0.1/",
    "https://239.255.255.255/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:808:808]/",
    "https://[::7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[4000::1]/",
    "https://[100::1]/",
  ],
  "must write an address in its usual form": [
    "https://2130706433/",
    "https://134744072/",
    "https://0x7f000001/",
    "https://0x08.0x08.0x08.0x08/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://[::ffff:127.0.0.1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[2606:4700:4700:0:0:0:0:1111]/",
  ],
  "must use port 443 or one from 1024 up": [
    "https://shop.example.com:22/",
    "https://shop.example.com:25/",
    "https://shop.example.com:80/",
    "https://shop.example.com:0/",
    "https://shop.example.com:1023/",
  ],
  "must not be this vault itself": [
    "https://vault.example.com/",
    "https://vault.example.com:443/api/v1/events",
    "https://VAULT.example.com/",
  ],
  "must be at most 2048 characters": [`https://shop.example.com/${"x".repeat(MAX_TARGET_CHARACTERS)}`],
};

describe("a target in production", () => {
  it.each(accepted)("%s is called", (text) => {
    expect(checkTarget(text, production)).toMatchObject({ ok: true });
  });

  for (const [error, texts] of Object.entries(refused)) {
    it.each(texts)(`%j ${error}`, (text) => {
      expect(checkTarget(text, production)).toEqual({ ok: false, error });
    });
  }

  it("a URL of the greatest length is called", () => {
    const text = `https://shop.example.com/${"x".repeat(MAX_TARGET_CHARACTERS)}`.slice(
      0,
      MAX_TARGET_CHARACTERS,
    );
    expect(checkTarget(text, production).ok).toBe(true);
  });
});

describe("a target in development", () => {
  it.each([
    "http://localhost:9000/hook",
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "https://localhost:8443/",
  ])("%s is called: it is this machine", (text) => {
    expect(checkTarget(text, dev).ok).toBe(true);
  });

  it.each([
    "http://127.0.0.2/",
    "http://[::1]/",
    "http://sub.localhost/",
    "http://localhost.example.com/",
    "http://2130706433/",
    "http://127.1:9000/",
    "http://10.0.0.1/",
    "http://shop.example.com/",
    "http://user@localhost/",
    "http://127.0.0.1:8787/api/v1/webhooks",
    "https://192.168.1.1/",
  ])("%s is not", (text) => {
    expect(checkTarget(text, dev).ok).toBe(false);
  });
});
