// How a vault comes in over HTTPS: the offer behind an invite, credentials for setting up, their renewal, and the
// way out.

import { reset } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { ed25519 } from "@noble/curves/ed25519.js";
import { base64urlnopad } from "@scure/base";
import { connect, ErrorCode, type NatsConnection } from "nats.ws";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { setupForm } from "../../src/contracts/agreement.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import { importSigningKey, type SigningKey, signJson } from "../../src/crypto/signing.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { encodeNkey } from "../../src/nats/nkey.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import { SETUP_CLOCK_SKEW_MS } from "../../src/protocol/limits.ts";
import type { Offer } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { Peer } from "../support/peer.ts";
import { type Body, call, connectedPeer, deliver, offerAndInvite } from "../support/worker.ts";

const serviceId = inject("serviceId");
const HTML = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };

afterEach(() => vi.useRealTimers());

describe("an invite", () => {
  afterAll(() => reset());

  it("is a signed offer for a vault and a page for a browser", async () => {
    const { invite_code, invite_url, deep_link } = await offerAndInvite();
    expect(invite_url).toBe(`https://vault.example.com/connect/${invite_code}#${serviceId}`);
    expect(deep_link).toBe(
      `vettid://connect?vault=vault.example.com&code=${invite_code}&service=${serviceId}`,
    );
    const anyVault: Record<string, string>[] = [{}, { accept: "*/*" }, { accept: "application/json" }];
    for (const headers of anyVault) {
      const answer = await call("GET", `/connect/${invite_code}`, { key: null, headers });
      expect(answer.headers.get("vary")).toContain("Accept");
      expect(await verifyOffer(answer.body, { pinnedServiceId: serviceId, now: Date.now() })).toMatchObject({
        ok: true,
        value: { offerings: [{ offering_id: "login" }] },
      });
    }
    const page = await call("GET", `/connect/${invite_code}`, { key: null, headers: HTML });
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.body).toContain("Example Service invites you to connect");
    // The deep link stands in an attribute, where & is written as &amp;.
    expect(page.body).toContain(deep_link.replaceAll("&", "&amp;"));
  });

  it("shows what a service writes about itself as text", async () => {
    const { invite_code } = await offerAndInvite({
      name: "<img src=x onerror=alert(1)>",
      description: '</style><script>alert("x")</script>',
      terms_url: "https://shop.example/?a=%22onclick=",
    });
    const { body } = await call("GET", `/connect/${invite_code}`, { key: null, headers: HTML });
    expect(body).toContain("&lt;img src=x onerror=alert(1)&gt;");
    expect(body).not.toMatch(/<img|<script/);
  });

  it.each<[string, () => Promise<string>, number, string]>([
    ["unknown", async () => newEventId(), 404, "This invite does not exist"],
    ["malformed", async () => "not-a-code", 404, "This invite does not exist"],
    [
      "expired",
      async () => {
        const { invite_code } = await offerAndInvite({}, { expires_in_seconds: 60 });
        vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
        return invite_code;
      },
      410,
      "This invite has expired",
    ],
    [
      "used up",
      async (): Promise<string> => {
        const { invite_code } = await offerAndInvite();
        const offer: Offer = await directoryOf(env).offer();
        const used: { ok: boolean } = await directoryOf(env).redeemInvite({
          code: invite_code,
          userId: serviceId,
          contractId: serviceId,
          offerId: offer.offer_id,
          offering: offer.offerings[0]!,
          now: Date.now(),
        });
        expect(used.ok).toBe(true);
        return invite_code;
      },
      410,
      "This invite can no longer be used",
    ],
    [
      "withdrawn",
      async () => {
        const { invite_id, invite_code } = await offerAndInvite();
        await call("DELETE", `/api/v1/contracts/invites/${invite_id}`);
        return invite_code;
      },
      404,
      "This invite does not exist",
    ],
  ])("that is %s says so, to a vault and to a person", async (_what, make, status, title) => {
    const code = await make();
    const answer = await call("GET", `/connect/${code}`, { key: null });
    expect(answer.status).toBe(404);
    expect(answer.body.code).toBe("not_found");
    const page = await call("GET", `/connect/${code}`, { key: null, headers: HTML });
    expect(page.status).toBe(status);
    expect(page.body).toContain(title);
  });

  it("with a match code tells the person, but never the code", async () => {
    const { invite_code, match_code } = await offerAndInvite({ match_code: true });
    const page = await call("GET", `/connect/${invite_code}`, { key: null, headers: HTML });
    expect(page.body).toContain("Have your code ready");
    expect(page.body).not.toContain(match_code);
  });
});

