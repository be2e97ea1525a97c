// Whether the domain the service claims names it: TXT over HTTPS, in the JSON form the large resolvers offer
// (application/dns-json). Where several resolvers are configured two must say the same: one that is wrong, or that
// someone bends, decides nothing alone.

import { z } from "zod";
import { type DomainFinding, domainRecordName, findingIn } from "../contracts/domain.ts";
import { fetchJson, type Outside } from "./fetch-json.ts";

const TXT_TYPE = 16;
/** RFC 1035 §4.1.1: there is an answer, or the name does not exist. Anything else is the resolver's trouble. */
const NOERROR = 0;
const NXDOMAIN = 3;
/** Of several resolvers, how many must say the same. */
const QUORUM = 2;

const dnsAnswer = z.object({
  Status: z.int(),
  Answer: z.array(z.object({ type: z.int(), data: z.string() })).optional(),
});

export interface Lookup {
  /** The resolver's host. */
  resolver: string;
  outcome: DomainFinding | "failed";
  /** Why it failed. */
  detail?: string;
}

export interface DomainCheck {
  /** `unresolved`: too few resolvers answered, or they do not agree. */
  outcome: DomainFinding | "unresolved";
  lookups: Lookup[];
}

/**
 * The text of a TXT record as resolvers write it: plain, or as quoted strings to be joined (RFC 1035 §5.1), in which
 * a backslash stands before a quote, a backslash or three decimal digits. Undefined for anything else.
 */
export function txtText(data: string): string | undefined {
  if (!data.startsWith('"')) return data;
  const strings = data.match(/"(?:[^"\\]|\\\d{3}|\\\D)*"/g) ?? [];
  if (strings.join(" ") !== data.trim().replace(/"\s+"/g, '" "')) return undefined;
  return strings
    .map((text) =>
      text
        .slice(1, -1)
        .replace(/\\(\d{3}|\D)/g, (_, escaped: string) =>
          escaped.length === 3 ? String.fromCharCode(Number(escaped)) : escaped,
        ),
    )
    .join("");
}

/** What resolvers have said together. */
export function agreedOn(lookups: readonly Lookup[]): DomainCheck["outcome"] {
  const count = (...outcomes: Lookup["outcome"][]) =>
    lookups.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const needed = Math.min(QUORUM, lookups.length);
  const yes = count("verified");
  const no = count("no_record", "wrong_record");
  if (yes >= needed && yes > no) return "verified";
  if (no < needed || no <= yes) return "unresolved";
  return count("wrong_record") > 0 ? "wrong_record" : "no_record";
}

async function ask(
  resolver: string,
  domain: string,
  service: { serviceId: string; publicKey: string },
  outside: Outside,
): Promise<Lookup> {
  const address = new URL(resolver);
  address.searchParams.set("name", domainRecordName(domain));
  address.searchParams.set("type", "TXT");
  const failed = (detail: string): Lookup => ({ resolver: address.host, outcome: "failed", detail });
  const answer = await fetchJson(address.href, outside, { accept: "application/dns-json" });
  if (!answer.answered) return failed(answer.why);
  if (answer.status !== 200) return failed(`answered ${answer.status}`);
  const parsed = dnsAnswer.safeParse(answer.body);
  if (!parsed.success) return failed("did not answer in the form of application/dns-json");
  const { Status: code, Answer: records = [] } = parsed.data;
  if (code !== NOERROR && code !== NXDOMAIN) return failed(`answered with the DNS response code ${code}`);
  const texts = records.flatMap(({ type, data }) => (type === TXT_TYPE ? (txtText(data) ?? []) : []));
  return { resolver: address.host, outcome: findingIn(texts, service) };
}

/** Asks every resolver, at the same time. Never throws. */
export async function checkDomain(
  domain: string,
  service: { serviceId: string; publicKey: string },
  resolvers: readonly string[],
  outside: Outside,
): Promise<DomainCheck> {
  const lookups = await Promise.all(resolvers.map((resolver) => ask(resolver, domain, service, outside)));
  return { outcome: agreedOn(lookups), lookups };
}
