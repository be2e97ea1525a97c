// Bringing what is stored under a new VAULT_KEK: one object's values in batches, and the Directory's sweep over all
// objects. That the deployment's key itself changes is tested end to end.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { DIRECTORY_NAME } from "../../durable-objects/directory/directory.ts";
import { Rewrapping, type RewrappingDeps } from "../../durable-objects/directory/rewrapping.ts";
import * as directorySchema from "../../durable-objects/directory/schema.ts";
import * as journalSchema from "../../durable-objects/journal/schema.ts";
import { BATCH_VALUES, Rewrapper, type WrappedColumn } from "../../durable-objects/rewrap.ts";
import * as userSchema from "../../durable-objects/user-connection/schema.ts";
import { configOf } from "../../src/config.ts";
import { type Wrapper, wrapperFor } from "../../src/crypto/wrap.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { randomBytes, newEventId as randomId } from "../../src/protocol/ids.ts";
import type { ContractIndexRow, Rewrapped } from "../../src/rpc.ts";

afterEach(() => reset());

/** Columns of bytes that are not secrets: sealed to the user already, salts of public hashes, or hashes of ids in the clear. */
const IN_THE_CLEAR = ["outgoing.sealed", "audit.salt", "heads.salt", "runs.marks"];

/** Columns of type BLOB in the whole history of a schema. */
function blobColumns(steps: readonly string[]): string[] {
  const text = steps.join("\n").replaceAll(/--.*$/gm, "");
  const made = [...text.matchAll(/CREATE TABLE (\w+) \(([\s\S]*?)\)(?: WITHOUT ROWID)?;/g)].flatMap(
    ([, table, body]) => [...body!.matchAll(/(\w+) BLOB/g)].map(([, column]) => `${table}.${column}`),
  );
  const added = [...text.matchAll(/ALTER TABLE (\w+) ADD COLUMN (\w+) BLOB/g)].map(
    ([, table, column]) => `${table}.${column}`,
  );
  return [...made, ...added];
}

describe("what is wrapped", () => {
  it.each([
    ["a user's object", userSchema],
    ["the Directory", directorySchema],
    ["the journal", journalSchema],
  ])("in %s is every column of bytes that holds a secret", (_name, { SCHEMA, WRAPPED }) => {
    const columns = WRAPPED.map(({ table, column }: WrappedColumn) => `${table}.${column}`);
    const expected = blobColumns(SCHEMA).filter((column) => !IN_THE_CLEAR.includes(column));
    expect(columns.sort()).toEqual(expected.sort());
    expect(columns.length).toBeGreaterThan(0);
  });
});

