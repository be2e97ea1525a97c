// Invites as people pass them on: a link or a QR code that names the vault, the code and the service (PROTOCOL §5).
// The service's id in the link is what pins the service: whoever answers at that address must prove to be it.

import { inviteCode } from "../../src/protocol/contract.ts";
import { identityId } from "../../src/protocol/primitives.ts";
import { VaultError } from "./errors.ts";

export interface Invite {
  /** Where the service's vault answers: `https://vault.example`, no path. */
  origin: string;
  code: string;
  /** Every offer from another service is refused. */
  serviceId: string;
}

/** Longer than any invite; what is longer is not looked at. */
const MAX_INVITE_CHARACTERS = 2_048;
const PATH = /^\/connect\/([^/]+)\/?$/;
/** Only these may be reached without TLS: what is sent there does not leave the machine. */
const LOOPBACK_HOSTS = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Whether an origin is of this very machine. */
export const isLoopback = (origin: string): boolean => LOOPBACK_HOSTS.has(new URL(origin).hostname);

const invalid = (why: string): VaultError =>
  new VaultError("invite_invalid", `This is not a usable invite: ${why}.`);

/**
 * Reads `https://<vault>/connect/<code>#<service_id>` or `vettid://connect?vault=<host>&code=<code>&service=<id>`.
 * Plain http is taken for addresses of this machine alone. Throws VaultError `invite_invalid`.
 */
export function parseInvite(text: string): Invite {
  const trimmed = text.trim();
  if (trimmed.length > MAX_INVITE_CHARACTERS) throw invalid("it is too long");
  if (!URL.canParse(trimmed)) throw invalid("it is not a link");
  const link = new URL(trimmed);
  switch (link.protocol) {
    case "vettid:":
      return parseDeepLink(link);
    case "https:":
    case "http:": {
      const code = PATH.exec(link.pathname)?.[1];
      if (code === undefined) throw invalid("its path is not /connect/<code>");
      if (link.hash === "")
        throw invalid(
          "the service's id after # is missing; ask for the whole link, it says who the service is",
        );
      return invite(originOf(link), code, link.hash.slice(1));
    }
    default:
      throw invalid("it starts neither with https:// nor with vettid://");
  }
}

function parseDeepLink(link: URL): Invite {
  // `vettid://connect` has `connect` as its host; some systems hand it on as `vettid:connect`.
  if (link.host !== "connect" && !/^\/*connect\/?$/.test(link.pathname))
    throw invalid("it is not vettid://connect");
  const only = (name: string): string => {
    const [value, ...more] = link.searchParams.getAll(name);
    if (!value || more.length > 0) throw invalid(`it must have exactly one ${name}`);
    return value;
  };
  const vault = only("vault");
  const withScheme = vault.includes("://") ? vault : `https://${vault}`;
  if (!URL.canParse(withScheme)) throw invalid("vault is not a host name");
  const address = new URL(withScheme);
  if (address.pathname !== "/" || address.search !== "" || address.hash !== "")
    throw invalid("vault must be a host name without a path");
  // A host without a scheme is reached over TLS, unless it is this very machine, where development happens.
  if (!vault.includes("://") && LOOPBACK_HOSTS.has(address.hostname)) address.protocol = "http:";
  return invite(originOf(address), only("code"), only("service"));
}

function originOf(address: URL): string {
  if (address.username !== "" || address.password !== "") throw invalid("it carries a user name");
  const plain = address.protocol === "http:" && LOOPBACK_HOSTS.has(address.hostname);
  if (address.protocol !== "https:" && !plain) throw invalid("the vault must be reached over https");
  return `${address.protocol}//${address.host}`;
}

function invite(origin: string, code: string, serviceId: string): Invite {
  if (!inviteCode.safeParse(code).success) throw invalid("its code is malformed");
  if (!identityId.safeParse(serviceId).success) throw invalid("the service's id is malformed");
  return { origin, code, serviceId };
}
