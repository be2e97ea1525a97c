// Heads of chains on their way into the log: users' objects and the Directory, the Journal, the AuditLog, all real.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { AUDIT_LOG_NAME, AuditLog } from "../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import { RECOVERY_MS } from "../../durable-objects/heads.ts";
import { GATHER_MS as LEAF_GATHER_MS, LeafCarrier } from "../../durable-objects/journal/carrier.ts";
import { Journal } from "../../durable-objects/journal/journal.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { leafOf, openingBytes, parseOpening } from "../../src/audit/leaf.ts";
import { formatProof, parseProof } from "../../src/audit/proof.ts";
import { configOf } from "../../src/config.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { countingRows } from "../support/count-rows.ts";
import { call, connectedPeer, isLogged } from "../support/worker.ts";

const CARRIED_MS = 10_000;
/** From one batch of the log to the next, for a carrier of the test's own. */
const BATCH_MS = 2_000;

// A batch under way when storage is wiped would leave a checkpoint in R2 that the next log knows nothing of.
afterEach(async () => {
  vi.restoreAllMocks();
  await abortAllDurableObjects();
  await reset();
});

const log = () => env.AUDIT_LOG.getByName(AUDIT_LOG_NAME);
const user = (id: string) => env.USER_CONNECTION.getByName(id);
const directory = () => env.DIRECTORY.getByName(DIRECTORY_NAME);

interface Head extends Record<string, SqlStorageValue> {
  n: number;
  head: string;
  salt: ArrayBuffer;
  leaf_index: number;
}

const notesOf = (stub: Owner): Promise<Head[]> =>
  runInDurableObject(stub as DurableObjectStub<UserConnection>, (_, state) =>
    state.storage.sql.exec<Head>("SELECT * FROM heads ORDER BY n").toArray(),
  );

type Owner = DurableObjectStub<UserConnection> | DurableObjectStub<Directory>;

const logged = (stub: Owner) => expect.poll(() => isLogged(stub), { timeout: CARRIED_MS }).toBe(true);

const leaves = async (): Promise<number> => (await log().state()).published_size;

const alarmOf = (id: string) => runInDurableObject(user(id), (_, { storage }) => storage.getAlarm());

/** An entry, without an event and without a message to the person. */
const readProfile = async (id: string) =>
  expect((await call("GET", `/api/v1/users/${id}/profile`)).status).toBe(200);

const feedOf = async (id: string): Promise<string[]> =>
  (await call("GET", `/api/v1/events?user_id=${id}&limit=100`)).body.events.map(
    ({ type }: { type: string }) => type,
  );

const pauseOnce = async (contractId: string) =>
  expect((await call("POST", `/api/v1/contracts/${contractId}/pause`)).status).toBe(200);

async function pause(contractId: string): Promise<void> {
  for (const action of ["pause", "resume"])
    expect((await call("POST", `/api/v1/contracts/${contractId}/${action}`)).status).toBe(200);
}

