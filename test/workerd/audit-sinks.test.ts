// Copies of audit entries on their way to the sinks: users' objects, the Directory and the Journal, a real HTTP
// receiver and R2, each of which fails, hangs and comes back.

import { abortAllDurableObjects, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { DIRECTORY_NAME } from "../../durable-objects/directory/directory.ts";
import { Journal } from "../../durable-objects/journal/journal.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { BATCH_LIMITS, SINK_PAUSES_MS } from "../../src/audit/sinks.ts";
import { ConfigError, configOf } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import { journalName } from "../../src/webhooks/shards.ts";
import { newSecret, publicKeyText, verifyDelivery } from "../../src/webhooks/signature.ts";
import { countRows, journal, newUserId, query, Receiver, until } from "../support/journal.ts";
import { call, connectedPeer } from "../support/worker.ts";

// What is waited for is made short; how long it is in production is tested where it is decided.
const gathering = { https: BATCH_LIMITS.https.gatherMs, r2: BATCH_LIMITS.r2.gatherMs };
const pauses = [...SINK_PAUSES_MS];
const setWaits = (https: number, r2: number, wanted: readonly number[]) => {
  Object.assign(BATCH_LIMITS.https, { gatherMs: https });
  Object.assign(BATCH_LIMITS.r2, { gatherMs: r2 });
  Object.assign(SINK_PAUSES_MS, wanted);
};

beforeEach(() =>
  setWaits(
    20,
    20,
    pauses.map(() => 50),
  ),
);
afterEach(async () => {
  vi.restoreAllMocks();
  setWaits(gathering.https, gathering.r2, pauses);
  await reset();
});

const secret = newSecret();

/** A bucket that can be told to fail or to hang; what it holds is in R2. */
class Bucket {
  mode: "works" | "fails" | "hangs" = "works";
  calls = 0;
  readonly #prefix = `entries-${newUserId()}/`;
  put = async (key: string, value: string, options?: R2PutOptions): Promise<unknown> => {
    this.calls += 1;
    if (this.mode === "hangs") return new Promise(() => {});
    if (this.mode === "fails") throw new Error("R2 is away");
    return env.AUDIT_R2.put(`${this.#prefix}${key}`, value, options);
  };

  async objects(): Promise<{ key: string; lines: string[] }[]> {
    const { objects } = await env.AUDIT_R2.list({ prefix: this.#prefix });
    return Promise.all(
      objects.map(async ({ key }) => ({
        key,
        lines: (await (await env.AUDIT_R2.get(key))!.text()).trimEnd().split("\n"),
      })),
    );
  }

  async hashes(): Promise<string[]> {
    return (await this.objects()).flatMap(({ lines }) => lines.map((line) => hashOf(JSON.parse(line))));
  }
}

const hashOf = ({ event_hash }: AuditEntry): string => event_hash;

interface Sinks {
  receiver?: Receiver;
  bucket?: Bucket;
}

/** Gives objects that have not begun to work the settings of a deployment with sinks. */
async function configure({ receiver, bucket }: Sinks, ...stubs: DurableObjectStub[]): Promise<void> {
  for (const stub of stubs)
    await runInDurableObject(stub as DurableObjectStub<Journal>, (object) => {
      const holder = object as unknown as { env: Env };
      holder.env = {
        ...holder.env,
        ...(receiver === undefined ? {} : { AUDIT_SINK_URL: receiver.url, AUDIT_SINK_SECRET: secret }),
        ...(bucket === undefined ? {} : { AUDIT_SINK_R2: bucket as unknown as R2Bucket }),
      };
    });
}

const shard = () => env.JOURNAL.getByName(journalName(0));
const user = (id: string) => env.USER_CONNECTION.getByName(id);
const directory = () => env.DIRECTORY.getByName(DIRECTORY_NAME);

let made = 0;
const entry = (): string => {
  made += 1;
  return JSON.stringify({
    event_id: `e${made}`,
    event_hash: `h${made}`,
    timestamp: "2026-11-24T10:00:00.000Z",
  });
};
const hashesOf = (lines: string[]) => lines.map((line) => hashOf(JSON.parse(line)));

const handOver = async (
  lines: string[],
  sinks: ("https" | "r2")[] = ["https", "r2"],
  ownerId = newUserId(),
): Promise<void> =>
  expect(await journal().takeEntries({ ownerId, sinks, lines })).toEqual({ ok: true, value: null });

const delivered = async (receiver: Receiver): Promise<AuditEntry[]> =>
  (await receiver.received()).flatMap(({ body }) => JSON.parse(body).data.entries as AuditEntry[]);
const queued = async (): Promise<number> =>
  (await query<{ n: number }>("SELECT count(*) AS n FROM exports"))[0]!.n;
const emptied = () => until(async () => (await queued()) === 0, "an empty queue");
const stateOf = async (name: string) => (await journal().metrics()).sinks.find(({ sink }) => sink === name)!;

describe("a hand-over", () => {
  it("goes to both sinks in order, signed for one and as JSON Lines for the other, and leaves no row", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await configure({ receiver, bucket }, shard());
    const lines = [entry(), entry(), entry()];
    await handOver(lines.slice(0, 1));
    await handOver(lines.slice(1));
    await emptied();
    expect((await delivered(receiver)).map(hashOf)).toEqual(hashesOf(lines));
    expect(await bucket.hashes()).toEqual(hashesOf(lines));

    const [delivery] = await receiver.received();
    const { headers, body } = delivery!;
    expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
    const { webhookKey } = await configOf(env);
    const publicKeys = [publicKeyText(webhookKey.publicKey)];
    expect(await verifyDelivery(headers, body, { publicKeys })).toMatchObject({ ok: true });
    expect((await journal().metrics()).sinks).toMatchObject([
      { sink: "https", status: "ok", waiting: 0, delivered: 3 },
      { sink: "r2", status: "ok", waiting: 0, delivered: 3 },
    ]);
  });

  it("is for the sinks it names: one configured later gets what is behind alone", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await configure({ receiver, bucket }, shard());
    const [both, one] = [entry(), entry()];
    await handOver([one], ["r2"]);
    await handOver([both]);
    await emptied();
    expect((await delivered(receiver)).map(hashOf)).toEqual(hashesOf([both]));
    expect((await bucket.hashes()).sort()).toEqual(hashesOf([one, both]).sort());
  });

  it("costs no row where no sink is configured", async () => {
    const counted = await countRows(() => handOver([entry()]));
    expect(counted).toEqual({ rows: 0, alarms: 0 });
    expect((await journal().metrics()).sinks).toEqual([]);
  });

  it("costs two rows in the queue and one for each sink", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await configure({ receiver, bucket }, shard());
    await handOver([entry()]);
    await emptied();
    const counted = await countRows(async () => {
      await handOver(Array.from({ length: 50 }, entry));
      await emptied();
    });
    expect(counted.rows).toBe(4);
  });
});