interface Keys {
  signing: SigningKey;
  nats: SigningKey;
  natsSeed: Uint8Array;
}

async function newKeys(): Promise<Keys> {
  const natsSeed = randomBytes(32);
  return {
    signing: await importSigningKey(randomBytes(32)),
    nats: await importSigningKey(natsSeed),
    natsSeed,
  };
}

/** A right request; `change` alters what is signed, `after` what is sent. */
async function setupRequest(
  keys: Keys,
  code: string,
  change: {
    timestamp?: string;
    code?: string;
    natsPublicKey?: string;
    signer?: SigningKey;
    natsSigner?: SigningKey;
  } = {},
  after: object = {},
): Promise<Body> {
  const request = {
    signing_key: keys.signing.publicKeyText,
    nats_public_key: change.natsPublicKey ?? encodeNkey("user", keys.nats.publicKey),
    timestamp: change.timestamp ?? toTimestamp(Date.now()),
  };
  const form = setupForm(serviceId, change.code ?? code, request);
  return {
    ...request,
    signature: await signJson(change.signer ?? keys.signing, LABELS.setup, form),
    nats_signature: await signJson(change.natsSigner ?? keys.nats, LABELS.setup, form),
    ...after,
  };
}

const post = (path: string, body: unknown) => call("POST", path, { key: null, body });

