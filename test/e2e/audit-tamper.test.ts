// Someone with the database files. The Worker is stopped, its objects' SQLite files are opened and changed, and it is
// started again; then the log is looked at from outside, with what an auditor remembers and without (docs/AUDIT.md).

import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Memory, type Report, verifyAudit } from "../../scripts/audit-verify.ts";
import { Backend } from "../../scripts/stack/backend.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { startWitness, type Witness } from "../../scripts/witness.ts";
import { signEntry } from "../../src/audit/chain.ts";
import { parseVerifierKey } from "../../src/audit/note.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { type AuditEntry, CHAIN_START } from "../../src/protocol/audit.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { Person, PROFILE } from "./support/person.ts";

const LOGGED_MS = 20_000;
const POLL_MS = 300;

let dir: string;
let stack: Stack;
let backend: Backend;
let person: Person;
let userId: string;
let contractId: string;
let witness: Witness;
/** What an auditor saw before anything was touched. */
let memory: Memory | undefined;
/** What a sink had been sent of the chain by then. */
let copies: AuditEntry[] = [];

const storage = () => join(stack.dir, "worker", "storage");
const kept = () => join(dir, "kept");

/** Whether a chain of `userId` ends under a logged head. */
async function logged(): Promise<void> {
  for (const until = Date.now() + LOGGED_MS; ; await new Promise((done) => setTimeout(done, POLL_MS))) {
    const { entries } = await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`);
    const { event_id } = entries.at(-1);
    const { status } = await backend.call("GET", `audit/${event_id}/proof?user_id=${userId}`);
    if (status === 200) return;
    if (Date.now() > until) throw new Error(`not logged in ${LOGGED_MS} ms: the proof answers ${status}`);
  }
}

const look = (
  options: { remembered?: boolean; witnessed?: boolean; copied?: boolean } = {},
): Promise<Report> =>
  verifyAudit({
    baseUrl: stack.baseUrl,
    serviceId: stack.serviceId,
    owners: [userId],
    apiKey: stack.adminApiKey,
    ...(options.remembered === true && memory !== undefined ? { memory } : {}),
    ...(options.copied === true ? { copies } : {}),
    ...(options.witnessed === true ? { witnesses: [parseVerifierKey(witness.vkey)!] } : {}),
  });

const kinds = ({ findings }: Report): string[] => [...new Set(findings.map(({ kind }) => kind))];

/** The file, below the storage, of the object whose `table` holds a row that matches. */
function fileOf(table: string, where = "1"): string {
  for (const path of readdirSync(storage(), { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".sqlite") || path.includes("metadata")) continue;
    const db = new DatabaseSync(join(storage(), path));
    try {
      if (db.prepare(`SELECT 1 FROM ${table} WHERE ${where} LIMIT 1`).get() !== undefined) return path;
    } catch {
      // Another class's object.
    } finally {
      db.close();
    }
  }
  throw new Error(`no database has ${table}`);
}

const userDatabase = () =>
  new DatabaseSync(join(storage(), fileOf("meta", `name = 'user_id' AND value = '${userId}'`)));

const entriesIn = (db: DatabaseSync): { n: number; entry: AuditEntry }[] =>
  (db.prepare("SELECT n, entry FROM audit ORDER BY n").all() as { n: number; entry: string }[]).map(
    ({ n, entry }) => ({ n, entry: JSON.parse(entry) as AuditEntry }),
  );

/** Does something to the files while the Worker is down. */
async function tamper(touch: () => Promise<void> | void): Promise<void> {
  await stack.worker.stop();
  await touch();
  await stack.worker.start();
  await waitUntilReady(stack.worker);
}

const inUser = (touch: (db: DatabaseSync) => Promise<void> | void) =>
  tamper(async () => {
    const db = userDatabase();
    await touch(db);
    db.close();
  });

const put = (db: DatabaseSync, n: number, entry: AuditEntry) =>
  db.prepare("UPDATE audit SET entry = ? WHERE n = ?").run(JSON.stringify(entry), n);

const copy = (from: string, to: string): void => {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
};
const witnessDir = () => join(dir, "witness");
const keptWitness = () => join(dir, "kept-witness");

/** All that the service stores, objects and bucket, as it was. */
const putBack = () => tamper(() => copy(kept(), storage()));

/** The witness, too: for it, nothing has happened. It reads its folder at each request. */
const restore = async () => {
  await putBack();
  copy(keptWitness(), witnessDir());
};

async function pauseAndResume(): Promise<void> {
  for (const action of ["pause", "resume"])
    await backend.expect(200, "POST", `contracts/${contractId}/${action}`);
  await logged();
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "tamper-"));
  stack = await startStack({ dir: join(dir, "stack") });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const { log_vkey } = await backend.expect(200, "GET", "/.well-known/vettid-service");
  witness = await startWitness({ dir: witnessDir(), name: "witness.example/w1", logs: [log_vkey] });
  await stack.worker.stop();
  stack.worker.setBindings({ WITNESSES: `${witness.vkey}|${witness.url}` });
  await stack.worker.start();
  await waitUntilReady(stack.worker);
  person = await Person.online(stack);
  const { invite_url } = await backend.invite();
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  userId = contract.user_id;
  contractId = contract.contract_id;
  for (const purpose of ["Log in", "Log in again"]) {
    const asked = await backend.ask(userId, purpose);
    await backend.settled(asked.request_id);
  }
  await person.vault.settled();
  await logged();
});

afterAll(async () => {
  await person?.gone();
  await stack?.stop();
  await witness?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe("a log nobody touched", () => {
  it("has nothing that speaks against it, and shows the user their own chain over NATS", async () => {
    const shown = await person.vault.requestAudit(contractId);
    expect(shown.findings).toEqual([]);
    expect(shown).toMatchObject({ valid: true });
    expect(shown.receipts).toBeGreaterThan(0);
    expect(shown.covered).toBeGreaterThan(0);
    await person.vault.settled();
    await logged();
    const report = await look({ witnessed: true });
    expect(report.findings).toEqual([]);
    ({ memory } = report);
    ({ entries: copies } = await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`));
    expect(memory!.chains[userId]!.hashes.length).toBeGreaterThanOrEqual(4);
    // From here on the phone is off: what it would send belongs to no tampering.
    await person.vault.stop();
    await stack.worker.stop();
    copy(storage(), kept());
    copy(witnessDir(), keptWitness());
    await stack.worker.start();
    await waitUntilReady(stack.worker);
    expect((await look({ remembered: true, witnessed: true, copied: true })).findings).toEqual([]);
  });
});

