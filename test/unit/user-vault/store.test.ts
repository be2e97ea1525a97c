import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSqliteStore } from "../../../sdk/user-vault/sqlite-store.ts";
import type { VaultStore, VaultTransaction } from "../../../sdk/user-vault/store.ts";
import { MailboxFixture } from "./mailbox-fixture.ts";
import { ServicePeer } from "./service-peer.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "user-vault-"));
  path = join(dir, "vault.sqlite");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A store whose n-th write throws, before or after it was made: a crash in the middle of a transaction. */
function failing(store: VaultStore, failAt: number, when: "before" | "after"): VaultStore {
  let writes = 0;
  return {
    transaction: (work) =>
      store.transaction((tx) =>
        work(
          new Proxy(tx, {
            get(target, name) {
              const member = Reflect.get(target, name) as unknown;
              if (typeof member !== "function") return member;
              const call = member.bind(target) as (...args: unknown[]) => unknown;
              if (!/^(save|insert|delete|forget)/.test(String(name))) return call;
              return (...args: unknown[]) => {
                writes += 1;
                if (writes === failAt && when === "before") throw new Error("disk full");
                const result = call(...args);
                if (writes === failAt) throw new Error("disk full");
                return result;
              };
            },
          }) as VaultTransaction,
        ),
      ),
    scrub: () => store.scrub(),
    close: () => store.close(),
  };
}

describe("the store", () => {
  it("keeps all of a transaction or nothing", () => {
    const store = openSqliteStore(path);
    const identity = (serviceId: string) => ({
      serviceId,
      userId: `user of ${serviceId}`,
      signingSeed: new Uint8Array(32),
      messageSpace: `space of ${serviceId}`,
      createdAt: 1,
    });
    expect(() =>
      store.transaction((tx) => {
        tx.insertIdentity(identity("a"));
        throw new Error("crash");
      }),
    ).toThrow("crash");
    store.transaction((tx) => tx.insertIdentity(identity("b")));
    store.close();
    const reopened = openSqliteStore(path);
    expect(reopened.transaction((tx) => tx.identities().map(({ serviceId }) => serviceId))).toEqual(["b"]);
    reopened.close();
  });

  it("refuses asynchronous work and work inside work", () => {
    const store = openSqliteStore(":memory:");
    expect(() => store.transaction(async () => {})).toThrow("asynchronous");
    expect(() => store.transaction(() => store.transaction(() => {}))).toThrow("inside another");
    expect(store.transaction((tx) => tx.contracts())).toEqual([]);
  });

  it("is its owner's to read alone, and in one process at a time", () => {
    const store = openSqliteStore(path);
    expect(statSync(path).mode & 0o077).toBe(0);
    expect(() => openSqliteStore(path)).toThrow(expect.objectContaining({ code: "store_busy" }));
    store.close();
    openSqliteStore(path).close();
  });

  it("refuses a file that is none", () => {
    execFileSync("sh", ["-c", `head -c 8192 /dev/urandom > '${path}'`]);
    expect(() => openSqliteStore(path)).toThrow(expect.objectContaining({ code: "store_unusable" }));
  });

  it("leaves no key behind in its files once a contract has ended", async () => {
    const peer = await ServicePeer.make();
    const vault = new MailboxFixture(peer, openSqliteStore(path));
    await vault.connect();
    const [key] = vault.store.transaction((tx) => tx.connectionKeys(peer.contractId!));
    const seed = vault.contract().natsSeed!;
    const found = (secret: Uint8Array | string) =>
      ["", "-wal"].some((end) => {
        try {
          return execFileSync("cat", [`${path}${end}`], { maxBuffer: 1e8 }).includes(Buffer.from(secret));
        } catch {
          return false;
        }
      });
    expect(found(key!.secret)).toBe(true);
    expect(found(seed)).toBe(true);
    await vault.receive(await peer.receipt(await vault.mailbox.revoke(peer.contractId!)));
    expect(found(key!.secret)).toBe(false);
    expect(found(seed)).toBe(false);
    vault.store.close();
  });
});

describe("a write that fails", () => {
  it.each(["before", "after"] as const)(
    "%s it was made leaves an ask unanswered and its number unused",
    async (when) => {
      for (let failAt = 1; ; failAt++) {
        const peer = await ServicePeer.make();
        const good = new MailboxFixture(peer);
        await good.connect();
        const asked = await peer.ask();
        await good.receive(asked);
        const broken = new MailboxFixture(peer, failing(good.store, failAt, when));
        const outcome = await broken.mailbox.answer(asked.eventId, { decision: "approved" }).then(
          () => "answered",
          () => "failed",
        );
        if (outcome === "answered") {
          expect(failAt).toBeGreaterThan(3);
          break;
        }
        expect(good.ask(asked.eventId)?.state).toBe("open");
        expect(good.outbox()).toEqual([]);
        expect(good.contract().sentSeq).toBe(0);
        // The other decision is as good as the first: nothing of it left the vault.
        await good.mailbox.answer(asked.eventId, { decision: "denied" });
        expect(good.outbox().map(({ seq }) => seq)).toEqual([1]);
      }
    },
  );

  it.each(["before", "after"] as const)(
    "%s it was made leaves a message to be delivered again",
    async (when) => {
      for (let failAt = 1; ; failAt++) {
        const peer = await ServicePeer.make();
        const good = new MailboxFixture(peer);
        await good.submit();
        const accepted = await peer.accept();
        const broken = new MailboxFixture(peer, failing(good.store, failAt, when));
        const outcome = await broken.receive(accepted).then(
          () => "handled",
          () => "failed",
        );
        if (outcome === "handled") {
          expect(failAt).toBeGreaterThan(2);
          break;
        }
        expect(good.contract().status).toBe("pending");
        expect(good.receiptsDue()).toEqual([]);
        expect(good.outbox()).toHaveLength(1);
        await good.receive(accepted);
        expect(good.contract().status).toBe("active");
      }
    },
  );
});

const CHILD = `
import { openSqliteStore } from ${JSON.stringify(new URL("../../../sdk/user-vault/sqlite-store.ts", import.meta.url).href)};
const store = openSqliteStore(process.argv[1]);
for (let n = 1; ; n++) {
  store.transaction((tx) => {
    tx.insertIdentity({ serviceId: "s" + n, userId: "u" + n, signingSeed: new Uint8Array(32), messageSpace: "m" + n, createdAt: n });
    tx.saveReceived({ serviceId: "s" + n, eventId: "e" + n, contractId: "c", seq: n, eventType: "x", receivedAt: n, outcome: "stored", receiptDue: true });
  });
  process.stdout.write(n + "\\n");
}`;

it("has every transaction it confirmed, whole, after SIGKILL", async () => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", CHILD, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let confirmed = 0;
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop()!;
    for (const line of lines) confirmed = Number(line);
    if (confirmed > 50) child.kill("SIGKILL");
  });
  await once(child, "close");
  const store = openSqliteStore(path);
  const { identities, missing } = store.transaction((tx) => ({
    identities: tx.identities().length,
    missing: tx.missingSeq("c", 0, 10),
  }));
  expect(identities).toBeGreaterThanOrEqual(confirmed);
  expect(missing).toEqual([]);
  store.transaction((tx) => {
    expect(tx.received(`s${identities}`, `e${identities}`)).toBeDefined();
    expect(tx.received(`s${identities + 1}`, `e${identities + 1}`)).toBeUndefined();
  });
  store.close();
});
