import { beforeAll, describe, expect, it } from "vitest";
import { signEntry, verifyChain } from "../../../src/audit/chain.ts";
import { auditHashOf } from "../../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { type AuditEntry, CHAIN_START } from "../../../src/protocol/audit.ts";
import { newEventId, randomBytes } from "../../../src/protocol/ids.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";

let key: SigningKey;
let chain: AuditEntry[];
const verify = (entries: readonly unknown[]) =>
  verifyChain(entries, { serviceId: key.id, publicKey: key.publicKeyText });

async function extend(after: string, operation: string): Promise<AuditEntry> {
  return signEntry(
    key,
    {
      event_id: newEventId(),
      timestamp: toTimestamp(Date.now()),
      service_id: key.id,
      operation,
      status: "success",
      request_summary: { key_id: "k1" },
      response_summary: {},
    },
    after,
  );
}

beforeAll(async () => {
  key = await importSigningKey(randomBytes(32));
  chain = [];
  for (const operation of ["contract.submit", "auth.request", "auth.response", "contract.revoke"])
    chain.push(await extend(chain.at(-1)?.event_hash ?? CHAIN_START, operation));
});

describe("a chain of audit entries", () => {
  it("verifies, and names its head", async () => {
    expect(await verify(chain)).toEqual({ valid: true, entries: 4, head: chain[3]!.event_hash });
  });

  it("verifies in parts, each from the head before it", async () => {
    const later = await verifyChain(chain.slice(2), {
      serviceId: key.id,
      publicKey: key.publicKeyText,
      after: chain[1]!.event_hash,
    });
    expect(later.valid).toBe(true);
  });

  it("shows a removed, an inserted and two swapped entries where they are", async () => {
    expect((await verify([chain[0], chain[2], chain[3]])).fault).toEqual({
      index: 1,
      reason: "previous_hash",
    });
    const inserted = await extend(CHAIN_START, "auth.request");
    expect((await verify([chain[0], inserted, ...chain.slice(1)])).fault).toEqual({
      index: 1,
      reason: "previous_hash",
    });
    expect((await verify([chain[0], chain[2], chain[1], chain[3]])).fault).toEqual({
      index: 1,
      reason: "previous_hash",
    });
  });

  it("shows a changed entry, also when its hash was made to fit", async () => {
    const changed = { ...chain[1]!, status: "denied" as const };
    expect((await verify([chain[0], changed, ...chain.slice(2)])).fault).toEqual({
      index: 1,
      reason: "event_hash",
    });
    const rehashed = { ...changed, event_hash: auditHashOf(changed) };
    expect((await verify([chain[0], rehashed])).fault).toEqual({ index: 1, reason: "signature" });
  });

  it("of another service is refused", async () => {
    const other = await importSigningKey(randomBytes(32));
    expect((await verifyChain(chain, { serviceId: other.id, publicKey: other.publicKeyText })).fault).toEqual(
      { index: 0, reason: "service_id" },
    );
  });

  it("says the same of two entries with the same content: the salt keeps hashes from being guessed", async () => {
    const [one, two] = await Promise.all([
      extend(CHAIN_START, "auth.request"),
      extend(CHAIN_START, "auth.request"),
    ]);
    expect(one.event_hash).not.toBe(two.event_hash);
  });
});
