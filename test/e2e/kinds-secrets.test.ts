// Secrets in three tiers, whole: the backend over HTTPS, the Worker, both clusters, and the user's vault that keeps them.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { signingKeyOfSecret } from "../../sdk/user-vault/handlers/secret.ts";
import { verify } from "../../src/crypto/signing.ts";
import { fromBase64, toBase58, toBase64 } from "../../src/protocol/encoding.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person, PROFILE } from "./support/person.ts";

const ALL = [
  "secret.minor.write",
  "secret.minor.read",
  "secret.critical.write",
  "secret.critical.read",
  "secret.user_owned.issue",
  "secret.user_owned.use",
];
const offeringOf = (capabilities: string[]) => ({
  ...LOGIN_OFFERING,
  capabilities: capabilities.map((capability) => ({
    capability,
    description: `May use ${capability}`,
    requires_approval_each_use: false,
  })),
});

/** Nothing but this test holds these. */
const VALUE = "a-value-nobody-else-knows-7261";
const NEXT_VALUE = "another-value-nobody-else-knows-9921";
const base64 = (text: string): string => toBase64(utf8(text));

let dir: string;
let stack: Stack;
let backend: Backend;
const people: Person[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "secrets-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
});

afterAll(async () => {
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function connected(capabilities = ALL): Promise<{ person: Person; userId: string }> {
  const { invite_url } = await backend.invite("vault", offeringOf(capabilities));
  const person = await Person.online(stack);
  people.push(person);
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  return { person, userId: contract.user_id };
}

/** The request at its own path once it is no longer pending. */
const settled = (requestId: string) => backend.expect(200, "GET", `secrets/request/${requestId}?wait=20`);

/** Asks for something that only the person decides, and has them approve. */
async function byHand(person: Person, requestId: string) {
  await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
  await person.vault.answer(requestId, { decision: "approved" });
  return settled(requestId);
}

const store = (userId: string, secretType: string, value = VALUE, more = {}) =>
  backend.expect(202, "POST", "secrets/store", {
    user_id: userId,
    secret_type: secretType,
    name: `${secretType} one`,
    data: base64(value),
    ...more,
  });

/** Whether any file below a folder holds a text, as it is or as base64. */
function holds(folder: string, text: string): boolean {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => {
      const bytes = readFileSync(join(entry.parentPath, entry.name));
      return bytes.includes(text) || bytes.includes(base64(text));
    });
}

describe("a minor secret", () => {
  it("is kept, listed, handed out, changed and deleted by the person's policy", async () => {
    const { userId } = await connected();
    const asked = await store(userId, "minor", VALUE, { metadata: { door: 12 } });
    const kept = await settled(asked.request_id);
    expect(kept).toMatchObject({ status: "approved", secret_id: asked.request_id });

    const retrieve = await backend.expect(202, "POST", "secrets/retrieve", {
      user_id: userId,
      secret_id: kept.secret_id,
      purpose: "Open the locker",
    });
    const view = await settled(retrieve.request_id);
    expect(view).toMatchObject({
      status: "approved",
      secret_type: "minor",
      data: base64(VALUE),
      metadata: { door: 12 },
    });

    const listed = await backend.expect(202, "GET", `secrets?user_id=${userId}&secret_type=minor`);
    const { secrets } = await settled(listed.request_id);
    expect(secrets).toMatchObject([{ secret_id: kept.secret_id, secret_type: "minor", name: "minor one" }]);
    expect(secrets[0]).not.toHaveProperty("data");

    const changed = await backend.expect(202, "PUT", `secrets/${kept.secret_id}`, {
      user_id: userId,
      data: base64(NEXT_VALUE),
    });
    expect((await settled(changed.request_id)).status).toBe("approved");
    const again = await backend.expect(202, "POST", "secrets/retrieve", {
      user_id: userId,
      secret_id: kept.secret_id,
      purpose: "Open the locker again",
    });
    expect((await settled(again.request_id)).data).toBe(base64(NEXT_VALUE));

    const deleted = await backend.expect(202, "DELETE", `secrets/${kept.secret_id}?user_id=${userId}`);
    expect((await settled(deleted.request_id)).status).toBe("approved");
    const gone = await backend.expect(202, "POST", "secrets/retrieve", {
      user_id: userId,
      secret_id: kept.secret_id,
      purpose: "Is it gone?",
    });
    expect(await settled(gone.request_id)).toMatchObject({ status: "denied", reason: "secret_unknown" });
  });

  it("is in no file on the service's side, and the approval proves itself once the value is put back", async () => {
    const { userId } = await connected();
    const asked = await store(userId, "minor", "a-value-for-the-search-5512");
    const view = await settled(asked.request_id);
    expect(view.request_payload).not.toHaveProperty("data");
    expect(await verifyApproval(view.approval, view.request_payload, view.user_signing_key)).toBe(false);
    const whole = { ...view.request_payload, data: base64("a-value-for-the-search-5512") };
    expect(await verifyApproval(view.approval, whole, view.user_signing_key)).toBe(true);
    expect(holds(dir, asked.request_id)).toBe(true);
    expect(holds(dir, "a-value-for-the-search-5512")).toBe(false);
  });

  it("a list that is open already is joined, not asked again", async () => {
    const { person, userId } = await connected();
    await person.vault.stop();
    const path = `secrets?user_id=${userId}&secret_type=minor`;
    const first = await backend.expect(202, "GET", path);
    const second = await backend.expect(202, "GET", path);
    const other = await backend.expect(202, "GET", `secrets?user_id=${userId}&secret_type=critical`);
    const posted = await backend.expect(202, "POST", "secrets/list", {
      user_id: userId,
      secret_type: "minor",
    });
    expect(second.request_id).toBe(first.request_id);
    expect(new Set([first.request_id, other.request_id, posted.request_id]).size).toBe(3);
  });
});

describe("a critical secret", () => {
  it("is decided by the person each time, whatever the policy would say", async () => {
    const { person, userId } = await connected();
    const asked = await store(userId, "critical");
    expect((await backend.expect(200, "GET", `secrets/request/${asked.request_id}?wait=2`)).status).toBe(
      "pending",
    );
    expect(await byHand(person, asked.request_id)).toMatchObject({ status: "approved" });
    const retrieve = await backend.expect(202, "POST", "secrets/retrieve", {
      user_id: userId,
      secret_id: asked.request_id,
      purpose: "Show the recovery code",
    });
    expect(await byHand(person, retrieve.request_id)).toMatchObject({ data: base64(VALUE) });
  });
});

describe("a user-owned secret", () => {
  it("signs in the user's vault, verifiable by whoever issued it, and cannot be had back", async () => {
    const { person, userId } = await connected();
    const secret = crypto.getRandomValues(new Uint8Array(32));
    const asked = await backend.expect(202, "POST", "secrets/store", {
      user_id: userId,
      secret_type: "user_owned",
      name: "Membership key",
      data: toBase64(secret),
    });
    await byHand(person, asked.request_id);
    const message = utf8("Order 4711");
    const use = await backend.expect(202, "POST", "secrets/user-owned/use", {
      user_id: userId,
      secret_id: asked.request_id,
      operation: "sign",
      payload: toBase64(message),
    });
    const signed = await byHand(person, use.request_id);
    expect(signed.public_key).toBe(await signingKeyOfSecret(secret));
    expect(await verify(fromBase64(signed.public_key)!, message, fromBase64(signed.output)!)).toBe(true);

    for (const [method, path, body] of [
      ["POST", "secrets/retrieve", { user_id: userId, secret_id: asked.request_id, purpose: "Back" }],
      ["PUT", `secrets/${asked.request_id}`, { user_id: userId, name: "Mine" }],
      ["DELETE", `secrets/${asked.request_id}?user_id=${userId}`, undefined],
    ] as const)
      expect(await backend.call(method, path, body), path).toMatchObject({
        status: 409,
        body: { code: "conflict" },
      });
  });
});

describe("what two services share through a person", () => {
  const AGREED = ["list_connections", "request_collaboration"];
  const target = toBase58(crypto.getRandomValues(new Uint8Array(32)));
  const collaboration = (requestId: string) =>
    backend.expect(200, "GET", `collaboration/request/${requestId}?wait=20`);
  const schema = (own = stack.serviceId) => ({
    fields: [
      { name: "height_cm", type: "number" },
      { name: "shoe_size", type: "string" },
    ],
    access: {
      [own]: { write: ["height_cm"], read: ["height_cm", "shoe_size"] },
      [target]: { read: ["height_cm"] },
    },
  });
  const ask = (userId: string, sharedSchema: unknown = schema()) =>
    backend.call("POST", "collaboration/request", {
      user_id: userId,
      target_service_id: target,
      shared_data_schema: sharedSchema,
      purpose: "Shoes that fit",
    });
  const approveByHand = async (person: Person, requestId: string, choices = {}) => {
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    await person.vault.answer(requestId, { decision: "approved", choices });
    return collaboration(requestId);
  };

  it("is agreed to by the person, then read and written within that, and every access is written down", async () => {
    const { person, userId } = await connected(AGREED);
    const asked = await ask(userId);
    const agreed = await approveByHand(person, asked.body.request_id);
    expect(agreed).toMatchObject({ status: "approved", datastore_id: asked.body.request_id });
    const id = agreed.datastore_id;
    const listed = await backend.expect(200, "GET", `collaboration/datastores?user_id=${userId}`);
    expect(listed.datastores).toMatchObject([{ datastore_id: id, target_service_id: target }]);

    const access = (verb: string, body: object) =>
      backend.call("POST", `collaboration/datastores/${id}/${verb}`, { user_id: userId, ...body });
    const written = await access("write", { values: { height_cm: 171 } });
    expect(written.status).toBe(201);
    const writing = await collaboration(written.body.request_id);
    expect(writing.status).toBe("approved");
    expect(writing.request_payload).not.toHaveProperty("values");
    const read = await access("read", { fields: ["height_cm"] });
    expect(await collaboration(read.body.request_id)).toMatchObject({ values: { height_cm: 171 } });

    const wrong = [
      await access("write", { values: { shoe_size: "44" } }),
      await access("write", { values: { height_cm: "tall" } }),
    ];
    const outcomes = await Promise.all(wrong.map(({ body }) => collaboration(body.request_id)));
    expect(outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["denied", "not_agreed"],
      ["denied", "type_mismatch"],
    ]);
    expect(await access("read", { fields: ["weight"] })).toMatchObject({ status: 409 });

    const audit = await backend.expect(202, "GET", `collaboration/datastores/${id}/audit?user_id=${userId}`);
    expect((await collaboration(audit.request_id)).accesses).toMatchObject([
      { service_id: stack.serviceId, action: "write", fields: ["height_cm"] },
      { service_id: stack.serviceId, action: "read", fields: ["height_cm"] },
    ]);
  });

  it("names no other service without the person's choice, and takes no part for strangers", async () => {
    const { person, userId } = await connected(AGREED);
    const asked = await backend.expect(201, "POST", "collaboration/connections", { user_id: userId });
    expect(await approveByHand(person, asked.request_id)).toMatchObject({ connections: [] });
    const stranger = await ask(userId, schema(toBase58(crypto.getRandomValues(new Uint8Array(32)))));
    expect(await approveByHand(person, stranger.body.request_id)).toMatchObject({
      status: "denied",
      reason: "not_a_party",
    });
  });

  it.each([
    ["access to a field that is not in the schema", { access: { [target]: { read: ["weight"] } } }],
    ["access of a single service", { access: { [target]: { read: ["height_cm"] } } }],
    ["the same field twice", { fields: Array(2).fill({ name: "height_cm", type: "number" }) }],
  ])("with %s is refused", async (_, change) => {
    const { userId } = await cached();
    expect(await ask(userId, { ...schema(), ...change })).toMatchObject({
      status: 400,
      body: { code: "invalid_request" },
    });
  });
});