afterEach(async () => {
  if (memory !== undefined) await restore();
});

describe("from the chain alone", () => {
  it("a changed entry shows", async () => {
    await inUser((db) => {
      const { n, entry } = entriesIn(db)[1]!;
      put(db, n, { ...entry, status: "denied" });
    });
    const { findings } = await look();
    expect(findings).toContainEqual(expect.objectContaining({ kind: "changed", entry: 1, owner: userId }));
  });

  it("a removed entry shows", async () => {
    await inUser((db) => {
      db.prepare("DELETE FROM audit WHERE n = ?").run(entriesIn(db)[1]!.n);
    });
    expect((await look()).findings).toContainEqual(expect.objectContaining({ kind: "removed", entry: 1 }));
  });

  it("reordered entries show", async () => {
    await inUser((db) => {
      const [, one, other] = entriesIn(db);
      put(db, one!.n, other!.entry);
      put(db, other!.n, one!.entry);
    });
    expect(kinds(await look())).toContain("reordered");
  });
});

describe("only against what someone else holds", () => {
  it("a chain cut at its end, with its heads, shows", async () => {
    await inUser((db) => {
      const last = entriesIn(db).at(-1)!.n;
      db.prepare("DELETE FROM audit WHERE n > ?").run(last - 3);
      db.prepare("DELETE FROM heads WHERE n > ?").run(last - 3);
    });
    expect(kinds(await look())).not.toContain("truncated");
    expect(kinds(await look({ remembered: true }))).toContain("truncated");
    expect(kinds(await look({ copied: true }))).toContain("truncated");
  });

  it("a chain rewritten whole with the service's own key, and logged anew, shows", async () => {
    await inUser(async (db) => {
      const key = await importSigningKey(fromBase64(stack.bindings.SERVICE_SIGNING_KEY!)!);
      let head = CHAIN_START;
      for (const { n, entry } of entriesIn(db)) {
        const { salt: _s, previous_hash: _p, event_hash: _h, signature: _g, ...content } = entry;
        const forged = await signEntry(key, { ...content, response_summary: { outcome: "denied" } }, head);
        head = forged.event_hash;
        put(db, n, forged);
      }
      // The log takes the new head as it takes any other.
      db.exec("DELETE FROM heads; UPDATE audit SET salt = randomblob(32)");
    });
    // Something happens, and with it the forged chain's head goes into the log.
    await backend.expect(200, "POST", `contracts/${contractId}/pause`);
    await logged();
    expect((await look({ witnessed: true })).findings).toEqual([]);
    expect(kinds(await look({ remembered: true }))).toEqual(["rewritten"]);
    expect(kinds(await look({ copied: true }))).toEqual(["rewritten"]);
  });
});

describe("the log itself", () => {
  it("put back alone, it stops rather than sign another history", async () => {
    await pauseAndResume();
    await tamper(() => {
      const file = fileOf("log");
      for (const suffix of ["", "-wal", "-shm"]) {
        rmSync(join(storage(), file + suffix), { force: true });
        if (existsSync(join(kept(), file + suffix)))
          cpSync(join(kept(), file + suffix), join(storage(), file + suffix));
      }
    });
    // Operations go on. Nothing of theirs is logged, and what was published stays as it was.
    expect((await backend.call("POST", `contracts/${contractId}/pause`)).status).toBe(200);
    const report = await look({ remembered: true });
    expect(report.findings).toContainEqual(expect.objectContaining({ kind: "not_in_log", owner: userId }));
    expect(kinds(report)).not.toContain("forked");
    expect(kinds(report)).not.toContain("rolled_back");
  });

  it("put back with its bucket and grown another way, it is known by a remembered checkpoint, and no witness cosigns", async () => {
    // The service goes on from where it was: this is the history that an auditor sees.
    await pauseAndResume();
    const first = await look({ remembered: true, witnessed: true });
    expect(first.findings).toEqual([]);
    const before = memory;
    memory = first.memory;
    // All of storage, objects and bucket, is put back, and another history is made.
    await putBack();
    const behind = await look({ remembered: true });
    // What was not in the log then is brought there anew once its object wakes: then the log is as long, and another.
    expect(["rolled_back", "forked"]).toContain(kinds(behind).find((kind) => kind !== "truncated"));
    expect(kinds(behind)).toContain("truncated");
    for (let round = 0; round < 3; round++) await pauseAndResume();
    expect((await look()).findings).toEqual([]);
    expect(kinds(await look({ remembered: true }))).toContain("forked");
    expect(kinds(await look({ witnessed: true }))).toEqual(["not_cosigned"]);
    memory = before;
  });
});
