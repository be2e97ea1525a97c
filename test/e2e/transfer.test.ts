// A deployment taken out whole and put into an empty one with the same keys: contracts, chains and the log go on, and
// nobody connected to it has to know.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Backend } from "../../scripts/stack/backend.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { WorkerProcess } from "../../scripts/stack/worker.ts";
import { exportTo, importFrom } from "../../scripts/transfer.ts";
import { verifyAuditProof, verifyChain } from "../../sdk/typescript/src/index.ts";
import { Person, PROFILE } from "./support/person.ts";

const WAIT = { timeout: 30_000, interval: 100 };
const SECRET_TEXT = "marzipan that only two may know of";

let dir: string;
let stack: Stack;
let backend: Backend;
let person: Person;
let userId: string;
let contractId: string;
let approvedId: string;
let openId: string;
let file: string;
let before: { checkpoint: string; eventIds: string[]; webhookIds: string[] };
let other: WorkerProcess | undefined;

/** Ends this life of the Worker and begins the next with these settings. */
async function restartWith(worker: WorkerProcess, vars: Record<string, string>): Promise<void> {
  await worker.stop();
  worker.setBindings(vars);
  await worker.start();
}

const eventIds = async (): Promise<string[]> =>
  (await backend.expect(200, "GET", "events?limit=100")).events.map(
    (event: { event_id: string }) => event.event_id,
  );
/** Resolves when an entry is in the public log. */
const logged = (event: string) =>
  vi.waitFor(() => backend.expect(200, "GET", `audit/${event}/proof?user_id=${userId}`), WAIT);
