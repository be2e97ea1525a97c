// Pages of an object's rows, out of one object and into another: everything, once, and nothing half done.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SCHEMA as DIRECTORY_SCHEMA } from "../../durable-objects/directory/schema.ts";
import { SCHEMA as JOURNAL_SCHEMA } from "../../durable-objects/journal/schema.ts";
import { schemaVersion, setSchemaVersion } from "../../durable-objects/migrations.ts";
import { exportPage, type ImportInto, importPage } from "../../durable-objects/transfer.ts";
import type { TransferPage } from "../../src/rpc.ts";

const EVENTS = 1_500;
const BODY = "x".repeat(500);

afterEach(() => reset());

/** Any object's storage, empty: these tests are about rows. */
const withStorage = <T>(name: string, work: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> =>
  runInDurableObject(env.USER_CONNECTION.getByName(name), (_, state) => work(state.storage));

function build(storage: DurableObjectStorage, steps: readonly string[]): void {
  for (const step of steps) storage.sql.exec(step);
  setSchemaVersion(storage, steps.length);
}

function fillJournal(storage: DurableObjectStorage): void {
  build(storage, JOURNAL_SCHEMA);
  storage.transactionSync(() => {
    for (let n = 1; n <= EVENTS; n++)
      storage.sql.exec(
        "INSERT INTO events (n, user_id, event_id, type, at, recorded_at, body, callback) VALUES (?, ?, ?, 't', 1, 1, ?, ?)",
        n,
        `u${n % 7}`,
        `e${n}`,
        BODY,
        n % 3 === 0 ? null : new Uint8Array([n % 256, 0, 255]).buffer,
      );
    for (const lane of ["a", "b"])
      for (let n = 1; n <= 3; n++)
        storage.sql.exec(
          "INSERT INTO deliveries (lane, n, status, attempts, started_at, log) VALUES (?, ?, 'dead', 1, 1, '[]')",
          lane,
          n,
        );
  });
}

const contentOf = (storage: DurableObjectStorage) =>
  ["events", "deliveries"].map((table) =>
    storage.sql
      .exec(`SELECT * FROM ${table} ORDER BY n`)
      .toArray()
      .map((row) =>
        Object.values(row).map((value) =>
          value instanceof ArrayBuffer ? [...new Uint8Array(value)].join() : value,
        ),
      ),
  );

/** Every page, through JSON as between two deployments. */
function pagesOf(storage: DurableObjectStorage): TransferPage[] {
  const pages: TransferPage[] = [];
  let after: string | undefined;
  do {
    const page = exportPage(storage, after);
    if (!page.ok) throw new Error(page.error.detail);
    pages.push(JSON.parse(JSON.stringify(page.value)));
    after = page.value.next;
  } while (after !== undefined);
  return pages;
}

const put = (storage: DurableObjectStorage, page: TransferPage, more: Partial<ImportInto> = {}) =>
  importPage(storage, page, { steps: JOURNAL_SCHEMA, ...more });

let pages: TransferPage[];
let content: unknown;
beforeEach(async () => {
  await withStorage("source", (storage) => {
    fillJournal(storage);
    pages = pagesOf(storage);
    content = contentOf(storage);
  });
});

describe("pages", () => {
  it("hold every row once, a bounded number of bytes each", () => {
    expect(pages.length).toBeGreaterThan(2);
    for (const page of pages) expect(JSON.stringify(page).length).toBeLessThan(300_000 * 1.4);
    const rows = pages.flatMap(({ tables }) => tables.filter(({ name }) => name === "events"));
    expect(rows.flatMap((table) => table.rows)).toHaveLength(EVENTS);
  });

  it("put into an empty object make the same rows", async () => {
    await withStorage("target", (storage) => {
      for (const page of pages) expect(put(storage, page)).toMatchObject({ ok: true });
      expect(contentOf(storage)).toEqual(content);
      expect(schemaVersion(storage)).toBe(JOURNAL_SCHEMA.length);
    });
  });

  it("of an object nothing was ever written to make none", async () => {
    const empty = await withStorage("nobody", (storage) => exportPage(storage, undefined));
    expect(empty).toEqual({ ok: true, value: { schema_version: 0, tables: [] } });
    await withStorage("target", (storage) => {
      expect(put(storage, { schema_version: 0, tables: [] })).toMatchObject({ ok: true });
      expect(schemaVersion(storage)).toBe(0);
    });
  });

  it.each(["{", '{"table":"nothing","key":[]}'])("do not begin behind %s", async (after) => {
    expect(await withStorage("source", (storage) => exportPage(storage, after))).toMatchObject({
      ok: false,
      error: { code: "invalid_request" },
    });
  });
});

describe("an import", () => {
  it("takes a page sent again once, the last one too, and none out of order", async () => {
    await withStorage("target", (storage) => {
      expect(put(storage, pages[1]!)).toMatchObject({ ok: false, error: { code: "conflict" } });
      for (const page of pages) {
        expect(put(storage, page)).toMatchObject({ ok: true });
        expect(put(storage, page)).toMatchObject({ ok: true });
      }
      expect(put(storage, pages[0]!)).toMatchObject({ ok: false, error: { code: "conflict" } });
      expect(contentOf(storage)).toEqual(content);
    });
  });

  it("begun anew half way begins from nothing", async () => {
    await withStorage("target", (storage) => {
      put(storage, pages[0]!);
      put(storage, pages[1]!);
      for (const page of pages) expect(put(storage, page)).toMatchObject({ ok: true });
      expect(contentOf(storage)).toEqual(content);
    });
  });

  it("whose page fails half way leaves the pages before it, and takes that page then", async () => {
    await withStorage("target", (storage) => {
      put(storage, pages[0]!);
      const [table] = pages[1]!.tables;
      const torn = { ...pages[1]!, tables: [table!, { name: "nothing", columns: ["n"], rows: [[1]] }] };
      expect(() => put(storage, torn)).toThrow("there is none of");
      for (const page of pages.slice(1)) expect(put(storage, page)).toMatchObject({ ok: true });
      expect(contentOf(storage)).toEqual(content);
    });
  });

  it("whose last page fails in what follows from it is not done", async () => {
    await withStorage("target", (storage) => {
      for (const page of pages.slice(0, -1)) put(storage, page);
      const last = pages.at(-1)!;
      const finish = () => {
        throw new Error("died here");
      };
      expect(() => put(storage, last, { finish })).toThrow("died here");
      expect(put(storage, last)).toMatchObject({ ok: true });
      expect(contentOf(storage)).toEqual(content);
    });
  });

  it("goes into no object that was used, and over no row", async () => {
    await withStorage("target", (storage) => {
      fillJournal(storage);
      storage.sql.exec("DELETE FROM events WHERE n > 1");
      expect(put(storage, pages[0]!)).toMatchObject({ ok: false, error: { code: "conflict" } });
      expect(storage.sql.exec("SELECT count(*) AS count FROM events").one().count).toBe(1);
    });
  });

  it("replaces what an object makes for itself before anything is done in it", async () => {
    await withStorage("target", (storage) => {
      build(storage, DIRECTORY_SCHEMA);
      storage.sql.exec("INSERT INTO audit (n, operation, entry) VALUES (1, 'api_key.created', '{}')");
      const page: TransferPage = {
        schema_version: DIRECTORY_SCHEMA.length,
        tables: [{ name: "audit", columns: ["n", "operation", "entry"], rows: [[1, "moved", "{}"]] }],
      };
      const into = { steps: DIRECTORY_SCHEMA, isUsed: () => false };
      expect(put(storage, page, { steps: DIRECTORY_SCHEMA })).toMatchObject({ ok: false });
      expect(put(storage, page, { ...into, isUsed: () => true })).toMatchObject({ ok: false });
      expect(put(storage, page, into)).toMatchObject({ ok: true });
      expect(storage.sql.exec("SELECT operation FROM audit").one().operation).toBe("moved");
    });
  });

  it("from an earlier version takes the steps since with the rows there; from a newer one it is refused", async () => {
    await withStorage("target", (storage) => {
      const steps = ["CREATE TABLE things (n INTEGER PRIMARY KEY, a TEXT)", "UPDATE things SET a = a || '!'"];
      const page: TransferPage = {
        schema_version: 1,
        tables: [{ name: "things", columns: ["n", "a"], rows: [[1, "old"]] }],
      };
      expect(put(storage, { ...page, schema_version: 3 }, { steps })).toMatchObject({ ok: false });
      expect(put(storage, page, { steps })).toMatchObject({ ok: true });
      expect(storage.sql.exec("SELECT a FROM things").one().a).toBe("old!");
      expect(schemaVersion(storage)).toBe(2);
    });
  });
});