describe("a sink that is away", () => {
  it("holds up neither the other nor anything else, and gets everything in order when it is back", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await receiver.answer({ status: 500 });
    await configure({ receiver, bucket }, shard());
    const lines = [entry(), entry()];
    await handOver(lines.slice(0, 1));
    await until(async () => (await stateOf("https")).status === "failing", "a failure");
    await handOver(lines.slice(1));
    await until(async () => (await stateOf("r2")).delivered === 2, "the other sink");
    expect(await stateOf("https")).toMatchObject({
      status: "failing",
      waiting: 2,
      delivered: 0,
      last_error: "status_500",
      waiting_since: expect.any(String),
      failing_since: expect.any(String),
    });
    expect(await queued()).toBe(2);
    const before = (await receiver.received()).length;
    await receiver.answer({ status: 204 });
    await emptied();
    const taken = (await receiver.received()).slice(before);
    expect(taken.flatMap(({ body }) => JSON.parse(body).data.entries.map(hashOf))).toEqual(hashesOf(lines));
    expect(await stateOf("https")).toMatchObject({ status: "ok", waiting: 0, delivered: 2 });
    expect(await bucket.hashes()).toEqual(hashesOf(lines));
  });

  it("may be the bucket, which fails and then hangs, while the receiver is served", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    bucket.mode = "fails";
    await configure({ receiver, bucket }, shard());
    const lines = [entry(), entry()];
    await handOver(lines.slice(0, 1));
    await until(async () => (await stateOf("r2")).last_error === "unreachable", "a failure");
    bucket.mode = "hangs";
    const calls = bucket.calls;
    await until(async () => bucket.calls > calls, "the bucket to hang");
    await handOver(lines.slice(1));
    await until(async () => (await stateOf("https")).delivered === 2, "the receiver");
    expect(await stateOf("r2")).toMatchObject({ status: "failing", waiting: 2, delivered: 0 });
    // The object that waits for it dies; the next one finds the bucket working.
    bucket.mode = "works";
    await abortAllDurableObjects();
    await configure({ receiver, bucket }, shard());
    await handOver([entry()]);
    await emptied();
    expect((await bucket.hashes()).slice(0, 2)).toEqual(hashesOf(lines));
  });

  it("may hang: nothing waits for it, and what its queue holds is not sent twice at once", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await receiver.answer({ hang: true });
    await configure({ receiver, bucket }, shard());
    await handOver([entry()]);
    await receiver.waitFor(1);
    await handOver([entry()]);
    await until(async () => (await stateOf("r2")).delivered === 2, "the bucket");
    expect((await receiver.look()).maxOpen).toBe(1);
  });

  it("is asked for smaller batches when one was too large, and waits as long as it asked", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 413 }, { status: 429, headers: { "retry-after": "3600" } });
    await configure({ receiver }, shard());
    Object.assign(BATCH_LIMITS.https, { gatherMs: 200 });
    await handOver([entry(), entry()], ["https"]);
    await handOver([entry(), entry()], ["https"]);
    const [first, second] = await receiver.waitFor(2);
    expect(JSON.parse(first!.body).data.entries).toHaveLength(4);
    expect(JSON.parse(second!.body).data.entries).toHaveLength(2);
    const state = await until(async () => {
      const now = await stateOf("https");
      return now.last_error === "status_429" && now;
    }, "the second failure");
    expect(Date.parse(state.next_attempt_at!) - Date.now()).toBeGreaterThan(3_000_000);
  });

  it("gets a batch again after a crash that came before its position was written, under the same name", async () => {
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await configure({ receiver, bucket }, shard());
    const lines = [entry(), entry()];
    await handOver(lines);
    await emptied();
    // As if the transaction after the delivery had never been.
    await query("UPDATE sinks SET position = 0");
    await query(
      "INSERT INTO exports (n, owner, sinks, at, entries, lines) VALUES (1, 'owner', NULL, 0, 2, ?)",
      lines.join("\n"),
    );
    await abortAllDurableObjects();
    await configure({ receiver, bucket }, shard());
    await handOver([entry()]);
    await emptied();
    const [first, again] = await receiver.received();
    const repeated = JSON.parse(again!.body).data.entries.map(hashOf);
    expect(repeated.slice(0, 2)).toEqual(hashesOf(lines));
    // With nothing behind it, the batch is the same to the byte; with more, it has a name of its own.
    if (repeated.length === 2) expect(again!.headers["webhook-id"]).toBe(first!.headers["webhook-id"]);
    else expect(again!.headers["webhook-id"]).not.toBe(first!.headers["webhook-id"]);
    expect(new Set(await bucket.hashes()).size).toBe(3);
  });
});

