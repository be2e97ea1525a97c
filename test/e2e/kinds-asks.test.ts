// Authorization, data, signatures, presence and a kind of the service's own, each asked over HTTPS, answered by a user
// vault from what it holds, and checked here by whoever would rely on it: a backend, offline.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import type { Answer, Policy } from "../../sdk/user-vault/index.ts";
import { resultDigestOf, sha256 } from "../../src/crypto/hash.ts";
import { verify, verifyJson } from "../../src/crypto/signing.ts";
import { fromBase64, toBase64 } from "../../src/protocol/encoding.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person, PROFILE } from "./support/person.ts";

const grant = (capability: string, scope?: string[]) => ({
  capability,
  description: `Ask you for ${capability}`,
  ...(scope === undefined ? {} : { scope }),
  requires_approval_each_use: true,
});

const OFFERING = {
  ...LOGIN_OFFERING,
  name: "Everything a shop may ask",
  capabilities: [
    grant("authorization_request", ["transfer:account/*"]),
    grant("browse_metadata", ["address/*", "email"]),
    grant("request_data", ["address/*", "email"]),
    grant("write_data"),
    grant("read_data"),
    grant("sign_document"),
    grant("sign_transaction", ["ed25519"]),
    grant("verify_presence"),
    grant("custom.loyalty"),
  ],
};

const MANIFEST = {
  capabilities: [
    {
      name: "loyalty",
      description: "Spends points",
      request_schema: {
        type: "object",
        properties: { points: { type: "integer", minimum: 1 }, note: { type: "string", maxLength: 40 } },
        required: ["points"],
        additionalProperties: false,
      },
      response_schema: {
        type: "object",
        properties: { balance: { type: "integer", minimum: 0 } },
        required: ["balance"],
        additionalProperties: false,
      },
    },
  ],
  event_handlers: [],
  plans: [],
};

const VALID_UNTIL = "2096-01-31T08:15:00.000Z";

/** What the person does, by the ask's purpose. */
const policy: Policy = (ask): Answer => {
  const { purpose = "", kind } = ask;
  if (purpose.startsWith("deny")) return { decision: "denied", reason: "not now" };
  if (purpose === "limited")
    return { decision: "approved", constraints: { max: 100 }, valid_until: VALID_UNTIL };
  if (purpose === "only the city")
    return { decision: "approved", choices: { paths: ["address/city"], share: "contract" } };
  if (purpose === "busy") return { decision: "approved", choices: { available: false } };
  if (purpose === "below zero") return { decision: "approved", result: { balance: -1 } };
  if (kind === "custom.loyalty") return { decision: "approved", result: { balance: 17 } };
  return { decision: "approved" };
};

let dir: string;
let stack: Stack;
let backend: Backend;
let person: Person;
let userId: string;
let serviceId: string;
let contractId: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "kinds-"));
  // Answers and receipts come in through any of three shards of the bridge.
  stack = await startStack({ dir, vars: { BRIDGE_SHARDS: "3" } });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  serviceId = stack.serviceId;
  await backend.expect(200, "PUT", "manifest", MANIFEST);
  const { invite_url } = await backend.invite("shop", OFFERING);
  person = await Person.online(stack, policy);
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  userId = contract.user_id;
  contractId = contract.contract_id;
  person.vault.setData("email", "ada@example.com");
  person.vault.setData("address/city", "London");
  person.vault.setData("address/street", { name: "St James's Square", number: 12 });
  person.vault.setData("health/blood_type", "AB");
});