const entries = async () => (await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`)).entries;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "transfer-"));
  file = join(dir, "deployment.jsonl");
  stack = await startStack({ dir: join(dir, "stack") });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  process.env.VAULT_API_KEY = stack.adminApiKey;
  await backend.expect(201, "POST", "webhooks", { url: "https://127.0.0.1:9/hook" });
  const { invite_url } = await backend.invite();
  person = await Person.online(stack);
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  userId = contract.user_id;
  contractId = contract.contract_id;
  approvedId = (await backend.ask(userId, SECRET_TEXT)).request_id;
  expect((await backend.settled(approvedId)).status).toBe("approved");
  openId = (await backend.ask(userId, "later", { expires_in_seconds: 3_600 })).request_id;
  await vi.waitFor(async () => {
    expect((await backend.expect(200, "GET", `requests/${openId}`)).delivered_at).toBeDefined();
  }, WAIT);
  await logged((await entries()).at(-1).event_id);
  before = {
    checkpoint: (await backend.expect(200, "GET", "/log/checkpoint")) as string,
    eventIds: await eventIds(),
    webhookIds: (await backend.expect(200, "GET", "webhooks")).webhooks.map(
      (hook: { webhook_id: string }) => hook.webhook_id,
    ),
  };
});
afterAll(async () => {
  delete process.env.VAULT_API_KEY;
  await person?.gone();
  await other?.stop();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe("taking a deployment out", () => {
  it("is refused while it works, and nothing is written", async () => {
    await expect(exportTo(stack.baseUrl, file)).rejects.toThrow('set MAINTENANCE = "on"');
    expect(() => readFileSync(file)).toThrow();
  });

  it("is possible in maintenance, in which it answers nothing else", async () => {
    await restartWith(stack.worker, { MAINTENANCE: "on" });
    const refused = await backend.call("POST", "auth/request", { user_id: userId, purpose: "Log in" });
    expect(refused).toMatchObject({ status: 503, body: { code: "unavailable" } });
    expect(refused.headers.get("retry-after")).toBe("60");
    expect((await backend.call("GET", "/health")).status).toBe(200);
    const end = await exportTo(stack.baseUrl, file);
    expect(end.objects).toBe(4);
    expect(end.pages).toBe(4);
  });

  it("gives a file that says nothing of what was shared or asked", () => {
    const text = readFileSync(file, "utf8");
    for (const content of [SECRET_TEXT, PROFILE.email, ...Object.values(stack.identity.secrets)])
      expect(text.includes(content)).toBe(false);
    expect(text).toContain(contractId);
  });
});

describe("putting it into an empty deployment", () => {
  beforeAll(async () => {
    await stack.worker.stop();
    // Another disk, another bucket; the same name, keys and clusters.
    other = new WorkerProcess({
      dir: join(dir, "other"),
      port: Number(new URL(stack.baseUrl).port),
      bindings: { ...stack.bindings, MAINTENANCE: "on" },
    });
    await other.start();
  });

  it("is refused for a damaged file, a file without its end, and anything else", async () => {
    const text = readFileSync(file, "utf8");
    const damaged = join(dir, "damaged.jsonl");
    writeFileSync(damaged, text.replace(contractId, `${contractId.slice(1)}1`));
    await expect(importFrom(stack.baseUrl, damaged)).rejects.toThrow("is damaged");
    writeFileSync(damaged, text.slice(0, text.lastIndexOf('{"end"')));
    await expect(importFrom(stack.baseUrl, damaged)).rejects.toThrow("is not whole");
    writeFileSync(damaged, `{"format":"mine"}\n`);
    await expect(importFrom(stack.baseUrl, damaged)).rejects.toThrow("is not an export");
  });

  it("is refused where the KEK is another: nothing in it could be read", async () => {
    await restartWith(other!, { VAULT_KEK: Buffer.alloc(32, 7).toString("base64") });
    await expect(importFrom(stack.baseUrl, file)).rejects.toThrow("another VAULT_KEK");
    await restartWith(other!, { VAULT_KEK: stack.bindings.VAULT_KEK! });
  });

  it("puts everything there", async () => {
    const end = await importFrom(stack.baseUrl, file);
    expect(end.objects).toBe(4);
    // Sent again, as after a lost answer, it is taken once.
    expect(await importFrom(stack.baseUrl, file)).toEqual(end);
  });

  it("and it goes on: contract, requests, events, chain and log", async () => {
    await restartWith(other!, { MAINTENANCE: "off" });
    await waitUntilReady(other!);
    const contract = await backend.expect(200, "GET", `contracts/${contractId}`);
    expect(contract).toMatchObject({ status: "active", verification: { valid: true } });
    expect((await backend.expect(200, "GET", `users/${userId}/profile`)).profile).toEqual(PROFILE);
    const approved = await backend.expect(200, "GET", `requests/${approvedId}`);
    expect(approved).toMatchObject({ status: "approved", request_payload: { purpose: SECRET_TEXT } });
    expect((await eventIds()).slice(0, before.eventIds.length)).toEqual(before.eventIds);
    expect(
      (await backend.expect(200, "GET", "webhooks")).webhooks.map(
        (hook: { webhook_id: string }) => hook.webhook_id,
      ),
    ).toEqual(before.webhookIds);

    // The person answers what was asked before the move, and what is asked after it.
    await person.vault.answer(openId, { decision: "approved" });
    expect((await backend.settled(openId)).status).toBe("approved");
    const asked = await backend.ask(userId, "Log in after the move");
    expect((await backend.settled(asked.request_id)).status).toBe("approved");

    // One chain, from the first entry to the newest, and the newest in the log that also has the old ones.
    const { public_key: publicKey } = await backend.expect(200, "GET", "info");
    const serviceId = stack.serviceId;
    const all = await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`);
    expect(await verifyChain(all.entries, { serviceId, publicKey, userId })).toMatchObject({
      entries: all.entries.length,
    });
    const newest = all.entries.at(-1).event_id;
    await logged(newest);
    const { log_vkey: logKey } = await backend.expect(200, "GET", "/.well-known/vettid-service");
    const proof = await backend.expect(200, "GET", `audit/${newest}/proof?user_id=${userId}`);
    const { event_hash: head } = all.entries.find((entry: { event_id: string }) => entry.event_id === newest);
    expect(proof.entries.at(-1).event_hash).toBe(head);
    await verifyAuditProof(proof.proof, { ownerId: userId, head, logKey });
    const checkpoint = (await backend.expect(200, "GET", "/log/checkpoint")) as string;
    expect(Number(checkpoint.split("\n")[1])).toBeGreaterThan(Number(before.checkpoint.split("\n")[1]));
  });

  it("is not written over by an import, not even one of its own", async () => {
    await restartWith(other!, { MAINTENANCE: "on" });
    const later = join(dir, "later.jsonl");
    await exportTo(stack.baseUrl, later);
    await expect(importFrom(stack.baseUrl, later)).rejects.toThrow("this object has been used");
  });
});