describe("setup credentials", () => {
  let code: string;
  beforeAll(async () => {
    code = (await offerAndInvite({}, { max_uses: 100 })).invite_code;
  });
  afterAll(() => reset());

  const open: NatsConnection[] = [];
  afterEach(async () => {
    for (const connection of open.splice(0)) await connection.close();
  });

  it("reach the real broker for the setup subjects and nothing else", async () => {
    const keys = await newKeys();
    const { status, body } = await post(`/connect/${code}/credentials`, await setupRequest(keys, code));
    expect(status).toBe(200);
    const user = keys.signing.id;
    expect(body.inbox_prefix).toBe(`ServiceSpace.${serviceId}.toUser.${user}`);
    const lifetime = Date.parse(body.expires_at) - Date.now();
    expect(lifetime).toBeGreaterThan(890_000);
    expect(lifetime).toBeLessThanOrEqual(900_000);
    const claims = JSON.parse(new TextDecoder().decode(base64urlnopad.decode(body.user_jwt.split(".")[1])));
    expect(claims).toMatchObject({
      sub: encodeNkey("user", keys.nats.publicKey),
      nats: {
        issuer_account: inject("serviceSpace").usersAccount,
        pub: { allow: [`ServiceSpace.${serviceId}.fromUser.${user}.contract.>`] },
        sub: { allow: [`ServiceSpace.${serviceId}.toUser.${user}.>`] },
      },
    });

    const connection = await connect({
      servers: body.endpoint,
      reconnect: false,
      inboxPrefix: body.inbox_prefix,
      authenticator: (nonce?: string) => ({
        jwt: body.user_jwt,
        sig: base64urlnopad.encode(ed25519.sign(utf8(nonce ?? ""), keys.natsSeed)),
        nkey: encodeNkey("user", keys.nats.publicKey),
      }),
    });
    open.push(connection);
    const refused: string[] = [];
    void (async () => {
      for await (const { data } of connection.status()) refused.push(String(data));
    })();
    connection.publish(`ServiceSpace.${serviceId}.fromUser.${user}.contract.submit`, utf8("x"));
    await connection.flush();
    expect(refused).toEqual([]);
    connection.publish(`ServiceSpace.${serviceId}.fromUser.${user}.auth.response`, utf8("x"));
    await connection.flush();
    await expect.poll(() => refused).toContain(ErrorCode.PermissionsViolation);
  });

  it.each<[string, (keys: Keys) => Promise<Body>, string, string]>([
    [
      "signed by another key",
      async (keys) => setupRequest(keys, code, { signer: (await newKeys()).signing }),
      "signature_invalid",
      "signature",
    ],
    [
      "with an nkey its sender does not hold",
      async (keys) => setupRequest(keys, code, { natsSigner: (await newKeys()).nats }),
      "signature_invalid",
      "nats_signature",
    ],
    [
      "signed for another invite",
      (keys) => setupRequest(keys, code, { code: newEventId() }),
      "signature_invalid",
      "signature",
    ],
    [
      "with another time than was signed",
      (keys) => setupRequest(keys, code, {}, { timestamp: toTimestamp(Date.now() - 1_000) }),
      "signature_invalid",
      "signature",
    ],
    [
      "too old",
      (keys) =>
        setupRequest(keys, code, { timestamp: toTimestamp(Date.now() - SETUP_CLOCK_SKEW_MS - 1_000) }),
      "invalid_request",
      "timestamp",
    ],
    [
      "from the future",
      (keys) =>
        setupRequest(keys, code, { timestamp: toTimestamp(Date.now() + SETUP_CLOCK_SKEW_MS + 5_000) }),
      "invalid_request",
      "timestamp",
    ],
    [
      "whose nkey is the signing key",
      (keys) =>
        setupRequest(keys, code, {
          natsPublicKey: encodeNkey("user", keys.signing.publicKey),
          natsSigner: keys.signing,
        }),
      "invalid_request",
      "nats_public_key",
    ],
    [
      "whose nkey has a wrong checksum",
      (keys) => setupRequest(keys, code, { natsPublicKey: `U${"A".repeat(55)}` }),
      "invalid_request",
      "nats_public_key",
    ],
    [
      "whose signing key is of small order, under which anyone can sign",
      (keys) => setupRequest(keys, code, {}, { signing_key: toBase64(new Uint8Array(32).fill(1, 0, 1)) }),
      "invalid_request",
      "signing_key",
    ],
    [
      "whose nkey is of small order",
      (keys) =>
        setupRequest(keys, code, { natsPublicKey: encodeNkey("user", new Uint8Array(32).fill(1, 0, 1)) }),
      "invalid_request",
      "nats_public_key",
    ],
    [
      "with a field nobody asked for",
      (keys) => setupRequest(keys, code, {}, { admin: true }),
      "invalid_request",
      "admin",
    ],
  ])("are refused to a request %s", async (_what, make, expectedCode, hint) => {
    const answer = await post(`/connect/${code}/credentials`, await make(await newKeys()));
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe(expectedCode);
    expect(answer.body.detail).toContain(hint);
  });

  it("are refused for an invite that cannot be used", async () => {
    const unknown = newEventId();
    const answer = await post(
      `/connect/${unknown}/credentials`,
      await setupRequest(await newKeys(), unknown),
    );
    expect(answer.body.code).toBe("not_found");
  });

  it("do not use the invite up", async () => {
    const { invite_code } = await offerAndInvite();
    const keys = await newKeys();
    for (let n = 0; n < 3; n++) {
      const { status } = await post(
        `/connect/${invite_code}/credentials`,
        await setupRequest(keys, invite_code),
      );
      expect(status).toBe(200);
    }
  });

  it("cannot be asked for too often from one address", async () => {
    const fetchWorker = (exports as unknown as { default: { fetch(request: Request): Promise<Response> } })
      .default;
    let last: Response | undefined;
    // The limit's period may end in the middle: then it takes the calls of two.
    for (let n = 0; n < 245 && last?.status !== 429; n++) {
      last = await fetchWorker.fetch(
        new Request(`https://vault.example.com/connect/${code}/credentials`, {
          method: "POST",
          headers: { "cf-connecting-ip": "192.0.2.9" },
        }),
      );
      await last.body?.cancel();
    }
    expect(last?.status).toBe(429);
    expect(last?.headers.get("retry-after")).toBe("60");
  });
});