describe("a batch", () => {
  const [older, newer] = [randomBytes(32), randomBytes(32)];
  const before = wrapperFor([older], "owner");
  const between = wrapperFor([newer, older], "owner");
  const after = wrapperFor([newer], "owner");
  const COLUMNS: WrappedColumn[] = [
    { table: "one", column: "secret", keys: ["id", "part"] },
    { table: "one", column: "hint", keys: ["id", "part"], placeOf: ["part"] },
  ];

  /** An object of its own with `count` rows wrapped under the older key. */
  const holding = (count: number, test: (storage: DurableObjectStorage) => void | Promise<void>) =>
    runInDurableObject(env.USER_CONNECTION.getByName(randomId()), async (_, { storage }) => {
      storage.sql.exec(
        "CREATE TABLE one (id INTEGER, part TEXT, secret BLOB, hint BLOB, PRIMARY KEY (id, part))",
      );
      for (let n = 0; n < count; n++)
        storage.sql.exec(
          "INSERT INTO one VALUES (?, ?, ?, ?)",
          n,
          "p",
          before.wrap({ n }, `one/secret/${n}/p`).buffer,
          n % 2 === 0 ? null : before.wrap("hint", "one/hint/p").buffer,
        );
      await test(storage);
    });
  /** The first batch of a walk. */
  const batchOf = (storage: DurableObjectStorage, wrapper: Wrapper) =>
    new Rewrapper(storage, wrapper, COLUMNS).batch();
  const valuesOf = (storage: DurableObjectStorage) =>
    storage.sql
      .exec<{ id: number; secret: ArrayBuffer; hint: ArrayBuffer | null }>("SELECT * FROM one ORDER BY id")
      .toArray();

  it("takes so many values and no more; after the last one everything opens with the new key alone", () =>
    holding(BATCH_VALUES + 10, (storage) => {
      const total = BATCH_VALUES + 10 + (BATCH_VALUES + 10) / 2;
      let batches = 0;
      let done = false;
      const rewrapper = new Rewrapper(storage, between, COLUMNS);
      while (!done) {
        const isCurrent = (stored: ArrayBuffer | null) =>
          stored !== null && after.isCurrent(new Uint8Array(stored));
        const current = valuesOf(storage)
          .flatMap(({ secret, hint }) => [secret, hint])
          .filter(isCurrent).length;
        expect(current).toBe(Math.min(batches * BATCH_VALUES, total));
        ({ done } = rewrapper.batch());
        batches += 1;
      }
      expect(batches).toBe(Math.ceil(total / BATCH_VALUES));
      for (const { id, secret, hint } of valuesOf(storage)) {
        expect(after.unwrap(new Uint8Array(secret), `one/secret/${id}/p`)).toEqual({ n: id });
        if (hint !== null) expect(after.unwrap(new Uint8Array(hint), "one/hint/p")).toBe("hint");
      }
      expect(() => before.unwrap(new Uint8Array(valuesOf(storage)[0]!.secret), "one/secret/0/p")).toThrow();
    }));

  it("leaves a value that does not open as it is, counts it, and goes on with the others", () =>
    holding(3, (storage) => {
      const moved = before.wrap("moved", "elsewhere");
      storage.sql.exec("UPDATE one SET secret = ? WHERE id = 1", moved.buffer);
      for (let n = 0; n < 2; n++) expect(batchOf(storage, between)).toEqual({ done: true, damaged: 1 });
      const [first, second] = valuesOf(storage);
      expect(new Uint8Array(second!.secret)).toEqual(moved);
      expect(after.unwrap(new Uint8Array(first!.secret), "one/secret/0/p")).toEqual({ n: 0 });
    }));

  it("that fails leaves all as it was, and is repeated", () =>
    holding(3, (storage) => {
      const untouched = valuesOf(storage);
      let isFailing = true;
      const failing: Wrapper = {
        ...between,
        rewrap: (stored, place) => {
          if (isFailing && place === "one/secret/2/p") throw new Error("out of memory");
          return between.rewrap(stored, place);
        },
      };
      const rewrapper = new Rewrapper(storage, failing, COLUMNS);
      expect(() => rewrapper.batch()).toThrow("out of memory");
      expect(valuesOf(storage)).toEqual(untouched);
      isFailing = false;
      expect(rewrapper.batch()).toEqual({ done: true, damaged: 0 });
      for (const { id, secret } of valuesOf(storage))
        expect(after.unwrap(new Uint8Array(secret), `one/secret/${id}/p`)).toEqual({ n: id });
    }));

  it("writes nothing where nothing is under an older key, or there is none", () =>
    holding(2, (storage) => {
      const untouched = valuesOf(storage);
      expect(batchOf(storage, before)).toEqual({ done: true, damaged: 0 });
      expect(valuesOf(storage)).toEqual(untouched);
      batchOf(storage, between);
      const rewrapped = valuesOf(storage);
      batchOf(storage, between);
      expect(valuesOf(storage)).toEqual(rewrapped);
    }));
});

