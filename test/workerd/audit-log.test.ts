// The AuditLog where it runs, with its real database, the real bucket and real witnesses: what a crash at any step
// leaves, what a restored storage is told, and that whatever is handed out holds for someone who has only the key.

import {
  abortAllDurableObjects,
  createExecutionContext,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import {
  AUDIT_LOG_NAME,
  type AuditLog,
  type LogSettings,
  MAX_OFFERED_LEAVES,
} from "../../durable-objects/audit-log/audit-log.ts";
import { CHECKPOINT_KEY, type LogStore, R2LogStore, tileKey } from "../../durable-objects/audit-log/store.ts";
import { WITNESS_TIMEOUT_MS } from "../../durable-objects/audit-log/witnesses.ts";
import { type OpenedCheckpoint, openCheckpoint, signCheckpoint } from "../../src/audit/checkpoint.ts";
import { leafOf } from "../../src/audit/leaf.ts";
import { leafHash, rootHash, verifyConsistency } from "../../src/audit/merkle.ts";
import { noteVerifierKey, parseVerifierKey, type VerifierKey } from "../../src/audit/note.ts";
import { verifyProof } from "../../src/audit/proof.ts";
import { readerOver, TILE_WIDTH, type Tile, tilesBetween } from "../../src/audit/tiles.ts";
import { parseWitnesses, type WitnessAddress } from "../../src/audit/witness.ts";
import { importSigningKey, type SigningKey } from "../../src/crypto/signing.ts";
import { app } from "../../src/http/app.ts";
import { fromBase64, toBase58, toBase64 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import type { RpcResult } from "../../src/rpc.ts";
import type { WitnessOrder } from "../witness-setup.ts";

const ORIGIN = "vault.example.com/log";
const HASH = 32;
const POLL_MS = 20;
const BATCH_SECONDS = 1;

const witnessHost = inject("witnessHost");

let key: SigningKey;
let vkey: string;
let logKey: VerifierKey;
let witnesses: WitnessAddress[];
/** Every checkpoint that was seen published, oldest first. */
let seen: OpenedCheckpoint[];
let origin: string;

beforeEach(async () => {
  key = await importSigningKey(randomBytes(32));
  origin = ORIGIN;
  vkey = noteVerifierKey(ORIGIN, key.publicKey);
  logKey = parseVerifierKey(vkey)!;
  witnesses = [];
  seen = [];
});

afterEach(async () => {
  // reset() passes over what was not used since the last abort: the bucket, which is an object here too.
  await env.AUDIT_R2.head(CHECKPOINT_KEY);
  await reset();
});

const stub = (name = AUDIT_LOG_NAME) => env.AUDIT_LOG.getByName(name);

/** The object with this test's settings; a new life of it needs them again. `wrap` makes its store fail. */
async function start(wrap: (store: LogStore) => LogStore = (store) => store, name = AUDIT_LOG_NAME) {
  await runInDurableObject(stub(name), (log: AuditLog) => {
    log.store = wrap(new R2LogStore(env.AUDIT_R2));
    log.settings = async (): Promise<LogSettings> => ({
      logKey: key,
      logOrigin: origin,
      witnesses,
      AUDIT_BATCH_SECONDS: BATCH_SECONDS,
    });
  });
  return stub(name);
}

const newLeaf = () =>
  leafOf({ salt: randomBytes(32), ownerId: toBase58(randomBytes(32)), head: toBase64(randomBytes(32)) });
const newLeaves = (count: number) => Array.from({ length: count }, newLeaf);

function must<T>(result: RpcResult<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}
const offer = async (leaves: Uint8Array[], log = stub()) =>
  must(await log.offer(leaves.map((leaf) => ({ leaf })))).map(({ index }) => index);
const refusal = async (leaves: Uint8Array[], log = stub()) => {
  const result = await log.offer(leaves.map((leaf) => ({ leaf })));
  return result.ok ? "none" : `${result.error.code}: ${result.error.detail}`;
};

const objectAt = async (name: string) => {
  const found = await env.AUDIT_R2.get(name);
  return found === null ? undefined : new Uint8Array(await found.arrayBuffer());
};
const publishedText = async () => new TextDecoder().decode(await objectAt(CHECKPOINT_KEY));

/**
 * What someone sees who has the key and can read R2: the checkpoint opens, the tiles hash to its root, each leaf is
 * in it once, and it contains every tree seen before.
 */
async function audit(leaves: Uint8Array[], witnessKeys: VerifierKey[] = []): Promise<OpenedCheckpoint> {
  const opened = await openCheckpoint(await publishedText(), logKey, witnessKeys);
  if (!opened.ok) throw new Error(`the checkpoint does not open: ${opened.error}`);
  const { size, root } = opened.value;
  const tiles = new Map<string, Uint8Array>();
  for (const tile of tilesBetween(0, size)) {
    const hashes = await objectAt(tileKey(tile));
    expect(hashes, tileKey(tile)).toHaveLength(tile.width * HASH);
    tiles.set(`${tile.level}/${tile.n}`, hashes!);
  }
  const read = readerOver(({ level, n }) => tiles.get(`${level}/${n}`));
  expect(rootHash(size, read)).toEqual(root);
  const inLog = Array.from({ length: size }, (_, index) => toBase64(read({ level: 0, index })));
  expect(new Set(inLog).size).toBe(size);
  expect(new Set(inLog)).toEqual(new Set(leaves.map((leaf) => toBase64(leafHash(leaf)))));
  for (const earlier of seen) {
    const hashes = must(await stub().consistency(earlier.size, size)).map((hash) => fromBase64(hash)!);
    expect(verifyConsistency(earlier, opened.value, hashes)).toBe(true);
  }
  seen.push(opened.value);
  return opened.value;
}

describe("a batch of leaves", () => {
  it("is published under a signed checkpoint, and each leaf's proof holds for whoever has the key", async () => {
    const log = await start();
    expect(await log.checkpoint()).toBeUndefined();
    const leaves = newLeaves(5);
    expect(await offer(leaves)).toEqual([0, 1, 2, 3, 4]);
    expect((await audit(leaves)).size).toBe(5);
    expect(await log.checkpoint()).toBe(await publishedText());
    for (const [index, leaf] of leaves.entries()) {
      const { proof, ...where } = must(await log.proof({ leaf }));
      expect(where).toEqual({ index, size: 5 });
      expect(await verifyProof(proof, leaf, logKey)).toMatchObject({ ok: true, value: { index } });
      expect(must(await log.proof({ index })).proof).toBe(proof);
    }
  });

  it("follows the other with every tree contained in the next, across full tiles", async () => {
    await start();
    const leaves: Uint8Array[] = [];
    for (const count of [250, 20, 300]) {
      const batch = newLeaves(count);
      const from = leaves.length;
      leaves.push(...batch);
      expect(await offer(batch)).toEqual(batch.map((_, at) => from + at));
      await audit(leaves);
    }
    // The partial tiles whose full tile is published are gone; the right edge's are there.
    const keys = (await env.AUDIT_R2.list()).objects.map((object) => object.key);
    expect(keys).toEqual([
      "log/checkpoint",
      "log/tile/0/000",
      "log/tile/0/001",
      "log/tile/0/002.p/58",
      "log/tile/1/000.p/1",
      "log/tile/1/000.p/2",
    ]);
    for (const index of [0, 255, 256, 569]) {
      const { proof } = must(await stub().proof({ index }));
      expect((await verifyProof(proof, leaves[index]!, logKey)).ok).toBe(true);
    }
  });

  it("takes in what several carriers offer at once, and comes no sooner after the last than it is set to", async () => {
    await start();
    let swaps: number[] = [];
    await runInDurableObject(stub(), (log: AuditLog) => {
      const { store } = log;
      log.store = wrapped(store, {
        swapCheckpoint: (text, etag) => {
          swaps.push(Date.now());
          return store.swapCheckpoint(text, etag);
        },
      });
    });
    const groups = [newLeaves(2), newLeaves(3), newLeaves(1)];
    const indexes = await Promise.all(groups.map((group) => offer(group)));
    expect(indexes.flat().sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(swaps).toHaveLength(1);
    const more = newLeaves(2);
    const later = await Promise.all([offer([more[0]!]), offer([more[1]!])]);
    expect(later.flat().sort()).toEqual([6, 7]);
    expect(swaps).toHaveLength(2);
    expect(swaps[1]! - swaps[0]!).toBeGreaterThanOrEqual(BATCH_SECONDS * 1_000 - 100);
    await audit([...groups.flat(), ...more]);

    // And then nothing: the alarm finds nothing to do and is not set again.
    swaps = [];
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await runDurableObjectAlarm(stub())).toBe(false);
    expect(swaps).toEqual([]);
  });

  it("of leaves that are in the log already changes nothing: each lands once, whoever offers it how often", async () => {
    await start();
    const leaves = newLeaves(3);
    const [a, b, c] = leaves as [Uint8Array, Uint8Array, Uint8Array];
    expect(await offer([a, b, a])).toEqual([0, 1, 0]);
    const [first, second] = await Promise.all([offer([c, a]), offer([b, c])]);
    expect(first).toEqual([2, 0]);
    expect(second).toEqual([1, 2]);
    const before = await publishedText();
    expect(await offer(leaves)).toEqual([0, 1, 2]);
    expect(await publishedText()).toBe(before);
    await abortAllDurableObjects();
    await start();
    expect(await offer(leaves)).toEqual([0, 1, 2]);
    expect((await audit(leaves)).size).toBe(3);
  });

  it("of another form is refused, and none of it is taken", async () => {
    await start();
    expect(await refusal([newLeaf(), randomBytes(31)])).toContain("invalid_request");
    expect(await refusal(Array(MAX_OFFERED_LEAVES + 1).fill(newLeaf()))).toContain("invalid_request");
    expect(await offer([])).toEqual([]);
    expect(await stub().state()).toMatchObject({ size: 0, waiting: 0, status: "open" });
  });
});

describe("what is asked of the log", () => {
  it("is refused where it has no answer", async () => {
    const log = await start();
    expect(await log.proof({ index: 0 })).toMatchObject({ ok: false, error: { code: "not_found" } });
    await offer(newLeaves(2));
    for (const index of [2, -1, 0.5, Number.NaN])
      expect(await log.proof({ index })).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await log.proof({ leaf: newLeaf() })).toMatchObject({ ok: false, error: { code: "not_found" } });
    for (const [from, to] of [
      [2, 1],
      [0, 3],
      [-1, 1],
      [0.5, 1],
    ] as const)
      expect(await log.consistency(from, to)).toMatchObject({
        ok: false,
        error: { code: "invalid_request" },
      });
    expect(await log.consistency(0, 2)).toEqual({ ok: true, value: [] });
  });

  it("is not answered from a storage that was touched", async () => {
    const log = await start();
    const leaves = newLeaves(4);
    await offer(leaves);
    await runInDurableObject(log, (_, state) => {
      state.storage.sql.exec("UPDATE tiles SET hashes = zeroblob(128) WHERE level = 0 AND n = 0");
    });
    const answer = await runInDurableObject(log, (object: AuditLog) =>
      object.proof({ index: 1 }).catch((error: Error) => error.message),
    );
    expect(answer).toBe("the stored tree is damaged");
  });
});

/** A store with some calls replaced. */
const wrapped = (store: LogStore, change: Partial<LogStore>): LogStore => ({
  readCheckpoint: () => store.readCheckpoint(),
  swapCheckpoint: (text, etag) => store.swapCheckpoint(text, etag),
  writeTile: (tile, hashes) => store.writeTile(tile, hashes),
  readTile: (tile) => store.readTile(tile),
  deletePartials: (place) => store.deletePartials(place),
  ...change,
});

type Method = "readCheckpoint" | "swapCheckpoint" | "writeTile" | "deletePartials";
type When = "before" | "after";

/**
 * A store whose `nth` call of a method goes wrong, once: before it takes effect or after. `fail` throws; `hang` never
 * answers, for a crash. `reached` waits until that happens, by looking: an object cannot be aborted from within its
 * own turn, which a promise resolved there would continue in.
 */
function faulty(method: Method, when: When, how: "fail" | "hang", nth = 1) {
  let calls = 0;
  let isReached = false;
  const wrap = (store: LogStore): LogStore => {
    const call = store[method].bind(store) as (...args: unknown[]) => Promise<unknown>;
    return wrapped(store, {
      [method]: async (...args: unknown[]) => {
        calls++;
        if (calls !== nth) return call(...args);
        if (when === "after") await call(...args);
        isReached = true;
        if (how === "fail") throw new Error(`${method} was told to fail`);
        return new Promise(() => {});
      },
    });
  };
  return { wrap, reached: () => poll(async () => isReached) };
}

// The second batch of these tests fills a tile: 250 leaves, then 10. It writes tiles 0/000, 0/001.p/4 and 1/000.p/1.
const POINTS: [string, Method, When, number, boolean][] = [
  ["before R2 is compared with the tree", "readCheckpoint", "before", 1, false],
  ["before the first tile is written", "writeTile", "before", 1, true],
  ["after the first tile is written", "writeTile", "after", 1, true],
  ["before the last tile is written", "writeTile", "before", 3, true],
  ["after the last tile is written", "writeTile", "after", 3, true],
  ["before the checkpoint is swapped", "swapCheckpoint", "before", 1, true],
  ["after the checkpoint is swapped, before it is noted", "swapCheckpoint", "after", 1, true],
];

describe("a failure between two steps", () => {
  const first = () => newLeaves(250);

  for (const [name, method, when, nth, isCommitted] of POINTS) {
    it(`${name}: the carriers are told, offer again, and the log goes on`, async () => {
      await start();
      const leaves = first();
      await offer(leaves);
      await audit(leaves);
      await abortAllDurableObjects();

      const { wrap } = faulty(method, when, "fail", nth);
      await start(wrap);
      const batch = newLeaves(10);
      expect(await refusal(batch)).toContain("unavailable");
      expect((await stub().state()).size).toBe(isCommitted ? 260 : 250);
      expect(await offer(batch)).toEqual(batch.map((_, at) => 250 + at));
      await audit([...leaves, ...batch]);
    });

    it(`${name}: a crash there loses nothing and forks nothing`, async () => {
      await start();
      const leaves = first();
      await offer(leaves);
      await audit(leaves);
      await abortAllDurableObjects();

      const { wrap, reached } = faulty(method, when, "hang", nth);
      const dying = await start(wrap);
      const batch = newLeaves(10);
      const lost = offer(batch, dying).catch((error: Error) => error);
      await reached();
      await abortAllDurableObjects();
      expect(await lost).toBeInstanceOf(Error);

      await start();
      expect((await stub().state()).size).toBe(isCommitted ? 260 : 250);
      // Some come again, some are new, in another order.
      const more = newLeaves(3);
      const again = [more[0]!, ...batch.slice(4), more[1]!, ...batch.slice(0, 4), more[2]!];
      const indexes = await offer(again);
      expect(new Set(indexes).size).toBe(13);
      if (isCommitted) expect(await offer(batch)).toEqual(batch.map((_, at) => 250 + at));
      await audit([...leaves, ...batch, ...more]);
    });

    if (!isCommitted) continue;
    it(`${name}: after a crash the alarm publishes by itself`, async () => {
      await start();
      const leaves = first();
      await offer(leaves);
      await abortAllDurableObjects();
      const { wrap, reached } = faulty(method, when, "hang", nth);
      const dying = await start(wrap);
      const batch = newLeaves(10);
      const lost = offer(batch, dying).catch(() => {});
      await reached();
      await abortAllDurableObjects();
      await lost;
      await start();
      expect(await runDurableObjectAlarm(stub())).toBe(true);
      expect(await stub().state()).toMatchObject({ size: 260, published_size: 260 });
      await audit([...leaves, ...batch]);
    });
  }

  it("in the very first batch: the log begins once", async () => {
    const { wrap, reached } = faulty("swapCheckpoint", "after", "hang");
    const dying = await start(wrap);
    const batch = newLeaves(3);
    const lost = offer(batch, dying).catch(() => {});
    await reached();
    await abortAllDurableObjects();
    await lost;
    await start();
    const more = newLeaves(1);
    expect(await offer([...more, ...batch])).toEqual([3, 0, 1, 2]);
    await audit([...batch, ...more]);
  });

  it("while leaves only wait: they are not in the log, and come again", async () => {
    const log = await start();
    const batch = newLeaves(3);
    const lost = offer(batch, log).catch((error: Error) => error);
    await poll(async () => (await stub().state()).waiting === 3);
    await abortAllDurableObjects();
    expect(await lost).toBeInstanceOf(Error);
    await start();
    expect(await stub().state()).toMatchObject({ size: 0, waiting: 0 });
    expect(await offer(batch)).toEqual([0, 1, 2]);
  });

  it("when partial tiles are dropped: they stay a while, and nothing else is different", async () => {
    const { wrap } = faulty("deletePartials", "before", "fail");
    await start(wrap);
    const leaves = newLeaves(TILE_WIDTH);
    expect(await offer(leaves)).toHaveLength(TILE_WIDTH);
    await audit(leaves);
  });

  it("of R2 altogether: what is owed stays at one batch until it is back, then nothing is missing", async () => {
    let isAway = true;
    await start((store) => {
      const away = () => (isAway ? Promise.reject(new Error("R2 is away")) : Promise.resolve());
      return wrapped(store, {
        writeTile: (tile, hashes) => away().then(() => store.writeTile(tile, hashes)),
      });
    });
    const leaves = newLeaves(6);
    for (const at of [0, 2, 4]) expect(await refusal(leaves.slice(at, at + 2))).toContain("unavailable");
    expect(await stub().state()).toMatchObject({ size: 2, published_size: 0 });
    isAway = false;
    expect(await offer(leaves)).toEqual([0, 1, 2, 3, 4, 5]);
    await audit(leaves);
  });
});

/** Everything the object holds, to put it back later: what a restore to a point in time does. */
async function snapshot(name = AUDIT_LOG_NAME): Promise<() => Promise<void>> {
  const tables = ["log", "tiles", "positions", "witnesses", "cosigned"];
  const rows = await runInDurableObject(stub(name), (_, { storage }) =>
    tables.map((table) => storage.sql.exec(`SELECT * FROM ${table}`).toArray()),
  );
  return async () => {
    await runInDurableObject(stub(name), (_, { storage }) => {
      for (const [at, table] of tables.entries()) {
        storage.sql.exec(`DELETE FROM ${table}`);
        for (const row of rows[at]!) {
          const names = Object.keys(row);
          storage.sql.exec(
            `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
            ...Object.values(row),
          );
        }
      }
    });
    await abortAllDurableObjects();
  };
}

async function poll(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

describe("a log that was put back", () => {
  it("halts when its storage is older than what is published, and stays halted", async () => {
    await start();
    const leaves = newLeaves(4);
    await offer(leaves);
    const putBack = await snapshot();
    const later = newLeaves(3);
    await offer(later);
    const published = await audit([...leaves, ...later]);
    await putBack();
    for (let life = 0; life < 2; life++) {
      await start();
      expect(await refusal(newLeaves(2))).toContain("behind");
      expect(await stub().state()).toMatchObject({ status: "halted", reason: "behind", size: 4 });
      await abortAllDurableObjects();
    }
    await start();
    // Nothing was written, and what was told before is told again.
    const opened = await openCheckpoint(await publishedText(), logKey);
    expect(opened).toEqual({ ok: true, value: published });
    expect(await offer(leaves)).toEqual([0, 1, 2, 3]);
  });

  it("takes its leaves back from R2 when an operator says so, and lands none of them twice", async () => {
    await start();
    const leaves = newLeaves(250);
    await offer(leaves);
    const putBack = await snapshot();
    const later = newLeaves(300);
    await offer(later);
    await audit([...leaves, ...later]);
    await putBack();
    await start();
    expect(await refusal(newLeaves(1))).toContain("behind");
    expect(await stub().resume()).toMatchObject({ status: "open", size: 550, published_size: 550 });
    const more = newLeaves(1);
    expect(await offer([later[7]!, ...more])).toEqual([257, 550]);
    await audit([...leaves, ...later, ...more]);
  });

  it("and lost altogether halts as well, and can be taken back whole", async () => {
    await start();
    const leaves = newLeaves(300);
    await offer(leaves);
    await audit(leaves);
    // Another object on the same bucket is what a lost storage looks like.
    const other = await start(undefined, "elsewhere");
    expect(await refusal(newLeaves(1), other)).toContain("behind");
    expect(await other.resume()).toMatchObject({ status: "open", size: 300 });
    expect(await offer([leaves[299]!], other)).toEqual([299]);
  });

  it("does not take back leaves that R2 does not hold as they were signed", async () => {
    await start();
    await offer(newLeaves(4));
    const putBack = await snapshot();
    await offer(newLeaves(3));
    await putBack();
    await env.AUDIT_R2.put("log/tile/0/000.p/7", randomBytes(7 * HASH));
    await start();
    expect(await refusal(newLeaves(1))).toContain("behind");
    expect(await stub().resume()).toMatchObject({ status: "halted", reason: "behind", size: 4 });
  });

  it("halts when the bucket was put back, and publishes again when an operator says so", async () => {
    await start();
    const leaves = newLeaves(4);
    await offer(leaves);
    const older = await publishedText();
    await audit(leaves);
    const later = newLeaves(3);
    await offer(later);
    await abortAllDurableObjects();
    await env.AUDIT_R2.put(CHECKPOINT_KEY, older);
    await start();
    expect(await refusal(newLeaves(1))).toContain("checkpoint_went_back");
    expect(await stub().resume()).toMatchObject({ status: "halted", reason: "checkpoint_went_back" });
    expect(await stub().resume({ republish: true })).toMatchObject({ status: "open", published_size: 7 });
    await audit([...leaves, ...later]);
  });

  it("halts when the bucket was emptied, and publishes again when an operator says so", async () => {
    await start();
    const leaves = newLeaves(300);
    await offer(leaves);
    await audit(leaves);
    await abortAllDurableObjects();
    const { objects } = await env.AUDIT_R2.list();
    await env.AUDIT_R2.delete(objects.map((object) => object.key));
    await start();
    expect(await refusal(newLeaves(1))).toContain("checkpoint_missing");
    expect(await stub().resume()).toMatchObject({ status: "halted", reason: "checkpoint_missing" });
    expect(await stub().resume({ republish: true })).toMatchObject({ status: "open", published_size: 300 });
    await audit(leaves);
  });

  it("halts when its storage was changed", async () => {
    await start();
    await offer(newLeaves(4));
    await runInDurableObject(stub(), (_, state) => {
      state.storage.sql.exec("UPDATE tiles SET hashes = zeroblob(128) WHERE level = 0 AND n = 0");
    });
    await abortAllDurableObjects();
    await start();
    expect(await refusal(newLeaves(1))).toContain("storage_damaged");
  });
});

describe("someone else at the checkpoint", () => {
  const foreign = async (size: number) =>
    signCheckpoint(key, { origin: ORIGIN, size, root: randomBytes(32) });

  it("with the same key and another tree: the log halts and overwrites nothing", async () => {
    await start();
    await offer(newLeaves(4));
    const theirs = await foreign(4);
    await env.AUDIT_R2.put(CHECKPOINT_KEY, theirs);
    expect(await refusal(newLeaves(1))).toContain("forked");
    expect(await publishedText()).toBe(theirs);
    expect(await stub().resume({ republish: true })).toMatchObject({ status: "halted", reason: "forked" });
    expect(await publishedText()).toBe(theirs);
  });

  it("who comes between the comparison and the swap is noticed by the swap", async () => {
    await start();
    await offer(newLeaves(4));
    const theirs = await foreign(9);
    await abortAllDurableObjects();
    await start((store) =>
      wrapped(store, {
        swapCheckpoint: async (text, etag) => {
          await env.AUDIT_R2.put(CHECKPOINT_KEY, theirs);
          return store.swapCheckpoint(text, etag);
        },
      }),
    );
    expect(await refusal(newLeaves(1))).toContain("behind");
    expect(await publishedText()).toBe(theirs);
  });

  it("who begins a log where this one is about to begin is noticed too", async () => {
    const theirs = await foreign(1);
    await start((store) =>
      wrapped(store, {
        swapCheckpoint: async (text, etag) => {
          await env.AUDIT_R2.put(CHECKPOINT_KEY, theirs);
          return store.swapCheckpoint(text, etag);
        },
      }),
    );
    expect(await refusal(newLeaves(1))).toContain("forked");
    expect(await publishedText()).toBe(theirs);
  });

  it("who wrote a tile: the log halts and overwrites nothing", async () => {
    await start();
    await offer(newLeaves(4));
    const theirs = randomBytes(5 * HASH);
    await env.AUDIT_R2.put("log/tile/0/000.p/5", theirs);
    expect(await refusal(newLeaves(1))).toContain("forked");
    expect(await objectAt("log/tile/0/000.p/5")).toEqual(theirs);
  });

  it("who wrote something that is no checkpoint", async () => {
    await start();
    await offer(newLeaves(1));
    await env.AUDIT_R2.put(CHECKPOINT_KEY, "nonsense");
    expect(await refusal(newLeaves(1))).toContain("checkpoint_unreadable");
  });

  it("under another name: a log does not change its own", async () => {
    await start();
    await offer(newLeaves(1));
    await abortAllDurableObjects();
    origin = "other.example/log";
    await start();
    expect(await refusal(newLeaves(1))).toContain("origin_changed");
    origin = ORIGIN;
    expect(await stub().resume()).toMatchObject({ status: "open" });
    expect(await offer(newLeaves(1))).toEqual([1]);
  });
});

describe("a new log key", () => {
  it("signs the same tree again and goes on", async () => {
    await start();
    const leaves = newLeaves(3);
    await offer(leaves);
    await audit(leaves);
    await abortAllDurableObjects();
    key = await importSigningKey(randomBytes(32));
    logKey = parseVerifierKey(noteVerifierKey(ORIGIN, key.publicKey))!;
    await start();
    const more = newLeaves(1);
    expect(await offer(more)).toEqual([3]);
    await audit([...leaves, ...more]);
    const { proof } = must(await stub().proof({ index: 0 }));
    expect((await verifyProof(proof, leaves[0]!, logKey)).ok).toBe(true);
  });
});

describe("witnesses", () => {
  const order = async <T>(what: WitnessOrder): Promise<T> => {
    const response = await fetch(witnessHost, { method: "POST", body: JSON.stringify(what) });
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  };
  /** A witness of its own for each test, which knows this test's log. */
  async function startWitness(name = `witness.example/${toBase58(randomBytes(8))}`) {
    const started = await order<{ url: string; vkey: string }>({ order: "start", name, logs: [vkey] });
    const [address] = parseWitnesses(`${started.vkey}|${started.url}`) as WitnessAddress[];
    return address!;
  }
  const cosigned = async (by: WitnessAddress[]) => {
    const opened = await openCheckpoint(
      await publishedText(),
      logKey,
      by.map((witness) => witness.key),
    );
    return opened.ok ? opened.value.cosigners.map(({ name }) => name) : [];
  };

  it("cosign each checkpoint; the cosignatures are published with it and in the proofs", async () => {
    witnesses = [await startWitness(), await startWitness()];
    const keys = witnesses.map((witness) => witness.key);
    await start();
    const leaves = newLeaves(3);
    await offer(leaves);
    await poll(async () => (await cosigned(witnesses)).length === 2);
    expect((await audit(leaves, keys)).cosigners).toHaveLength(2);
    const more = newLeaves(300);
    await offer(more);
    await poll(async () => (await cosigned(witnesses)).length === 2);
    await audit([...leaves, ...more], keys);
    const { proof, size } = must(await stub().proof({ leaf: leaves[1]! }));
    expect(size).toBe(303);
    const verified = await verifyProof(proof, leaves[1]!, logKey, keys);
    expect(verified.ok && verified.value.checkpoint.cosigners.map(({ name }) => name).sort()).toEqual(
      keys.map(({ name }) => name).sort(),
    );
    expect((await stub().state()).witnesses.map(({ size }) => size)).toEqual([303, 303]);
  });

  it("that do not answer, are gone or sign with another key hold up nothing", async () => {
    const good = await startWitness();
    const wrong = { ...(await startWitness()), url: good.url };
    const silent = await order<{ url: string }>({ order: "silent" });
    const gone = await startWitness("witness.example/gone");
    await order({ order: "stop", name: "witness.example/gone" });
    witnesses = [{ ...wrong, url: silent.url }, gone, good];
    await start();
    const began = Date.now();
    const leaves = newLeaves(2);
    await offer(leaves.slice(0, 1));
    await offer(leaves.slice(1));
    expect(Date.now() - began).toBeLessThan(WITNESS_TIMEOUT_MS);
    await poll(async () => (await cosigned(witnesses)).length === 1);
    expect(await cosigned(witnesses)).toEqual([good.key.name]);
    await audit(leaves);
  });

  it("are asked again by the alarm when they were away", async () => {
    const name = "witness.example/late";
    const address = await startWitness(name);
    witnesses = [address];
    await order({ order: "stop", name });
    await start();
    await offer(newLeaves(2));
    expect(await cosigned(witnesses)).toEqual([]);
    // A new port, as after a move.
    witnesses = [await startWitness(name)];
    expect(witnesses[0]!.key).toEqual(address.key);
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await cosigned(witnesses)).toEqual([name]);
  });

  it("remember what they cosigned when the log does not: asked from where they are", async () => {
    const name = "witness.example/memory";
    witnesses = [await startWitness(name)];
    await start();
    await offer(newLeaves(2));
    await poll(async () => (await cosigned(witnesses)).length === 1);
    await runInDurableObject(stub(), (_, state) => {
      state.storage.sql.exec("DELETE FROM witnesses");
    });
    witnesses = [await startWitness(name)];
    await offer(newLeaves(2));
    await poll(async () => (await cosigned(witnesses)).length === 1);
    expect((await stub().state()).witnesses).toEqual([{ name, size: 4 }]);
  });

  it("show what neither storage nor bucket can: both put back together", async () => {
    const name = "witness.example/notary";
    witnesses = [await startWitness(name)];
    await start();
    const leaves = newLeaves(2);
    await offer(leaves);
    await poll(async () => (await cosigned(witnesses)).length === 1);
    const checkpoint = await publishedText();
    const putBack = await snapshot();
    await offer(newLeaves(2));
    await poll(async () => (await cosigned(witnesses)).length === 1);
    // The operator rewrites history: the object cannot know.
    await env.AUDIT_R2.delete("log/tile/0/000.p/4");
    await env.AUDIT_R2.put(CHECKPOINT_KEY, checkpoint);
    await putBack();
    await start();
    expect(await offer(newLeaves(2))).toEqual([2, 3]);
    await runDurableObjectAlarm(stub());
    // The witness does not cosign another tree of a size it has seen, nor any that follows from it.
    expect(await cosigned(witnesses)).toEqual([]);
    await offer(newLeaves(2));
    await runDurableObjectAlarm(stub());
    expect(await cosigned(witnesses)).toEqual([]);
  });
});

describe("the log over HTTP", () => {
  const get = (path: string) =>
    app.request(`https://vault.example.com${path}`, {}, env, createExecutionContext());

  it("serves what was published, to be cached for as long as it stays", async () => {
    expect((await get("/log/checkpoint")).status).toBe(404);
    await start();
    await offer(newLeaves(300));
    const checkpoint = await get("/log/checkpoint");
    expect(checkpoint.status).toBe(200);
    expect(checkpoint.headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
    expect(checkpoint.headers.get("Cache-Control")).toBe("public, max-age=2");
    expect(await checkpoint.text()).toBe(await publishedText());
    for (const path of ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]) {
      const tile = await get(`/log/${path}`);
      expect(tile.status).toBe(200);
      expect(tile.headers.get("Content-Type")).toBe("application/octet-stream");
      expect(tile.headers.get("Cache-Control")).toBe("public, max-age=31536000, immutable");
      expect(new Uint8Array(await tile.arrayBuffer())).toEqual(await objectAt(`log/${path}`));
    }
  });

  it("serves a partial tile from the full one that took its place", async () => {
    await start();
    await offer(newLeaves(10));
    const partial = new Uint8Array(await (await get("/log/tile/0/000.p/10")).arrayBuffer());
    expect(partial).toHaveLength(10 * HASH);
    await offer(newLeaves(246));
    expect(await objectAt(tileKey({ level: 0, n: 0, width: 10 } satisfies Tile))).toBeUndefined();
    const still = await get("/log/tile/0/000.p/10");
    expect(new Uint8Array(await still.arrayBuffer())).toEqual(partial);
  });

  it("answers 404 to what is not there, without being cached", async () => {
    await start();
    await offer(newLeaves(3));
    for (const path of [
      "/log/tile/0/000",
      "/log/tile/0/000.p/4",
      "/log/tile/0/001",
      "/log/tile/1/000.p/1",
      "/log/tile/64/000",
      "/log/tile/0/0",
      "/log/tile/0/000.p/256",
      "/log/tile/entries/000",
      "/log/tile/0/..%2f..%2fcheckpoint",
      "/log/tile/",
      "/log/other",
    ]) {
      const answer = await get(path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(answer.headers.get("Cache-Control")).toBe("no-store");
    }
  });

  it("lets anyone read as much as there is: no brake on static files", async () => {
    await start();
    await offer(newLeaves(1));
    for (let call = 0; call < 200; call++) expect((await get("/log/tile/0/000.p/1")).status).toBe(200);
  });
});