describe("a head", () => {
  it("is logged under the salt its row was written with, and nobody waits for it", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    await logged(directory());
    const size = await leaves();
    await pauseOnce(peer.contractId!);
    await expect.poll(leaves, { timeout: CARRIED_MS }).toBe(size + 1);
    const { last, salt } = await runInDurableObject(user(peer.id), (_, { storage }) => {
      const row = storage.sql
        .exec<{ entry: string; salt: ArrayBuffer }>("SELECT entry, salt FROM audit ORDER BY n DESC LIMIT 1")
        .one();
      return { last: JSON.parse(row.entry) as AuditEntry, salt: new Uint8Array(row.salt) };
    });
    const leaf = leafOf({ salt, ownerId: peer.id, head: last.event_hash });
    const shown = await runInDurableObject(user(peer.id), (object: UserConnection) =>
      object.auditProof(last.event_id),
    );
    expect(await log().position({ leaf })).toEqual({ index: size });
    expect(shown).toMatchObject({ ok: true, value: { index: size, opening: { head: last.event_hash } } });
  });

  it("lands once though the log dies before and after it took it, and the user's object meanwhile", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    await logged(directory());
    const size = await leaves();
    // It has the leaf, and the answer is lost.
    const offer = AuditLog.prototype.offer;
    let lost = 0;
    vi.spyOn(AuditLog.prototype, "offer").mockImplementation(async function (this: AuditLog, offered) {
      await offer.call(this, offered);
      lost += 1;
      throw new Error("the answer is lost");
    });
    // One operation: two may be two heads on a busy machine.
    await pauseOnce(peer.contractId!);
    await expect.poll(() => lost, { timeout: CARRIED_MS }).toBeGreaterThan(0);
    await expect.poll(() => leaves(), { timeout: CARRIED_MS }).toBe(size + 1);
    vi.restoreAllMocks();
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(user(peer.id))).toBe(true);
    expect(await isLogged(user(peer.id))).toBe(true);
    expect(await leaves()).toBe(size + 1);
  });

  it("comes into the log by the alarm where the shard died with its leaf", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    await logged(directory());
    const size = await leaves();
    vi.spyOn(Journal.prototype, "append").mockResolvedValue();
    await readProfile(peer.id);
    await abortAllDurableObjects();
    vi.restoreAllMocks();
    expect(await leaves()).toBe(size);
    expect(await runDurableObjectAlarm(user(peer.id))).toBe(true);
    // It comes back until the log has it: this one has only brought the leaf on its way.
    const due = await alarmOf(peer.id);
    expect(due).toBeLessThanOrEqual(Date.now() + RECOVERY_MS);
    await expect.poll(leaves, { timeout: CARRIED_MS }).toBe(size + 1);
  });

  it("that is in the log costs its note, and no further alarm, though the object was away since it came there", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    const size = await leaves();
    await readProfile(peer.id);
    await expect.poll(leaves, { timeout: CARRIED_MS }).toBeGreaterThan(size);
    await abortAllDurableObjects();
    const counting = await countingRows(user(peer.id) as unknown as DurableObjectStub<never>);
    expect(await runDurableObjectAlarm(user(peer.id))).toBe(true);
    const { rows, alarms } = await counting.stop();
    expect(rows).toBe(1);
    // That of the next rotation of keys.
    expect(alarms).toBe(1);
    expect(await alarmOf(peer.id)).toBeGreaterThan(Date.now() + 24 * 3_600_000);
    expect(await feedOf(peer.id)).toEqual(["contract.created", "contract.activated"]);
  });

  it("waits while the log has halted, and holds up nobody", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    vi.spyOn(AuditLog.prototype, "offer").mockResolvedValue({
      ok: false,
      error: { code: "unavailable", detail: "it has halted", retryAfterSeconds: 10 },
    });
    const began = Date.now();
    await pause(peer.contractId!);
    expect(Date.now() - began).toBeLessThan(2_000);
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}`)).body;
    const refused = await call("GET", `/api/v1/audit/${entries.at(-1).event_id}/proof?user_id=${peer.id}`);
    expect(refused).toMatchObject({ status: 503, body: { code: "unavailable" } });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    vi.restoreAllMocks();
    await expect.poll(() => runDurableObjectAlarm(user(peer.id))).toBe(true);
    await logged(user(peer.id));
  });
});

describe("a shard of the Journal", () => {
  /** A carrier, and the batches it has offered to a log that publishes each at once and remembers none. */
  const carrierOf = (batchMs: number) => {
    const batches: Uint8Array[][] = [];
    const carrier = new LeafCarrier({
      offer: async (offered) => {
        batches.push(offered.map(({ leaf }) => leaf));
        return { ok: true, value: offered.map((_, index) => ({ index })) };
      },
      position: async () => ({}),
      batchMs: async () => batchMs,
      waitUntil: () => {},
    });
    return { batches, carrier };
  };

  it("offers the first leaf at once, and those that follow together, for the log's next batch", async () => {
    const { batches, carrier } = carrierOf(BATCH_MS);
    const leaves = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte));
    const take = (at: number) => carrier.take({ ownerId: `owner ${at}`, leaf: leaves[at]! });
    take(0);
    await expect.poll(() => batches, { timeout: CARRIED_MS }).toEqual([[leaves[0]]]);
    take(1);
    // Longer than leaves are gathered after a quiet time.
    await new Promise((resolve) => setTimeout(resolve, 2 * LEAF_GATHER_MS));
    take(2);
    await expect.poll(() => batches, { timeout: CARRIED_MS }).toEqual([[leaves[0]], [leaves[1], leaves[2]]]);
  });

  it("carries the newest leaf of a chain, and says where it is", async () => {
    const { batches, carrier } = carrierOf(0);
    const leaf = (byte: number) => new Uint8Array(32).fill(byte);
    for (const [ownerId, byte] of [
      ["ada", 1],
      ["bob", 2],
      ["ada", 3],
    ] as const)
      expect(carrier.take({ ownerId, leaf: leaf(byte) })).toBe(true);
    await expect.poll(() => batches, { timeout: CARRIED_MS }).toEqual([[leaf(3), leaf(2)]]);
    expect(await carrier.carry({ ownerId: "bob", leaf: leaf(2) })).toEqual({ ok: true, value: { index: 1 } });
    // Never logged, so it is carried.
    expect(await carrier.carry({ ownerId: "ada", leaf: leaf(1) })).toEqual({ ok: true, value: {} });
    await expect.poll(() => batches.length, { timeout: CARRIED_MS }).toBe(2);
  });
});

describe("an event in its entry's row", () => {
  const SETUP = ["contract.created", "contract.activated"];
  const waiting = (id: string) =>
    runInDurableObject(user(id), (_, { storage: { sql } }) => ({
      own: sql.exec("SELECT n FROM events").toArray().length,
      riding: sql.exec("SELECT n FROM audit WHERE events IS NOT NULL").toArray().length,
    }));
  const logAway = () =>
    vi.spyOn(AuditLog.prototype, "offer").mockResolvedValue({
      ok: false,
      error: { code: "unavailable", detail: "it has halted", retryAfterSeconds: 10 },
    });
  /** Types of the events handed over from here on, also of those the Journal knows already. */
  const handed = () => {
    const append = Journal.prototype.append;
    const types: string[] = [];
    vi.spyOn(Journal.prototype, "append").mockImplementation(async function (this: Journal, entries, leaf) {
      types.push(...entries.map(({ event }) => event.type));
      return append.call(this, entries, leaf);
    });
    return types;
  };

  it("is confirmed by the head that covers the entry: no life of the object sends it again", async () => {
    const peer = await connectedPeer();
    await pauseOnce(peer.contractId!);
    await logged(user(peer.id));
    expect(await feedOf(peer.id)).toEqual([...SETUP, "contract.paused"]);
    expect(await waiting(peer.id)).toEqual({ own: 0, riding: 2 });
    await abortAllDurableObjects();
    const types = handed();
    await runDurableObjectAlarm(user(peer.id));
    expect(
      await runInDurableObject(user(peer.id), (object: UserConnection) => object.audit({ limit: 1 })),
    ).toMatchObject({ ok: true });
    expect(types).toEqual([]);
  });

  it("is sent again after a crash that came before the head was noted, and is in the feed once", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    logAway();
    await pauseOnce(peer.contractId!);
    await expect.poll(() => feedOf(peer.id)).toEqual([...SETUP, "contract.paused"]);
    await abortAllDurableObjects();
    const types = handed();
    await expect
      .poll(async () => {
        await runDurableObjectAlarm(user(peer.id));
        return types;
      })
      .toContain("contract.paused");
    expect(await feedOf(peer.id)).toEqual([...SETUP, "contract.paused"]);
  });

  it("is confirmed by itself when the log stays away past the alarm", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    logAway();
    await pauseOnce(peer.contractId!);
    await expect.poll(() => feedOf(peer.id)).toEqual([...SETUP, "contract.paused"]);
    expect((await waiting(peer.id)).riding).toBe(2);
    const now = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => now() + RECOVERY_MS);
    await expect
      .poll(async () => {
        await runDurableObjectAlarm(user(peer.id));
        return (await waiting(peer.id)).riding;
      })
      .toBe(1);
    await abortAllDurableObjects();
    const types = handed();
    expect(await runDurableObjectAlarm(user(peer.id))).toBe(true);
    expect(types).toEqual([]);
    vi.restoreAllMocks();
    await expect.poll(() => runDurableObjectAlarm(user(peer.id))).toBe(true);
    await logged(user(peer.id));
  });

  it("holds the head's note back while the Journal does not have it; neither is lost or pruned", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    await logged(directory());
    const noted = (await notesOf(user(peer.id))).at(-1)!.n;
    const size = await leaves();
    vi.spyOn(Journal.prototype, "append").mockRejectedValue(new Error("it is away"));
    await pauseOnce(peer.contractId!);
    // Its own alarm, due at once, may be under way.
    await runDurableObjectAlarm(user(peer.id));
    await expect.poll(leaves, { timeout: CARRIED_MS }).toBe(size + 1);
    await logged(user(peer.id));
    expect((await notesOf(user(peer.id))).at(-1)!.n).toBe(noted);
    await runInDurableObject(user(peer.id), (object: UserConnection) =>
      object.pruneAudit(Date.now() + 1_000),
    );
    expect(await feedOf(peer.id)).toEqual(SETUP);
    vi.restoreAllMocks();
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(user(peer.id))).toBe(true);
    await logged(user(peer.id));
    expect(await feedOf(peer.id)).toEqual([...SETUP, "contract.paused"]);
    expect(await leaves()).toBe(size + 1);
  });

  it("keeps its place among those with a callback, which have rows of their own", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    vi.spyOn(Journal.prototype, "append").mockRejectedValue(new Error("it is away"));
    await pause(peer.contractId!);
    const asked = await call("POST", "/api/v1/auth/request", {
      body: { user_id: peer.id, purpose: "Log in", callback_url: "https://shop.example/done" },
    });
    expect(asked.status).toBe(201);
    const cancelled = await call("POST", `/api/v1/requests/${asked.body.request_id}/cancel`);
    expect(cancelled.status).toBe(200);
    await pauseOnce(peer.contractId!);
    expect(await waiting(peer.id)).toMatchObject({ own: 1 });
    vi.restoreAllMocks();
    await expect
      .poll(async () => {
        await runDurableObjectAlarm(user(peer.id));
        return feedOf(peer.id);
      })
      .toEqual([...SETUP, "contract.paused", "contract.resumed", "request.cancelled", "contract.paused"]);
    expect(await waiting(peer.id)).toMatchObject({ own: 0 });
  });

  it("comes behind one that an earlier version left in a row of its own", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    const [made] = (await call("GET", `/api/v1/events?user_id=${peer.id}&limit=1`)).body.events;
    const event = { ...made, event_id: newEventId(), type: "profile.updated" };
    vi.spyOn(Journal.prototype, "append").mockRejectedValue(new Error("it is away"));
    await runInDurableObject(user(peer.id), (_, { storage: { sql } }) => {
      sql.exec("INSERT INTO events (event, callback) VALUES (?, NULL)", JSON.stringify(event));
    });
    await pauseOnce(peer.contractId!);
    vi.restoreAllMocks();
    await expect
      .poll(async () => {
        await runDurableObjectAlarm(user(peer.id));
        return feedOf(peer.id);
      })
      .toEqual([...SETUP, "profile.updated", "contract.paused"]);
    expect(await waiting(peer.id)).toMatchObject({ own: 0 });
  });
});

describe("old entries", () => {
  it("are deleted up to a logged head, and the rest verifies from its hash on", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    const boundary = (await notesOf(user(peer.id))).at(-1)!;
    await pause(peer.contractId!);
    await logged(user(peer.id));
    const whole = (await call("GET", `/api/v1/audit?user_id=${peer.id}`)).body.entries;
    const size = await leaves();
    const pruned = await runInDurableObject(user(peer.id), (object: UserConnection) =>
      object.pruneAudit(Date.now() + 1_000),
    );
    expect(pruned).toBe(true);
    const { entries, pruned_to: after } = (await call("GET", `/api/v1/audit?user_id=${peer.id}`)).body;
    expect(entries.length).toBeLessThan(whole.length);
    expect(entries).toEqual(whole.slice(-entries.length));
    expect(after).toBe(boundary.head);
    const { signingKey } = await configOf(env);
    const checked = { serviceId: inject("serviceId"), publicKey: signingKey.publicKeyText };
    expect((await verifyChain(entries, checked)).valid).toBe(false);
    expect(await verifyChain(entries, { ...checked, after })).toMatchObject({ valid: true });
    const proof = await call("GET", `/api/v1/audit/${entries[0].event_id}/proof?user_id=${peer.id}`);
    expect(proof.status).toBe(200);
    expect((await call("GET", `/api/v1/audit/${whole[0].event_id}/proof?user_id=${peer.id}`)).status).toBe(
      404,
    );
    // The chain goes on, and the tree never had anything to lose.
    await readProfile(peer.id);
    await logged(user(peer.id));
    expect(await leaves()).toBe(size + 1);
  });
});

describe("the proof of an entry", () => {
  it("is its chain up to a logged head, and that head's inclusion", async () => {
    const peer = await connectedPeer();
    await logged(user(peer.id));
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}`)).body;
    const { status, body } = await call(
      "GET",
      `/api/v1/audit/${entries[0].event_id}/proof?user_id=${peer.id}`,
    );
    expect(status).toBe(200);
    expect(body.entries[0]).toEqual(entries[0]);
    expect(body.entries.at(-1).event_hash).toBe(body.head);
    const opening = parseOpening(parseProof(body.proof)!.extra!)!;
    expect(opening).toMatchObject({ ownerId: peer.id, head: body.head });

    const verify = async (input: object) =>
      (
        await call("POST", "/api/v1/audit/verify", {
          body: { user_id: peer.id, proof: body.proof, ...input },
        })
      ).body;
    const covered = body.entries.length;
    expect(await verify({ entries: body.entries })).toMatchObject({ valid: true, covered, findings: [] });
    const changed = body.entries.with(0, { ...entries[0], operation: "contract.reject" });
    expect(await verify({ entries: changed })).toMatchObject({
      valid: false,
      findings: [{ kind: "changed", entry: 0, event_id: entries[0].event_id }],
    });
    expect(await verify({ entries: [] })).toMatchObject({ valid: false, findings: [{ kind: "not_in_log" }] });
    // An opening with another salt is another leaf's.
    const forged = formatProof({
      ...parseProof(body.proof)!,
      extra: openingBytes({ ...opening, salt: new Uint8Array(32) }),
    });
    expect(await verify({ entries: body.entries, proof: forged })).toMatchObject({
      findings: [{ kind: "log_damaged", detail: expect.stringContaining("inclusion") }],
    });
  });

  it("is there for the service's own chain, and not for what is not there", async () => {
    const peer = await connectedPeer();
    await logged(directory());
    const { entries } = (await call("GET", "/api/v1/audit?limit=1")).body;
    const own = await call("GET", `/api/v1/audit/${entries[0].event_id}/proof`);
    expect(own).toMatchObject({ status: 200, body: { entries: [entries[0], ...own.body.entries.slice(1)] } });
    for (const path of [
      `${entries[0].event_id}/proof?user_id=${peer.id}`,
      `nothing/proof?user_id=${peer.id}`,
      "nothing/proof",
    ])
      expect((await call("GET", `/api/v1/audit/${path}`)).status).toBe(404);
  });
});