describe("the sweep", () => {
  const row = (userId: string): ContractIndexRow => ({
    contractId: randomId(),
    userId,
    offeringId: "login",
    offeringName: "Login",
    status: "active",
    createdAt: Date.now(),
    version: 1,
    view: {} as ContractIndexRow["view"],
  });
  const doneWith = (kek: string): Rewrapped => ({ rewrap: async () => ({ done: true, damaged: 0, kek }) });

  interface Sweep {
    sweeping: Rewrapping;
    kek: string;
    wakes: number[];
    /** What the state says is left. */
    left(): number | undefined;
    again(change?: Partial<RewrappingDeps>): Rewrapping;
  }

  /** A sweep in the Directory's storage, as after the key before this deployment's was "older". */
  async function sweep(
    users: string[],
    object: (kek: string, userId: string) => Rewrapped,
    test: (sweep: Sweep) => Promise<void>,
  ): Promise<void> {
    await directoryOf(env).indexContracts(users.map(row));
    const config = await configOf(env);
    const kek = config.kek.id;
    await runInDurableObject(env.DIRECTORY.getByName(DIRECTORY_NAME), async (_, { storage }) => {
      // As the life before the rotation left it.
      storage.sql.exec("DELETE FROM rotations");
      storage.sql.exec("INSERT INTO rotations (n, kek) VALUES (1, 'older')");
      const wakes: number[] = [];
      const deps: RewrappingDeps = {
        storage,
        config: { ...config, kek: { id: kek, previousId: "older" } },
        wrapper: config.wrapperFor("directory"),
        journals: () => [{ name: "journal-0", object: doneWith(kek) }],
        user: (userId) => object(kek, userId),
        wakeBy: (at) => wakes.push(at),
      };
      const again = (change: Partial<RewrappingDeps> = {}) => new Rewrapping({ ...deps, ...change });
      const sweeping = again();
      await test({ sweeping, kek, wakes, again, left: () => sweeping.state({ count: true }).objects_left });
    });
  }

  const people = (count: number) => Array.from({ length: count }, randomId);

  it("wakes every user once, and says when the previous key may go", async () => {
    const users = people(30);
    const woken: string[] = [];
    await sweep(
      [...users, users[0]!],
      (kek, userId) => ({
        rewrap: async () => {
          woken.push(userId);
          return { done: true, damaged: 0, kek };
        },
      }),
      async ({ sweeping, wakes, left, again }) => {
        expect(wakes).toHaveLength(1);
        expect(sweeping.state()).toMatchObject({ status: "rewrapping", previous_key_id: "older" });
        expect(left()).toBe(32);
        await sweeping.work();
        expect(left()).toBe(0);
        expect(sweeping.state()).toMatchObject({ status: "rewrapped" });
        expect(woken.sort()).toEqual([...users].sort());
        const rested = wakes.length;
        await again().work();
        expect(wakes).toHaveLength(rested);
        expect(woken).toHaveLength(users.length);
      },
    );
  });

  it("asks an object for batches until it is done", async () => {
    let batches = 0;
    await sweep(
      people(1),
      (kek) => ({ rewrap: async () => ({ done: ++batches === 5, damaged: 0, kek }) }),
      async ({ sweeping, left }) => {
        await sweeping.work();
        expect(batches).toBe(5);
        expect(left()).toBe(0);
      },
    );
  });

  it("goes on past users who cannot be reached, or run with the key of before, and comes back to them", async () => {
    const users = people(20);
    let isMended = false;
    await sweep(
      users,
      (kek, userId) => ({
        rewrap: async () => {
          if (!isMended && userId === users[3]) throw new Error("unreachable");
          if (!isMended && userId === users[4]) return { done: true, damaged: 0, kek: "older" };
          return { done: true, damaged: 0, kek };
        },
      }),
      async ({ sweeping, left, wakes, again }) => {
        await sweeping.work();
        expect(left()).toBe(2);
        expect(sweeping.state().status).toBe("rewrapping");
        expect(wakes.at(-1)).toBeGreaterThan(Date.now());
        isMended = true;
        // In another life of the object, too.
        const next = again();
        await next.work();
        expect(next.state()).toMatchObject({ status: "rewrapped" });
      },
    );
  });

  it("looks at a user who appears in the index later", async () => {
    await sweep(
      people(1),
      (kek) => doneWith(kek),
      async ({ sweeping, left }) => {
        await sweeping.work();
        expect(left()).toBe(0);
        await directoryOf(env).indexContracts([row(randomId())]);
        expect(left()).toBe(1);
        sweeping.wake();
        await sweeping.work();
        expect(left()).toBe(0);
      },
    );
  });

  it("begins anew when a key comes back, since values under another were written meanwhile", async () => {
    await sweep(
      people(3),
      (kek) => doneWith(kek),
      async ({ sweeping, again, left, kek }) => {
        await sweeping.work();
        expect(left()).toBe(0);
        const config = await configOf(env);
        again({ config: { ...config, kek: { id: "older", previousId: kek } } });
        const back = again();
        expect(back.state({ count: true })).toMatchObject({ status: "rewrapping", objects_left: 5 });
      },
    );
  });

  it("tells of values that do not open, and does not wait for them", async () => {
    await sweep(
      people(1),
      (kek) => ({ rewrap: async () => ({ done: true, damaged: 2, kek }) }),
      async ({ sweeping }) => {
        await sweeping.work();
        expect(sweeping.state()).toMatchObject({ status: "rewrapped", damaged_values: 2 });
      },
    );
  });
});

describe("an idempotent call", () => {
  it("is told by the digest under the key before, too", async () => {
    const { isRepetition } = await import("../../src/requests/repetition.ts");
    const call = { key: "k", digest: "new", earlier: "old" };
    expect([call.digest, call.earlier, "other", null].map((kept) => isRepetition(kept, call))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(isRepetition("old", { key: "k", digest: "new" })).toBe(false);
  });
});
