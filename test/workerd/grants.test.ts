// The one grant decision, held against every operation of every kind: under each status of the contract and each way a
// capability may be granted or not, only what is granted reaches the user, and every attempt leaves its audit entry.
// The table is made from the registry: a new kind is in it by being registered, with its example as what is asked.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, describe, expect, it } from "vitest";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import type { Operation } from "../../src/contracts/grant.ts";
import { userConnectionOf } from "../../src/http/objects.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import type { Contract, ContractStatus } from "../../src/protocol/contract.ts";
import type { CapabilityConstraints, CapabilityGrant } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { About, Kind, KindOperation } from "../../src/requests/kind.ts";
import { customKind } from "../../src/requests/kinds/custom.ts";
import { kinds } from "../../src/requests/registry.ts";
import { Peer } from "../support/peer.ts";
import { connectedPeer } from "../support/worker.ts";

/** Another key for each attempt: there are more than one key may make in a minute. */
let keys = 0;
const keyId = () => `testkey${keys}`;
const HOUR_MS = 3_600_000;
/** Each operation runs some sixty attempts, each in transactions of its own. */
const TABLE_TIMEOUT_MS = 60_000;

const operations = [...kinds, customKind("loyalty")].flatMap((kind) =>
  kind.operations.map((operation) => ({ kind, operation, name: `${kind.name} ${operation.name}` })),
);

const STATUSES = [
  "pending",
  "active",
  "paused",
  "rejected",
  "cancelled",
  "expired",
  "superseded",
] as const satisfies ContractStatus[];

/** How a capability may stand in the contract: what the grant becomes, and what an active contract then says. */
interface Standing {
  name: string;
  grants: (needed: readonly Operation[]) => CapabilityGrant[];
  revoked?: (needed: readonly Operation[]) => string[];
  /** The contract itself has run out, though nobody has noted it yet. */
  over?: true;
  /** Tried under every status, not only where a contract can be used. */
  core?: true;
  /** One use before the attempt. */
  used?: true;
  outcome: (needed: readonly Operation[]) => string;
}

const granted = (capability: string, change: Partial<CapabilityGrant> = {}): CapabilityGrant => ({
  capability,
  description: "For the test",
  requires_approval_each_use: true,
  ...change,
});
const names = (needed: readonly Operation[]) => [...new Set(needed.map(({ capability }) => capability))];
const all = (needed: readonly Operation[], change: Partial<CapabilityGrant> = {}) =>
  names(needed).map((name) => granted(name, change));
const bounded =
  (constraints: CapabilityConstraints) =>
  (needed: readonly Operation[]): CapabilityGrant[] =>
    all(needed, { constraints });

const REACHES = "reaches the user";
const reachesUnless = (refused: boolean, why: string): string => (refused ? why : REACHES);
const hasResources = (needed: readonly Operation[]) =>
  needed.some(({ resources = [] }) => resources.length > 0);
const hasAmount = (needed: readonly Operation[]) => needed.some(({ amount }) => amount !== undefined);