describe("a chain", () => {
  it("arrives whole and in order at sinks configured after it began, and nothing is handed over twice", async () => {
    const peer = await connectedPeer();
    await abortAllDurableObjects();
    const [receiver, bucket] = [new Receiver(), new Bucket()];
    await configure({ receiver, bucket }, shard(), user(peer.id), directory());
    for (const action of ["pause", "resume"])
      expect((await call("POST", `/api/v1/contracts/${peer.contractId}/${action}`)).status).toBe(200);
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=100`)).body;
    const own = (all: AuditEntry[]) => all.filter(({ user_id }) => user_id === peer.id);
    await until(async () => own(await delivered(receiver)).length >= entries.length, "the chain", 15_000);
    await emptied();
    const received = own(await delivered(receiver));
    expect(received).toEqual(entries);
    const { signingKey } = await configOf(env);
    const keys = { serviceId: inject("serviceId"), publicKey: signingKey.publicKeyText };
    expect(await verifyChain(received, keys)).toMatchObject({ valid: true, entries: entries.length });
    const lines = (await bucket.objects()).flatMap((object) => object.lines.map((line) => JSON.parse(line)));
    expect(own(lines)).toEqual(entries);
  });

  it("of the service's own goes the same way", async () => {
    const receiver = new Receiver();
    await configure({ receiver }, shard(), directory());
    const made = await call("POST", "/api/v1/api-keys", {
      body: { name: "auditor", scopes: ["audit:read"] },
    });
    expect(made.status).toBe(201);
    const { entries } = (await call("GET", "/api/v1/audit?limit=100")).body;
    await until(async () => (await delivered(receiver)).length >= entries.length, "the chain");
    expect(await delivered(receiver)).toEqual(entries);
  });

  it("waits with its owner while the Journal cannot be reached, and no operation waits with it", async () => {
    const peer = await connectedPeer();
    await abortAllDurableObjects();
    const receiver = new Receiver();
    await configure({ receiver }, shard(), user(peer.id));
    vi.spyOn(Journal.prototype, "takeEntries").mockRejectedValue(new Error("the shard died"));
    expect((await call("POST", `/api/v1/contracts/${peer.contractId}/pause`)).status).toBe(200);
    await until(
      () => runInDurableObject(user(peer.id), async (_, { storage }) => (await storage.getAlarm()) !== null),
      "an alarm to hand over later",
    );
    expect(await delivered(receiver)).toEqual([]);
    vi.restoreAllMocks();
    expect((await call("POST", `/api/v1/contracts/${peer.contractId}/resume`)).status).toBe(200);
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=100`)).body;
    await until(async () => (await delivered(receiver)).length >= entries.length, "the chain", 15_000);
    expect(await delivered(receiver)).toEqual(entries);
  });

  it("is handed over again when the Journal's answer was lost, and the order is the chain's", async () => {
    const peer = await connectedPeer();
    await abortAllDurableObjects();
    const receiver = new Receiver();
    await configure({ receiver }, shard(), user(peer.id));
    let lost = 0;
    const take = Journal.prototype.takeEntries;
    vi.spyOn(Journal.prototype, "takeEntries").mockImplementation(async function (this: Journal, entries) {
      const taken = await take.call(this, entries);
      if (lost > 0) return taken;
      lost += 1;
      throw new Error("the answer is lost");
    });
    for (const action of ["pause", "resume"]) {
      expect((await call("POST", `/api/v1/contracts/${peer.contractId}/${action}`)).status).toBe(200);
      await until(async () => lost > 0, "the first hand-over");
    }
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=100`)).body;
    const hashes: string[] = entries.map(hashOf);
    const ordered = await until(
      async () => {
        const received = (await delivered(receiver)).map(hashOf);
        return received.at(-1) === hashes.at(-1) && received.length > hashes.length && received;
      },
      "everything, some of it twice",
      15_000,
    );
    const again = ordered.lastIndexOf(hashes[0]!);
    expect(again).toBeGreaterThan(0);
    expect(ordered.slice(0, again)).toEqual(hashes.slice(0, again));
    expect(ordered.slice(again)).toEqual(hashes);
  });
});

describe("the settings of a sink", () => {
  const settings = (change: Partial<Env>) => configOf({ ...env, ...change } as Env);
  it.each([
    ["a URL without a secret", { AUDIT_SINK_URL: "https://siem.example.com/" }, "belong together"],
    ["a secret without a URL", { AUDIT_SINK_SECRET: secret }, "belong together"],
    [
      "a short secret",
      { AUDIT_SINK_URL: "https://siem.example.com/", AUDIT_SINK_SECRET: "whsec_AAAA" },
      "24 to 64",
    ],
    [
      "a private address",
      { AUDIT_SINK_URL: "https://10.0.0.1/", AUDIT_SINK_SECRET: secret },
      "AUDIT_SINK_URL must not name an address that is private",
    ],
    [
      "plain http",
      { AUDIT_SINK_URL: "http://siem.example.com/", AUDIT_SINK_SECRET: secret },
      "AUDIT_SINK_URL must be an https URL",
    ],
  ])("refuse %s, and say what to change", async (_, change, words) => {
    await expect(settings(change)).rejects.toThrow(ConfigError);
    await expect(settings(change)).rejects.toThrow(words);
    await expect(settings(change)).rejects.not.toThrow(secret);
  });
});