describe("someone already connected", () => {
  afterAll(() => reset());

  it("gets the contract instead of credentials, renews them, and can end it without the broker", async () => {
    const peer = await connectedPeer();
    const { invite_code } = await offerAndInvite();
    const keys = { signing: peer.signing, nats: peer.nats, natsSeed: new Uint8Array() };
    const again = await post(`/connect/${invite_code}/credentials`, await setupRequest(keys, invite_code));
    expect(again.status).toBe(200);
    expect(again.body).toEqual({ contract_id: peer.contractId });

    const renewed = await post("/connect/credentials", await peer.renewal());
    expect(renewed.status).toBe(200);
    expect(renewed.body.endpoint).toBe(inject("serviceSpace").ws);
    expect(Date.parse(renewed.body.expires_at) - Date.now()).toBeGreaterThan(23 * 3_600_000);
    const stranger = await newKeys();
    const stolen = await post("/connect/credentials", await peer.renewal({ signer: stranger.signing }));
    expect(stolen.body.code).toBe("signature_invalid");

    const forged = await post("/connect/revoke", await peer.revocation(peer.contractId!, stranger.signing));
    expect(forged.body.code).toBe("signature_invalid");
    const ended = await post("/connect/revoke", await peer.revocation());
    expect(ended.body).toEqual({ status: "cancelled" });
    expect((await post("/connect/credentials", await peer.renewal())).status).toBeGreaterThanOrEqual(400);
    expect((await call("GET", `/api/v1/users/${peer.id}`)).status).toBe(404);
  });

  it("or waiting for a decision may begin anew with the invite that is used up by now; nobody else may", async () => {
    const { invite_code, invite_id } = await offerAndInvite({ acceptance: "manual" });
    const offer = await directoryOf(env).offer();
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), invite_code, {
      profile: { email: "ada@example.com" },
    });
    const contractId = peer.contractId!;
    peer.contractId = undefined;
    await deliver(peer, await peer.submit(offer, submission));
    const path = `/connect/${invite_code}/credentials`;
    const keys = { signing: peer.signing, nats: peer.nats, natsSeed: new Uint8Array() };
    const again = async () => post(path, await setupRequest(keys, invite_code));
    expect(await again()).toMatchObject({ status: 200, body: { user_jwt: expect.any(String) } });
    expect((await post(path, await setupRequest(await newKeys(), invite_code))).status).toBe(404);
    // Nor does it matter that the invite was withdrawn since.
    await call("DELETE", `/api/v1/contracts/invites/${invite_id}`);
    expect((await again()).status).toBe(200);
    await expect.poll(() => directoryOf(env).userOfContract(contractId)).toBe(peer.id);
    await call("POST", `/api/v1/contracts/${contractId}/accept`);
    expect((await again()).body).toEqual({ contract_id: contractId });
    await call("DELETE", `/api/v1/contracts/${contractId}`);
    expect((await again()).status).toBe(404);
  });

  it("is the only one these paths know", async () => {
    const peer = await connectedPeer();
    const nobody = (await newKeys()).signing.id;
    expect((await post("/connect/credentials", await peer.renewal({ contractId: nobody }))).status).toBe(404);
    expect((await post("/connect/revoke", await peer.revocation(nobody))).status).toBe(404);
  });
});
