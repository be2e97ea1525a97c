// Which URLs we call. Endpoints and callback URLs come from whoever holds an API key; without this guard that key
// would be a way to make requests from inside our network. Checked when a URL is taken and again before each
// attempt.
//
// A name can still resolve to a private address. Workers on Cloudflare reach the public internet only; whoever runs
// workerd elsewhere must give it no route to private networks.

import { err, ok, type Result } from "../protocol/result.ts";

export const MAX_TARGET_CHARACTERS = 2_048;
const HTTPS_PORT = 443;
/** Ports below are other protocols' own, where a crafted request could be taken for a command. */
const FIRST_UNRESERVED_PORT = 1_024;
const LOCAL_HOSTS = new Set(["localhost", "127.0.0.1"]);
/** Names that never lead to the public internet (RFC 6761, RFC 6762, RFC 8375, RFC 9476, and ICANN's `internal`). */
const PRIVATE_SUFFIXES = ["localhost", "local", "internal", "home.arpa", "invalid", "test", "onion", "alt"];

/** What is wrong, as the end of a sentence that begins with the field's name. */
export type TargetFault =
  | "must be an absolute URL of printable ASCII characters"
  | "must be at most 2048 characters"
  | "must be an https URL"
  | "must not contain a user name or password"
  | "must not contain a fragment"
  | "must name a public host"
  | "must not name an address that is private, local or reserved"
  | "must write an address in its usual form"
  | "must use port 443 or one from 1024 up"
  | "must not be this vault itself";

export interface TargetPolicy {
  /** ENVIRONMENT dev: http or https to localhost and 127.0.0.1, on any port. */
  allowLocal: boolean;
  /** PUBLIC_URL: a delivery to ourselves would be a loop. */
  ownOrigin: string;
}

/** The policy of a deployment. */
export const targetPolicy = (config: { ENVIRONMENT: string; PUBLIC_URL: string }): TargetPolicy => ({
  allowLocal: config.ENVIRONMENT === "dev",
  ownOrigin: config.PUBLIC_URL,
});

/** The URL as it will be called, or why it will not be. */
export function checkTarget(text: string, policy: TargetPolicy): Result<URL, TargetFault> {
  if (text.length > MAX_TARGET_CHARACTERS) return err("must be at most 2048 characters");
  // The parser drops control characters and turns backslashes into slashes; neither is ever meant.
  const [, scheme, authority] = /^([a-z]+):\/\/([^/?#\\]+)[\u0021-\u005b\u005d-\u007e]*$/i.exec(text) ?? [];
  if (scheme === undefined || authority === undefined || !URL.canParse(text))
    return err("must be an absolute URL of printable ASCII characters");
  if (!/^[\u0021-\u007e]+$/.test(authority))
    return err("must be an absolute URL of printable ASCII characters");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return err("must be an https URL");
  if (authority.includes("@")) return err("must not contain a user name or password");
  if (text.includes("#")) return err("must not contain a fragment");
  if (url.origin === policy.ownOrigin) return err("must not be this vault itself");
  // The parser has turned every spelling of an address into the usual one: 2130706433 is 127.0.0.1 by now.
  const isAddress = /^[\d.]+$/.test(url.hostname) || url.hostname.startsWith("[");
  if (isAddress && hostAsWritten(authority) !== url.hostname)
    return err("must write an address in its usual form");
  if (policy.allowLocal && LOCAL_HOSTS.has(url.hostname)) return ok(url);
  if (url.protocol !== "https:") return err("must be an https URL");
  const host = url.hostname.replace(/\.$/, "");
  if (isAddress) {
    if (!isPublicAddress(url.hostname))
      return err("must not name an address that is private, local or reserved");
  } else if (!isPublicName(host)) return err("must name a public host");
  const port = url.port === "" ? HTTPS_PORT : Number(url.port);
  if (port !== HTTPS_PORT && port < FIRST_UNRESERVED_PORT)
    return err("must use port 443 or one from 1024 up");
  return ok(url);
}

const hostAsWritten = (authority: string): string => authority.replace(/:\d*$/, "").toLowerCase();

function isPublicName(host: string): boolean {
  const labels = host.split(".");
  if (labels.length < 2 || labels.some((label) => label === "")) return false;
  return !PRIVATE_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
}

/** IPv4 blocks that are not the public internet's (IANA special-purpose registry, and multicast), as [base, bits]. */
const IPV4_RESERVED: readonly [string, number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];

/** Inside 2000::/3, the only block of the public internet, what is not: tunnels carry IPv4 addresses inside. */
const IPV6_RESERVED: readonly [string, number][] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];
const IPV6_PUBLIC: readonly [string, number] = ["2000::", 3];

/** `host` as the URL parser writes it: dotted decimal, or IPv6 in brackets. */
function isPublicAddress(host: string): boolean {
  if (host.startsWith("[")) {
    const address = ipv6Number(host.slice(1, -1));
    const within = ([base, bits]: readonly [string, number]) =>
      address >> BigInt(128 - bits) === ipv6Number(base) >> BigInt(128 - bits);
    return within(IPV6_PUBLIC) && !IPV6_RESERVED.some(within);
  }
  const address = ipv4Number(host);
  return !IPV4_RESERVED.some(([base, bits]) => address >>> (32 - bits) === ipv4Number(base) >>> (32 - bits));
}

const ipv4Number = (text: string): number =>
  text.split(".").reduce((number, part) => number * 256 + Number(part), 0) >>> 0;

/** Of text the URL parser has written: at most one `::`, groups of hex digits, no dotted tail. */
function ipv6Number(text: string): bigint {
  const [head = "", tail] = text.split("::");
  const groups = (part: string | undefined) => (part === undefined || part === "" ? [] : part.split(":"));
  const front = groups(head);
  const back = groups(tail);
  const zeros = Array<string>(8 - front.length - back.length).fill("0");
  return [...front, ...zeros, ...back].reduce((number, group) => (number << 16n) | BigInt(`0x${group}`), 0n);
}