const STANDINGS: readonly Standing[] = [
  { name: "granted", core: true, grants: all, outcome: () => REACHES },
  {
    name: "granted for everything by name",
    grants: (needed) => all(needed, { scope: ["*"] }),
    outcome: () => REACHES,
  },
  {
    name: "not granted",
    core: true,
    grants: () => [granted("nothing_of_this")],
    outcome: () => "capability_denied: not_granted",
  },
  {
    name: "granted in part",
    grants: (needed) => [granted("nothing_of_this"), ...all(needed).slice(0, -1)],
    outcome: () => "capability_denied: not_granted",
  },
  {
    name: "taken back by the user",
    grants: all,
    revoked: (needed) => names(needed).slice(-1),
    outcome: () => "capability_denied: not_granted",
  },
  {
    name: "out of scope",
    core: true,
    grants: (needed) => all(needed, { scope: ["nothing of this"] }),
    // What reaches nothing in particular has nothing a scope could leave out.
    outcome: (needed) => reachesUnless(hasResources(needed), "capability_denied: out_of_scope"),
  },
  {
    name: "not yet valid",
    grants: bounded({ valid_from: toTimestamp(Date.now() + HOUR_MS) }),
    outcome: () => "capability_denied: not_valid_now",
  },
  {
    name: "expired",
    core: true,
    grants: bounded({ valid_until: toTimestamp(Date.now() - HOUR_MS) }),
    outcome: () => "capability_denied: not_valid_now",
  },
  {
    name: "in a contract that has run out",
    grants: all,
    over: true,
    outcome: () => "contract_required: contract_expired",
  },
  {
    name: "for less money",
    grants: bounded({ max_amount: { amount: 0, currency: "XXX" } }),
    outcome: (needed) => reachesUnless(hasAmount(needed), "capability_denied: amount_exceeded"),
  },
  {
    name: "over the hour's rate",
    core: true,
    grants: bounded({ max_per_hour: 1 }),
    used: true,
    outcome: () => "rate_limited: over_rate",
  },
  {
    name: "over the day's rate",
    grants: bounded({ max_per_day: 1 }),
    used: true,
    outcome: () => "rate_limited: over_rate",
  },
];

let peer: Peer | undefined;
let contract: Contract;

const stub = () => env.USER_CONNECTION.getByName(peer!.id);
const inside = <T>(work: (sql: SqlStorage) => T): Promise<T> =>
  runInDurableObject(stub(), (user: UserConnection, state) => {
    const done = work(state.storage.sql);
    // It knows its contract by heart.
    user.forgetRead();
    return done;
  });

/** One person serves the whole table; the first test connects them. */
async function connected(): Promise<void> {
  if (peer !== undefined) return;
  peer = await connectedPeer();
  contract = await inside((sql) =>
    JSON.parse(sql.exec("SELECT contract FROM contracts").one().contract as string),
  );
}
afterAll(() => reset());

const contractWith = (capabilities: CapabilityGrant[]): string =>
  JSON.stringify({ ...contract, offering_snapshot: { ...contract.offering_snapshot, capabilities } });

const isEndedOrPending = (status: ContractStatus): boolean => status !== "active" && status !== "paused";

/** Rows so far, and the newest audit entry. */
const traceIn = (sql: SqlStorage) => {
  const last = sql.exec("SELECT n, entry FROM audit ORDER BY n DESC LIMIT 1").one();
  return {
    rows: sql.exec("SELECT max(n) AS n FROM outgoing").one().n as number,
    entries: last.n as number,
    last: JSON.parse(last.entry as string) as AuditEntry,
  };
};
type Trace = ReturnType<typeof traceIn>;

/** Makes the contract stand as a cell of the table says. Nothing verifies it again after it was accepted. */
const stand = (status: ContractStatus, standing: Standing, needed: readonly Operation[]) =>
  inside((sql) => {
    // The attempts before are over, count for no rate, and do nothing more of their own accord.
    sql.exec("UPDATE outgoing SET created_at = 0, due_at = NULL WHERE kind IS NOT NULL");
    sql.exec("UPDATE outgoing SET status = 'cancelled', sealed = NULL WHERE status = 'pending'");
    sql.exec(
      "UPDATE contracts SET status = ?, contract = ?, revoked_capabilities = ?, expires_at = ?, cooling = '[]'",
      status,
      contractWith(standing.grants(needed)),
      JSON.stringify(standing.revoked?.(needed) ?? []),
      standing.over === true ? Date.now() - 1 : null,
    );
    return traceIn(sql);
  });

const ask = (userId: string, kind: Kind, operation: KindOperation, input: unknown) => {
  keys += 1;
  return userConnectionOf(env, userId).ask({
    userId,
    kind: kind.name,
    operation: operation.name,
    input,
    purpose: "The table",
    expiresInSeconds: 300,
    offlineGraceSeconds: 0,
    keyId: keyId(),
  });
};

