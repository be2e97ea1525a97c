// What the vault does with secrets and combined datastores, whatever a service asks: handlers against holdings alone.

import { describe, expect, it } from "vitest";
import { call } from "../../../sdk/user-vault/handlers/call.ts";
import { collaboration } from "../../../sdk/user-vault/handlers/collaboration.ts";
import type { Handler, HandlerContext } from "../../../sdk/user-vault/handlers/handler.ts";
import { SECRETS, secret } from "../../../sdk/user-vault/handlers/secret.ts";
import { type Holdings, PERSONAL, type Shelf } from "../../../sdk/user-vault/holdings.ts";
import type { Contract } from "../../../src/protocol/contract.ts";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../../src/protocol/ids.ts";
import type { Json } from "../../../src/protocol/json.ts";
import { MAX_SECRETS } from "../../../src/requests/kinds/secret.ts";

const serviceIds = [0, 1, 2].map(() => toBase58(randomBytes(32)));
const [SERVICE, OTHER, STRANGER] = serviceIds as [string, string, string];
const ALL = [
  "minor.write",
  "minor.read",
  "critical.write",
  "critical.read",
  "user_owned.issue",
  "user_owned.use",
];

/** Holdings in a map, a copy in and a copy out. */
function holdings() {
  const held = new Map<string, Json>();
  const shelf = (owner: string): Shelf => {
    const place = (collection: string, key: string) => JSON.stringify([owner, collection, key]);
    return {
      get: (collection, key) => structuredClone(held.get(place(collection, key))),
      list: (collection, prefix = "") =>
        [...held]
          .map(([name, value]) => ({ name: JSON.parse(name) as string[], value }))
          .filter(({ name }) => name[0] === owner && name[1] === collection && name[2]!.startsWith(prefix))
          .map(({ name, value }) => ({ key: name[2]!, value: structuredClone(value) })),
      put: (collection, key, value) => void held.set(place(collection, key), structuredClone(value)),
      delete: (collection, key) => void held.delete(place(collection, key)),
    };
  };
  return (serviceId: string): Holdings => ({ own: shelf(serviceId), personal: shelf(PERSONAL), of: shelf });
}

const context = (serviceId: string, capabilities: string[]): HandlerContext => ({
  now: Date.now(),
  serviceId,
  userId: toBase58(randomBytes(32)),
  contract: {
    offering_snapshot: { capabilities: capabilities.map((capability) => ({ capability })) },
  } as unknown as Contract,
  contractId: toBase58(randomBytes(32)),
  manifest: { capabilities: [], event_handlers: [], plans: [] },
  services: () => serviceIds.map((service_id) => ({ service_id, service_name: `Service ${service_id}` })),
  newId: newEventId,
});

/** Asks a handler; answers with its result or its refusal, and the id asked under. */
function asking(handler: Handler, capabilities: string[]) {
  const shelves = holdings();
  const ask = async (
    operation: string,
    payload: { [name: string]: Json },
    { serviceId = SERVICE, choices = {} as { [name: string]: Json } } = {},
  ) => {
    const requestId = newEventId();
    const handled = await handler.answer!(
      { requestId, kind: handler.kind, operation, payload, context: context(serviceId, capabilities) },
      { decision: "approved", choices },
      shelves(serviceId),
      { publicKey: "", sign: async () => "" },
    );
    return { id: requestId, ...handled } as { id: string; result?: Json; refuse?: string };
  };
  return { ask, shelves };
}

const secrets = (capabilities = ALL) =>
  asking(
    secret,
    capabilities.map((name) => `secret.${name}`),
  );
const kept = (secret_type: string, data = "AAAA") => ({ secret_type, name: "A secret", data });