describe("what is refused", () => {
  it("a tier the contract does not grant", async () => {
    const { userId } = await connected(["secret.minor.write", "secret.minor.read"]);
    const refused = await backend.call("POST", "secrets/store", {
      user_id: userId,
      secret_type: "critical",
      name: "Too much",
      data: base64("x"),
    });
    expect(refused).toMatchObject({ status: 403, body: { code: "capability_denied" } });
  });

  it("a secret of another user, one that was never stored, and one whose storing was denied", async () => {
    const { userId } = await connected();
    const other = await connected();
    const asked = await store(userId, "minor");
    await settled(asked.request_id);
    const denied = await store(userId, "minor", VALUE, { name: "Denied", purpose: "deny this" });
    await settled(denied.request_id);
    for (const [user, id] of [
      [other.userId, asked.request_id],
      [userId, denied.request_id],
      [userId, "3mJr7AoUXx2Wqd5kTz8bNcVfEyGhLs9P"],
    ])
      expect(
        await backend.call("POST", "secrets/retrieve", { user_id: user, secret_id: id, purpose: "Mine?" }),
      ).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  it.each([
    ["no tier", { name: "n", data: "AAAA" }],
    ["an unknown tier", { secret_type: "public", name: "n", data: "AAAA" }],
    ["data that is not base64", { secret_type: "minor", name: "n", data: "not base64!" }],
    ["base64 that is not canonical", { secret_type: "minor", name: "n", data: "AAAB=" }],
    ["no data", { secret_type: "minor", name: "n", data: "" }],
    ["too much data", { secret_type: "minor", name: "n", data: toBase64(new Uint8Array(65_537)) }],
    ["a name with a line break", { secret_type: "minor", name: "a\nb", data: "AAAA" }],
    [
      "metadata that is too long",
      { secret_type: "minor", name: "n", data: "AAAA", metadata: { a: "x".repeat(5_000) } },
    ],
    ["a field nobody knows", { secret_type: "minor", name: "n", data: "AAAA", tier: "minor" }],
  ])("%s", async (_, body) => {
    const { userId } = await cached();
    const answer = await backend.call("POST", "secrets/store", { user_id: userId, ...body });
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    expect(JSON.stringify(answer.body)).not.toContain("not base64!");
  });

  it("a change that changes nothing", async () => {
    const { userId } = await cached();
    const asked = await store(userId, "minor", VALUE, { name: "Unchanged" });
    await settled(asked.request_id);
    expect(await backend.call("PUT", `secrets/${asked.request_id}`, { user_id: userId })).toMatchObject({
      status: 400,
      body: { code: "invalid_request" },
    });
  });
});

let shared: Promise<{ userId: string }> | undefined;
/** One person for tests that never get as far as asking them. */
const cached = () => {
  shared ??= connected();
  return shared;
};
