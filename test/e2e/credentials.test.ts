// What holds when credentials leak or keys change, through the whole stack: revoked NATS credentials on the cluster,
// the database without its key, and VAULT_KEK changed while everything runs.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { connect, type NatsConnection } from "nats.ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { connectWithCreds } from "../../scripts/stack/nats-client.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { UnwrapFailed, wrapperFor } from "../../src/crypto/wrap.ts";
import { claimsOf, credsAuthenticator, credsText } from "../../src/nats/creds.ts";
import { serviceInboxPrefix, userInboxPrefix } from "../../src/protocol/subjects.ts";
import { Person } from "./support/person.ts";

const SOON = { timeout: 20_000 };
/** The Worker starts anew several times. */
const KEK_TEST_TIMEOUT_MS = 120_000;
const DAY_SECONDS = 24 * 3_600;

let dir: string;
let stack: Stack;
let backend: Backend;
const people: Person[] = [];
const sessions: NatsConnection[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "credentials-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
});

afterAll(async () => {
  for (const session of sessions) await session.close();
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Connected {
  person: Person;
  userId: string;
  contractId: string;
}

async function connected(profile: Record<string, string> = { email: "ada@example.com" }): Promise<Connected> {
  const { invite_url } = await backend.invite("login", LOGIN_OFFERING);
  const person = await Person.online(stack);
  people.push(person);
  const contract = await person.vault.connect(invite_url, { profile });
  return { person, userId: contract.user_id, contractId: contract.contract_id };
}

/** A session of the kind a copy of the person's credentials allows. */
async function sessionOf(one: Connected, credentials = one.person.credentials(one.contractId)) {
  const session = await connect({
    servers: credentials.endpoint,
    authenticator: credsAuthenticator(credsText(credentials.user_jwt, credentials.seed)),
    inboxPrefix: userInboxPrefix(stack.serviceId, one.userId),
    reconnect: false,
    timeout: 3_000,
  });
  sessions.push(session);
  return session;
}

const keys = () => backend.expect(200, "GET", "keys");
const listed = () =>
  expect.poll(async () => (await keys()).nats_credentials, SOON).toMatchObject({ waiting: 0 });
/** The list in the users' account as the cluster holds it; nothing while it does not answer. */
async function revocationsOnCluster(): Promise<Record<string, number>> {
  const { server, material } = stack.serviceSpace;
  try {
    const system = await connectWithCreds(
      server.wsUrl,
      material.creds.system,
      serviceInboxPrefix(stack.serviceId),
    );
    try {
      const answer = await system.request(
        `$SYS.REQ.ACCOUNT.${material.users_account.public_key}.CLAIMS.LOOKUP`,
      );
      const { revocations = {} } = claimsOf(answer.string()).nats as { revocations?: Record<string, number> };
      return revocations;
    } finally {
      await system.close();
    }
  } catch {
    return {};
  }
}

const isRefused = async (one: Connected, credentials: ReturnType<Person["credentials"]>) => {
  try {
    await (await sessionOf(one, credentials)).close();
    return false;
  } catch {
    return true;
  }
};

describe("NATS credentials", () => {
  it("of a person who revoked end with their session and do not come back; others' stay", async () => {
    const [one, other] = [await connected(), await connected()];
    const copied = one.person.credentials(one.contractId);
    expect((Date.parse(copied.expires_at) - Date.now()) / 1_000).toBeGreaterThan(6 * DAY_SECONDS);
    const [session, otherSession] = [await sessionOf(one), await sessionOf(other)];
    await one.person.vault.revoke(one.contractId);
    await session.closed();
    expect(await isRefused(one, copied)).toBe(true);
    await otherSession.flush();
    await listed();
    const ready = await backend.expect(200, "GET", "/ready");
    expect(ready.nats_credentials).toEqual({
      mode: "revocable",
      user_jwt_lifetime_seconds: 7 * DAY_SECONDS,
      waiting: 0,
    });
    const text = { headers: { accept: "text/plain" } };
    const { body: metrics } = await backend.call("GET", "metrics", undefined, text);
    expect(metrics).toContain("\nvettid_revocations_up 1\n");
    expect(metrics).toContain("\nvettid_revocations_waiting 0\n");
    // The push is on the service's own chain.
    const { entries } = await backend.expect(200, "GET", "audit?operation=credentials.revoked");
    expect(entries.at(-1)).toMatchObject({ status: "success", response_summary: { listed: 1, added: 1 } });
  });

  it("of a contract the service ended hold until its notice is receipted, also across a crash", async () => {
    const one = await connected();
    const copied = one.person.credentials(one.contractId);
    await one.person.vault.stop();
    await backend.expect(200, "DELETE", `contracts/${one.contractId}`);
    const session = await sessionOf(one);
    await session.flush();
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    one.person.vault.start();
    await session.closed();
    expect(await isRefused(one, copied)).toBe(true);
  });

  it("of a superseded contract go with its keys; those of its successor are good", async () => {
    const one = await connected();
    const copied = one.person.credentials(one.contractId);
    await backend.expect(201, "POST", `contracts/${one.contractId}/amendments`, {
      reason: "We grow",
      type: "add_capabilities",
      capabilities: [
        {
          capability: "verify_presence",
          description: "Ask whether you are there",
          requires_approval_each_use: true,
        },
      ],
    });
    await expect.poll(() => one.person.vault.contract(one.contractId).proposal, SOON).toBeDefined();
    const next = await one.person.vault.acceptUpdate(one.contractId);
    await expect.poll(() => isRefused(one, copied), SOON).toBe(true);
    await (await sessionOf({ ...one, contractId: next.contract_id })).flush();
    expect((await backend.settled((await backend.ask(one.userId, "Log in")).request_id)).status).toBe(
      "approved",
    );
  });

  it("stay revoked on a cluster that lost what it was told, and comes back as it was first set up", async () => {
    const one = await connected();
    const copied = one.person.credentials(one.contractId);
    await one.person.vault.revoke(one.contractId);
    await expect.poll(() => isRefused(one, copied), SOON).toBe(true);
    const { server } = stack.serviceSpace;
    await server.stop();
    rmSync(join(dir, "servicespace", "accounts"), { recursive: true, force: true });
    await server.start();
    const { sub } = claimsOf(copied.user_jwt);
    await expect.poll(revocationsOnCluster, SOON).toHaveProperty(sub as string);
    expect(await isRefused(one, copied)).toBe(true);
  });

  it("that have run out are renewed over HTTPS", async () => {
    const one = await connected();
    await one.person.vault.close();
    one.person.forgetCredentials(one.contractId);
    await one.person.open();
    one.person.vault.start();
    expect((await backend.settled((await backend.ask(one.userId, "Log in")).request_id)).status).toBe(
      "approved",
    );
    expect(one.person.credentials(one.contractId).user_jwt).toBeDefined();
  });
});

const storage = () => join(dir, "worker", "storage");
const databases = () =>
  readdirSync(storage(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite") && !/metadata/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));

/** Every value of every database that has the form of a wrapped one, whoever's it is. */
function wrappedValues(): {
  table: string;
  column: string;
  value: Uint8Array;
  row: Record<string, unknown>;
}[] {
  return databases().flatMap((file) => {
    const db = new DatabaseSync(file, { readOnly: true });
    try {
      const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as {
        name: string;
      }[];
      return tables
        .filter(({ name }) => !name.startsWith("_cf"))
        .flatMap(({ name: table }) =>
          (db.prepare(`SELECT * FROM ${table}`).all() as Record<string, unknown>[]).flatMap((row) =>
            Object.entries(row)
              .filter((entry): entry is [string, Uint8Array] => entry[1] instanceof Uint8Array)
              .filter(([column, value]) => value[0] === 1 && column !== "salt" && column !== "sealed")
              .map(([column, value]) => ({ table, column, value, row })),
          ),
        );
    } finally {
      db.close();
    }
  });
}

/** The private halves of our connection keys, as who holds the KEK has them. */
const connectionSecrets = (kek: string, userId: string) =>
  wrappedValues()
    .filter(({ table }) => table === "connection_keys")
    .flatMap(({ value, row }) => {
      try {
        return [
          wrapperFor([Buffer.from(kek, "base64")], userId).unwrapBytes(
            value,
            `connection_keys/secret/${row.key_id}`,
          ),
        ];
      } catch {
        return [];
      }
    });

/** Whether any file on the service's side holds some bytes, as they are or as base64. */
const onDisk = (bytes: Uint8Array): boolean =>
  readdirSync(storage(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => {
      const content = readFileSync(join(entry.parentPath, entry.name));
      return content.includes(Buffer.from(bytes)) || content.includes(Buffer.from(bytes).toString("base64"));
    });

describe("the whole database", () => {
  it("without VAULT_KEK says nothing of what a person shared or was asked, and gives no key", async () => {
    const one = await connected({
      email: "only-in-this-profile@example.com",
      nickname: "nobody-else-is-called-so",
    });
    const asked = await backend.ask(one.userId, "A purpose that nobody else knows of", {
      metadata: { order: "an-order-nobody-else-made" },
      callback_url: "http://127.0.0.1:9/a-path-nobody-else-has",
    });
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
    await backend.invite("login", LOGIN_OFFERING, { metadata: { table: "a-table-nobody-else-has" } });
    await stack.worker.stop();

    const kek = stack.bindings.VAULT_KEK!;
    const secrets = connectionSecrets(kek, one.userId);
    expect(secrets).toHaveLength(1);
    for (const text of [
      "only-in-this-profile@example.com",
      "nobody-else-is-called-so",
      "A purpose that nobody else knows of",
      "an-order-nobody-else-made",
      "a-path-nobody-else-has",
      "a-table-nobody-else-has",
    ])
      expect(onDisk(Buffer.from(text)), text).toBe(false);
    expect(onDisk(secrets[0]!)).toBe(false);
    // The search finds what is there.
    expect(onDisk(Buffer.from(asked.request_id))).toBe(true);

    // And no other secret of the deployment opens any of it, whomever it is taken to belong to.
    const values = wrappedValues();
    expect(new Set(values.map(({ table, column }) => `${table}.${column}`))).toEqual(
      new Set([
        "connection_keys.secret",
        "profiles.data",
        "outgoing.content",
        "outgoing.answer",
        "contracts.view",
        "invites.metadata",
        "events.callback",
        ...values.filter(({ table }) => table === "webhooks").map(({ column }) => `webhooks.${column}`),
      ]),
    );
    const others = Object.entries(stack.bindings)
      .map(([name, text]) => [name, Buffer.from(text, "base64")] as const)
      .filter(([name, bytes]) => name !== "VAULT_KEK" && bytes.length === 32);
    expect(others.length).toBeGreaterThan(3);
    for (const [, bytes] of others)
      for (const { value, table, column, row } of values)
        for (const owner of [one.userId, "directory", "journal"])
          expect(() =>
            wrapperFor([bytes], owner).unwrapBytes(value, `${table}/${column}/${Object.values(row)[0]}`),
          ).toThrow(UnwrapFailed);
    await stack.worker.start();
    await waitUntilReady(stack.worker);
  });
});

describe("VAULT_KEK", () => {
  it(
    "changes while people are away and processes die; after that the old key opens nothing",
    async () => {
      const profile = { email: "grace@example.com" };
      const [one, idle] = [await connected(profile), await connected(profile)];
      await idle.person.vault.stop();
      const options = { headers: { "Idempotency-Key": "before the change" } };
      const asked = await backend.expect(
        201,
        "POST",
        "auth/request",
        { user_id: one.userId, purpose: "Log in" },
        options,
      );
      const before = await keys();
      expect(before.vault_kek).toEqual({ key_id: expect.any(String), status: "current" });

      const [old, fresh] = [stack.bindings.VAULT_KEK!, randomBytes(32).toString("base64")];
      stack.worker.setBindings({ VAULT_KEK: fresh, VAULT_KEK_PREVIOUS: old });
      await stack.worker.restart();
      await waitUntilReady(stack.worker);
      // In the middle of it, or before, or after: it makes no difference.
      await stack.worker.restart();
      await waitUntilReady(stack.worker);
      const again = await backend.expect(
        201,
        "POST",
        "auth/request",
        { user_id: one.userId, purpose: "Log in" },
        options,
      );
      expect(again.request_id).toBe(asked.request_id);
      await expect
        .poll(async () => (await keys()).vault_kek, { timeout: 60_000 })
        .toEqual({
          key_id: expect.not.stringMatching(before.vault_kek.key_id),
          previous_key_id: before.vault_kek.key_id,
          status: "rewrapped",
          objects_left: 0,
        });

      stack.worker.setBindings({ VAULT_KEK_PREVIOUS: undefined });
      await stack.worker.stop();
      expect(connectionSecrets(old, idle.userId)).toEqual([]);
      expect(connectionSecrets(fresh, idle.userId)).toHaveLength(1);
      const ids = new Set(
        wrappedValues().map(({ value }) => Buffer.from(value.subarray(0, 5)).toString("hex")),
      );
      expect(ids.size).toBe(1);

      await stack.worker.start();
      await waitUntilReady(stack.worker);
      expect((await keys()).vault_kek.status).toBe("current");
      idle.person.vault.start();
      for (const { userId } of [one, idle]) {
        expect((await backend.expect(200, "GET", `users/${userId}/profile`)).profile).toEqual(profile);
        expect(
          (await backend.settled((await backend.ask(userId, "Log in once more")).request_id)).status,
        ).toBe("approved");
      }
    },
    KEK_TEST_TIMEOUT_MS,
  );
});

describe("without the operator's key", () => {
  it("user JWTs live a day, and the cluster is left as it is; the vault refuses all the same", async () => {
    stack.worker.setBindings({
      SERVICESPACE_OPERATOR_SIGNING_SEED: undefined,
      SERVICESPACE_SYSTEM_CREDS: undefined,
    });
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    const ready = await backend.expect(200, "GET", "/ready");
    expect(ready.nats_credentials).toEqual({ mode: "short_lived", user_jwt_lifetime_seconds: DAY_SECONDS });
    const one = await connected();
    const copied = one.person.credentials(one.contractId);
    const lifetime = (Date.parse(copied.expires_at) - Date.now()) / 1_000;
    expect(lifetime).toBeGreaterThan(DAY_SECONDS - 300);
    expect(lifetime).toBeLessThanOrEqual(DAY_SECONDS);
    await one.person.vault.revoke(one.contractId);
    await expect
      .poll(async () => (await backend.expect(200, "GET", `contracts/${one.contractId}`)).status, SOON)
      .toBe("cancelled");
    await (await sessionOf(one, copied)).flush();
    expect(
      await backend.call("POST", "auth/request", { user_id: one.userId, purpose: "Log in" }),
    ).toMatchObject({
      status: 403,
      body: { code: "contract_required" },
    });
  });
});