describe("secrets", () => {
  it("of one service are unknown to another", async () => {
    const { ask } = secrets();
    const { id } = await ask("store", kept("minor"));
    const theirs = { secret_id: id, secret_type: "minor" };
    expect(await ask("retrieve", theirs, { serviceId: OTHER })).toMatchObject({ refuse: "secret_unknown" });
    expect(await ask("delete", theirs, { serviceId: OTHER })).toMatchObject({ refuse: "secret_unknown" });
    expect(await ask("list", {}, { serviceId: OTHER })).toMatchObject({ result: { secrets: [] } });
    expect(await ask("retrieve", theirs)).toMatchObject({ result: { data: "AAAA" } });
  });

  it.each(["retrieve", "update", "delete"])(
    "that are the user's own are not the service's to %s",
    async (verb) => {
      const { ask, shelves } = secrets([...ALL, "user_owned.read", "user_owned.write"]);
      const { id } = await ask("store", kept("user_owned"));
      expect(await ask(verb, { secret_id: id, secret_type: "user_owned" })).toMatchObject({
        refuse: "user_owned",
      });
      expect(shelves(SERVICE).own.get(SECRETS, id)).toMatchObject({ data: "AAAA" });
    },
  );

  it("are not had under another tier's name", async () => {
    const { ask } = secrets();
    const { id } = await ask("store", kept("critical"));
    expect(await ask("retrieve", { secret_id: id, secret_type: "minor" })).toMatchObject({
      refuse: "tier_mismatch",
    });
  });

  it.each([
    ["store", kept("critical"), "secret.minor.write"],
    ["retrieve", { secret_id: newEventId(), secret_type: "critical" }, "secret.minor.read"],
    ["use", { secret_id: newEventId(), secret_type: "user_owned" }, "secret.user_owned.issue"],
  ])("beyond what the contract grants are refused: %s", async (verb, payload, granted) => {
    const { ask } = asking(secret, [granted]);
    expect(await ask(verb, payload)).toMatchObject({ refuse: "not_granted" });
  });

  it("of tiers that are not granted are not listed", async () => {
    const { ask, shelves } = secrets(["minor.write", "minor.read"]);
    await ask("store", kept("minor"));
    shelves(SERVICE).own.put(SECRETS, "other", { ...kept("critical"), created_at: "", updated_at: "" });
    const { result } = await ask("list", {});
    expect((result as { secrets: Json[] }).secrets).toMatchObject([{ secret_type: "minor" }]);
  });

  it("are used each with a key of its own for each use, and not decrypted from nonsense", async () => {
    const { ask } = secrets();
    const data = toBase64(randomBytes(32));
    const { id } = await ask("store", kept("user_owned", data));
    const use = (how: string, input: Uint8Array) =>
      ask("use", { secret_id: id, secret_type: "user_owned", use: how, input: toBase64(input) });
    const derived = await use("derive", randomBytes(8));
    expect((derived.result as { output: string }).output).not.toBe(data);
    expect(await use("decrypt", randomBytes(4))).toMatchObject({ refuse: "not_decryptable" });
    expect(await use("decrypt", randomBytes(64))).toMatchObject({ refuse: "not_decryptable" });
    expect(await use("dance", randomBytes(4))).toMatchObject({ refuse: "unsupported" });
  });

  it("are so many and no more", async () => {
    const { ask } = secrets();
    for (let n = 0; n < MAX_SECRETS; n++) await ask("store", kept("minor"));
    expect(await ask("store", kept("minor"))).toMatchObject({ refuse: "secrets_full" });
  });
});

describe("a combined datastore", () => {
  const schema = {
    fields: [
      { name: "height", type: "number" },
      { name: "size", type: "string" },
    ],
    access: { [SERVICE]: { write: ["height"] }, [OTHER]: { read: ["height"], write: ["size"] } },
  };
  const wish = (target: string, shared: object = schema) => ({
    target_service_id: target,
    shared_data_schema: shared as Json,
  });

  it("is one for both services, each under an id of its own and within what was agreed", async () => {
    const { ask } = asking(collaboration, ["request_collaboration"]);
    const mine = await ask("request", wish(OTHER));
    const theirs = await ask("request", wish(SERVICE), { serviceId: OTHER });
    await ask("write", { datastore_id: mine.id, values: { height: 171 } });
    const other = { serviceId: OTHER };
    expect(await ask("read", { datastore_id: theirs.id, fields: ["height"] }, other)).toMatchObject({
      result: { values: { height: 171 } },
    });
    expect(await ask("read", { datastore_id: mine.id, fields: ["height"] })).toMatchObject({
      refuse: "not_agreed",
    });
    expect(await ask("write", { datastore_id: theirs.id, values: { height: 1 } }, other)).toMatchObject({
      refuse: "not_agreed",
    });
    // An id is worth nothing in another service's hands.
    expect(await ask("read", { datastore_id: mine.id, fields: ["height"] }, other)).toMatchObject({
      refuse: "datastore_unknown",
    });
    expect(await ask("audit", { datastore_id: theirs.id }, other)).toMatchObject({
      result: {
        accesses: [
          { service_id: SERVICE, action: "write" },
          { service_id: OTHER, action: "read" },
        ],
      },
    });
  });

  it("under another schema is another one", async () => {
    const { ask } = asking(collaboration, ["request_collaboration"]);
    const mine = await ask("request", wish(OTHER));
    await ask("write", { datastore_id: mine.id, values: { height: 171 } });
    const wider = { ...schema, access: { ...schema.access, [OTHER]: { read: ["height", "size"] } } };
    const theirs = await ask("request", wish(SERVICE, wider), { serviceId: OTHER });
    expect(
      await ask("read", { datastore_id: theirs.id, fields: ["height"] }, { serviceId: OTHER }),
    ).toMatchObject({ result: { values: {} } });
  });

  it("is not for a service that is no party to it", async () => {
    const { ask } = asking(collaboration, ["request_collaboration"]);
    expect(await ask("request", wish(OTHER), { serviceId: STRANGER })).toMatchObject({
      refuse: "not_a_party",
    });
  });

  it("names those services alone that the person chose, and never the one that asks", async () => {
    const { ask } = asking(collaboration, ["list_connections"]);
    expect(await ask("connections", {})).toMatchObject({ result: { connections: [] } });
    const choices = { services: [SERVICE, OTHER] };
    expect(await ask("connections", {}, { choices })).toMatchObject({
      result: { connections: [{ service_id: OTHER }] },
    });
  });
});

describe("calls", () => {
  it("of a sort the contract does not grant are not answered", async () => {
    const { ask } = asking(call, ["text_chat"]);
    expect(await ask("initiate", { type: "video" })).toMatchObject({ refuse: "not_granted" });
    expect(await ask("initiate", { type: "text" })).toMatchObject({ result: {} });
  });
});