/** What became of one attempt, in words; throws when what it left behind says something else. */
async function attempt(
  kind: Kind,
  operation: KindOperation,
  input: unknown,
  capabilities: string[],
  before: Trace,
): Promise<string> {
  const answer = await ask(peer!.id, kind, operation, input);
  const { rows, entries, last } = await inside(traceIn);
  expect(entries, "an attempt leaves one entry").toBe(before.entries + 1);
  expect(last).toMatchObject({ operation: `${kind.name}.request`, request_summary: { key_id: keyId() } });
  expect(capabilities).toContain(last.capability_used);
  if (answer.ok) {
    expect(rows, "what is granted is one message to the user").toBe(before.rows + 1);
    expect(last.status).toBe("success");
    expect(last.request_summary.request_id).toBe(answer.value.request_id);
    return REACHES;
  }
  expect(rows, "what is refused makes no message").toBe(before.rows);
  expect(last.status).toBe("denied");
  expect(last.response_summary.code).toBe(answer.error.code);
  return `${answer.error.code}: ${last.response_summary.reason}`;
}

/** The example, with the earlier request it builds on really made and approved. */
async function inputOf(
  kind: Kind,
  operation: KindOperation,
): Promise<{ input: unknown; about: About | undefined }> {
  const example = operation.input.parse(operation.example);
  const named = operation.about?.(example);
  if (named === undefined) return { input: example, about: undefined };
  const earlier = kind.operations.find(({ name }) => name === named.operation)!;
  const earlierInput = earlier.input.parse({
    ...(earlier.example as object),
    ...(operation.exampleAbout as object | undefined),
  });
  await stand("active", STANDINGS[0]!, [earlier.grant(earlierInput, undefined)]);
  const made = await ask(peer!.id, kind, earlier, earlierInput);
  if (!made.ok) throw new Error(`${kind.name} ${earlier.name}: ${made.error.detail}`);
  const requestId = made.value.request_id;
  await inside((sql) => sql.exec("UPDATE outgoing SET status = 'approved' WHERE event_id = ?", requestId));
  const input = JSON.parse(JSON.stringify(example).replaceAll(named.requestId, requestId)) as unknown;
  return { input, about: { requestId, operation: earlier.name, input: earlierInput } };
}

describe.each(operations)("$name", ({ kind, operation }) => {
  it(
    "reaches the user only when granted, under an active contract, and leaves an entry each time",
    async () => {
      await connected();
      const { input, about } = await inputOf(kind, operation);
      const needed = [operation.grant(input, about), ...(operation.grantAlso?.(input) ?? [])];
      const actual: Record<string, string> = {};
      const expected: Record<string, string> = {};
      for (const status of STATUSES) {
        // An ended contract is not looked into: the ways that differ in name only are left out.
        const standings = STANDINGS.filter(({ core }) => core === true || !isEndedOrPending(status));
        for (const standing of standings) {
          const cell = `${status}, ${standing.name}`;
          let before: Trace;
          if (standing.used === true && status === "active") {
            const unused = await stand(status, STANDINGS[0]!, needed);
            expect(await attempt(kind, operation, input, names(needed), unused)).toBe(REACHES);
            before = await inside((sql) => {
              sql.exec("UPDATE contracts SET contract = ?", contractWith(standing.grants(needed)));
              return traceIn(sql);
            });
          } else before = await stand(status, standing, needed);
          actual[cell] = await attempt(kind, operation, input, names(needed), before);
          expected[cell] =
            status === "active"
              ? standing.outcome(needed)
              : status === "paused"
                ? "contract_required: not_active"
                : "contract_required: no_contract";
        }
      }
      expect(actual).toEqual(expected);
    },
    TABLE_TIMEOUT_MS,
  );

  it("about somebody unknown is refused, and makes no object of a typo", async () => {
    const stranger = await Peer.make();
    const answer = await ask(stranger.id, kind, operation, operation.input.parse(operation.example));
    expect(answer).toMatchObject({ ok: false, error: { code: "contract_required" } });
    const tables = await runInDurableObject(
      env.USER_CONNECTION.getByName(stranger.id),
      (_: UserConnection, state) =>
        state.storage.sql
          .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")
          .toArray(),
    );
    expect(tables).toEqual([]);
  });
});
