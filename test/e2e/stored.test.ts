// Deployments as earlier versions left them (test/fixtures/stored, made by scripts/fixture.ts), opened by this version:
// what was stored is read, and everything goes on from there.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { Backend } from "../../scripts/stack/backend.ts";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import type { ServiceIdentity } from "../../scripts/stack/identity.ts";
import { startStack } from "../../scripts/stack/stack.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person } from "./support/person.ts";

const FIXTURES = join(PROJECT_ROOT, "test", "fixtures", "stored");

interface Facts {
  /** Where that Worker was; the person's vault knows it by this. */
  base_url: string;
  identity: ServiceIdentity;
  user_id: string;
  contract_id: string;
  approved_request_id: string;
  open_request_id: string;
  webhook_id: string;
  /** May read requests. */
  api_key: string;
  last_event_hash: string;
}

function load(file: string, sql: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const db = new DatabaseSync(file);
  db.exec(`BEGIN; ${sql} COMMIT;`);
  db.close();
}

/** The Worker's storage of the fixture, where the stack keeps its own. */
function loadStorage(fixture: string, storage: string): void {
  const from = join(fixture, "storage");
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const text = readFileSync(join(entry.parentPath, entry.name), "utf8");
    const target = join(storage, entry.parentPath.slice(from.length), entry.name);
    if (target.endsWith(".sql")) load(target.slice(0, -".sql".length), text);
    else {
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target.slice(0, -".base64".length), Buffer.from(text, "base64"));
    }
  }
}

describe("a deployment stored by an earlier version", () => {
  it.each(readdirSync(FIXTURES))("%s is read, and goes on", async (name) => {
    const fixture = join(FIXTURES, name);
    const facts: Facts = JSON.parse(readFileSync(join(fixture, "facts.json"), "utf8"));
    const { user_id, contract_id } = facts;
    const dir = mkdtempSync(join(tmpdir(), "stored-"));
    writeFileSync(join(dir, "identity.json"), JSON.stringify(facts.identity));
    loadStorage(fixture, join(dir, "worker", "storage"));
    const stack = await startStack({
      dir,
      // The log keeps its name though the port is another.
      vars: { AUDIT_LOG_ORIGIN: `${new URL(facts.base_url).host}/log` },
    });
    const person = new Person(stack);
    try {
      const backend = new Backend(stack.baseUrl, stack.adminApiKey);

      // What was stored.
      const { record, verification, ...contract } = await backend.expect(
        200,
        "GET",
        `contracts/${contract_id}`,
      );
      expect(contract).toMatchObject({ status: "active", user_id });
      expect(verification.valid).toBe(true);
      expect((await verifyContractRecord(record)).valid).toBe(true);
      const { contracts } = await backend.expect(200, "GET", `contracts?user_id=${user_id}`);
      expect(contracts.map((row: { contract_id: string }) => row.contract_id)).toEqual([contract_id]);
      expect((await backend.expect(200, "GET", `users/${user_id}/profile`)).profile).toEqual({
        email: "ada@example.com",
      });
      const approved = await backend.expect(200, "GET", `requests/${facts.approved_request_id}`, undefined, {
        key: facts.api_key,
      });
      expect(approved.status).toBe("approved");
      const { approval, request_payload, user_signing_key } = approved;
      expect(await verifyApproval(approval, request_payload, user_signing_key)).toBe(true);
      const { webhooks } = await backend.expect(200, "GET", "webhooks");
      expect(webhooks.map((hook: { webhook_id: string }) => hook.webhook_id)).toEqual([facts.webhook_id]);

      // It goes on: with the person's vault of then, under the keys of then.
      const sql = readFileSync(join(fixture, "person.sql"), "utf8");
      load(person.storeFile, sql.replaceAll(facts.base_url, stack.baseUrl));
      // Those of then are for a cluster that is gone.
      person.forgetCredentials(contract_id);
      await person.open();
      person.vault.start();
      const asked = await backend.ask(user_id, "Log in once more");
      expect((await backend.settled(asked.request_id)).status).toBe("approved");

      const info = await backend.expect(200, "GET", "info");
      const { entries } = await backend.expect(200, "GET", `audit?user_id=${user_id}&limit=100`);
      expect(
        await verifyChain(entries, { serviceId: stack.serviceId, publicKey: info.public_key }),
      ).toMatchObject({
        valid: true,
      });
      const hashes = entries.map((entry: { event_hash: string }) => entry.event_hash);
      expect(hashes).toContain(facts.last_event_hash);
      expect(hashes.at(-1)).not.toBe(facts.last_event_hash);
      const { event_id } = entries.at(-1);
      await expect
        .poll(async () => (await backend.call("GET", `audit/${event_id}/proof?user_id=${user_id}`)).status, {
          timeout: 30_000,
        })
        .toBe(200);
    } finally {
      await person.vault?.close();
      rmSync(person.dir, { recursive: true, force: true });
      await stack.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