afterAll(async () => {
  await person?.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Asks, waits for the answer, and holds its approval against the payload and the user's key, as a backend would. */
async function answered(path: string, readPath: string, fields: Record<string, unknown>) {
  const asked = await backend.expect(201, "POST", path, { user_id: userId, ...fields });
  const view = await backend.expect(200, "GET", `${readPath}/${asked.request_id}?wait=20`);
  expect(view.status).not.toBe("pending");
  expect(await verifyApproval(view.approval, view.request_payload, view.user_signing_key)).toBe(true);
  return view;
}

describe("authorization", () => {
  it("is the person's signed word on one action and resource, with their limits", async () => {
    const view = await answered("authz/request", "authz/request", {
      action: "transfer",
      resource: "account/42",
      purpose: "limited",
    });
    expect(view).toMatchObject({
      status: "approved",
      allowed: true,
      action: "transfer",
      resource: "account/42",
      constraints: { max: 100 },
      approval_expires_at: VALID_UNTIL,
    });
    expect(view.approval.statement).toMatchObject({ constraints: { max: 100 }, valid_until: VALID_UNTIL });
    expect(person.vault.holdings.get("permissions", "transfer:account/42", serviceId)).toMatchObject({
      request_id: view.request_id,
    });
  });

  it("refused by the person is not allowed, and outside the scope never reaches them", async () => {
    const denied = await answered("authz/request", "authz/request", {
      action: "transfer",
      resource: "account/43",
      purpose: "deny this",
    });
    expect(denied).toMatchObject({ status: "denied", allowed: false });
    const before = person.vault.asks().length;
    expect(
      await backend.call("POST", "authz/request", {
        user_id: userId,
        action: "delete",
        resource: "account/42",
      }),
    ).toMatchObject({ status: 403, body: { code: "capability_denied" } });
    expect(person.vault.asks()).toHaveLength(before);
  });
});

describe("the person's data", () => {
  it("is browsed without values, as far as the scope goes", async () => {
    const view = await answered("data/browse", "data/request", {});
    expect(view.metadata.map(({ data_type }: { data_type: string }) => data_type)).toEqual([
      "address/city",
      "address/street",
      "email",
    ]);
    expect(JSON.stringify(view)).not.toContain("London");
  });

  it("is shared as far as the person agrees, proven by the approval, and every reading is recorded", async () => {
    const view = await answered("data/request", "data/request", {
      data_paths: ["address/city", "email"],
      purpose: "only the city",
    });
    expect(view).toMatchObject({ data: { "address/city": "London" }, share: "contract" });
    const { entries } = await backend.expect(
      200,
      "GET",
      `audit?user_id=${userId}&operation=data.read&limit=100`,
    );
    expect(
      entries.filter(
        (entry: { request_summary: { request_id: string } }) =>
          entry.request_summary.request_id === view.request_id,
      ).length,
    ).toBeGreaterThan(0);
    expect(JSON.stringify(entries)).not.toContain("London");
  });

  it("that the person does not have is a denial that says so", async () => {
    const view = await answered("data/request", "data/request", {
      data_paths: ["address/planet"],
      purpose: "Delivery",
    });
    expect(view).toMatchObject({ status: "denied", reason: "not_found" });
    expect(view.data).toBeUndefined();
  });

  it("outside the scope is refused before it is asked", async () => {
    expect(
      await backend.call("POST", "data/request", {
        user_id: userId,
        data_paths: ["email", "health/blood_type"],
        purpose: "Curiosity",
      }),
    ).toMatchObject({ status: 403, body: { code: "capability_denied" } });
  });
});

describe("the service's namespace in the person's vault", () => {
  it("keeps what is written there, apart from the person's own data", async () => {
    const written = await answered("data/write", "data/request", { key: "email", value: { news: true } });
    expect(written.status).toBe("approved");
    const view = await answered("data/read", "data/request", { keys: ["email", "nothing"] });
    expect(view.data).toEqual({ email: { news: true } });
    expect(person.vault.data().find(({ path }) => path === "email")?.value).toBe("ada@example.com");
    expect(person.vault.holdings.list("namespace", serviceId)).toEqual([
      { key: "email", value: { news: true } },
    ]);
  });

  it("keeps nothing of a write the person denied", async () => {
    const view = await answered("data/write", "data/request", {
      key: "theme",
      value: "dark",
      purpose: "deny it",
    });
    expect(view.status).toBe("denied");
    expect(person.vault.holdings.get("namespace", "theme", serviceId)).toBeUndefined();
  });
});

describe("a signature", () => {
  it("under a document is the identity key's, over this request and this document", async () => {
    const bytes = utf8("I owe you nothing.");
    const document = {
      name: "Receipt",
      media_type: "text/plain",
      sha256: toBase64(sha256(bytes)),
      bytes: toBase64(bytes),
    };
    const view = await answered("sign/document", "sign/request", { document });
    expect(view.signing_key).toBe(view.user_signing_key);
    const { name, media_type, sha256: hash } = document;
    const signed = { request_id: view.request_id, name, media_type, sha256: hash };
    expect(await verifyJson(view.signing_key, LABELS.document, signed, view.signature)).toBe(true);
    expect(
      await verifyJson(view.signing_key, LABELS.document, { ...signed, name: "Other" }, view.signature),
    ).toBe(false);
  });

  it("under a transaction is that of a key of its own, or a denial where the person has none", async () => {
    const payload = toBase64(utf8("pay 12 to ada"));
    const fields = { transaction: { format: "ed25519", payload } };
    const without = await answered("sign/transaction", "sign/request", fields);
    expect(without).toMatchObject({ status: "denied", reason: "no_key" });
    const key = await person.vault.createTransactionKey(serviceId);
    const other = { transaction: { format: "ed25519", payload: toBase64(utf8("pay 13 to ada")) } };
    const view = await answered("sign/transaction", "sign/request", other);
    expect(view.signing_key).toBe(key);
    expect(view.signing_key).not.toBe(view.user_signing_key);
    expect(await verify(fromBase64(key)!, utf8("pay 13 to ada"), fromBase64(view.signature)!)).toBe(true);
  });
});

describe("presence", () => {
  it("is what the person chooses, or left word of, or yes", async () => {
    expect(await answered("presence/request", "presence/request", { purpose: "Delivery" })).toMatchObject({
      available: true,
    });
    expect(await answered("presence/request", "presence/request", { purpose: "busy" })).toMatchObject({
      available: false,
    });
    person.vault.holdings.put("presence", "current", { available: true, until: VALID_UNTIL });
    expect(await answered("presence/request", "presence/request", {})).toMatchObject({
      available: true,
      until: VALID_UNTIL,
    });
  });
});

describe("a kind of the service's own", () => {
  it("is asked and answered as its manifest says", async () => {
    const view = await answered("custom/loyalty/request", "custom/request", {
      points: 5,
      purpose: "Spend points",
    });
    expect(view).toMatchObject({ kind: "custom.loyalty", status: "approved", result: { balance: 17 } });
    expect(view.request_payload).toMatchObject({ points: 5, kind: "custom.loyalty" });
    expect(view.approval.statement.result_digest).toBeDefined();
    expect(view.approval.statement.result_digest).not.toBe(resultDigestOf(view.result, ""));
    const other = await backend.call("GET", `authz/request/${view.request_id}`);
    expect(other.status).toBe(404);
  });

  it.each([
    ["a field missing", {}, 400, "invalid_request"],
    ["a field of the wrong type", { points: "5" }, 400, "invalid_request"],
    ["a field it does not have", { points: 5, more: true }, 400, "invalid_request"],
    ["a field that every payload has", { points: 5, challenge: "mine" }, 400, "invalid_request"],
  ])("with %s is refused", async (_, fields, status, code) => {
    const refused = await backend.call("POST", "custom/loyalty/request", { user_id: userId, ...fields });
    expect(refused).toMatchObject({ status, body: { code } });
    expect(refused.body.details.length).toBeGreaterThan(0);
  });

  it("that the manifest does not have is not found", async () => {
    expect(await backend.call("POST", "custom/other/request", { user_id: userId })).toMatchObject({
      status: 404,
      body: { code: "not_found" },
    });
  });

  it("is not signed for by a vault whose person's answer does not fit; the ask stays open", async () => {
    const failed = new Promise<string>((resolve) => {
      const end = person.vault.on((event) => {
        if (event.type !== "policy_failed") return;
        end();
        resolve(event.request_id);
      });
    });
    const asked = await backend.expect(201, "POST", "custom/loyalty/request", {
      user_id: userId,
      points: 1,
      purpose: "below zero",
    });
    expect(await failed).toBe(asked.request_id);
    expect((await backend.expect(200, "GET", `custom/request/${asked.request_id}`)).status).toBe("pending");
    await backend.expect(200, "POST", `requests/${asked.request_id}/cancel`);
  });

  it("changed since the person agreed is one they never agreed to", async () => {
    const [capability] = MANIFEST.capabilities;
    await backend.expect(200, "PUT", "manifest", {
      ...MANIFEST,
      capabilities: [{ ...capability, request_schema: { type: "object" } }],
    });
    const view = await answered("custom/loyalty/request", "custom/request", { points: 5, hidden: "extra" });
    expect(view).toMatchObject({ status: "denied", reason: "unsupported" });
    await backend.expect(200, "PUT", "manifest", MANIFEST);
  });

  it.each([
    ["a reference", { $ref: "#" }],
    ["a regular expression", { type: "object", properties: { a: { type: "string", pattern: "(a+)+$" } } }],
    ["a field every ask has", { type: "object", properties: { purpose: { type: "string" } } }],
  ])("is not published with %s", async (_, request_schema) => {
    const [capability] = MANIFEST.capabilities;
    const refused = await backend.call("PUT", "manifest", {
      ...MANIFEST,
      capabilities: [{ ...capability, request_schema }],
    });
    expect(refused).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  });
});

describe("over three shards of the bridge", () => {
  it("nothing was missed in either direction, and more than one had a part in it", async () => {
    expect(await person.vault.settled()).toBe(true);
    const { connection } = await backend.expect(200, "GET", `contracts/${contractId}`);
    expect(connection.missing_seq).toEqual([]);
    expect(connection.received_seq).toBeGreaterThan(10);
    const { families } = await backend.expect(200, "GET", "metrics");
    const taken = families
      .find(({ name }: { name: string }) => name === "vettid_received_total")
      .samples.filter(({ labels }: { labels: Record<string, string> }) => labels.outcome === "done");
    expect(taken.length).toBeGreaterThan(1);
  });
});

describe("the end", () => {
  it("leaves none of the shared values with the service", async () => {
    const view = await answered("data/request", "data/request", { data_paths: ["email"], purpose: "News" });
    expect(view.data).toEqual({ email: "ada@example.com" });
    const { event_id } = await person.vault.revoke(contractId);
    await person.vault.delivered(event_id);
    const after = await backend.expect(200, "GET", `data/request/${view.request_id}`);
    expect(after.data).toBeUndefined();
    expect(after.result).toBeUndefined();
  });
});
