// Makes the examples of /openapi.json: every operation is called once on a real stack, with a person's vault on the
// other side, and what was sent and answered is written to src/http/examples.json. Run it when a route or a kind has
// changed; a test says so when an example is missing or no longer as described.
//
//   npm run examples

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { serve } from "@hono/node-server";
import { Registry } from "../examples/registry/registry.ts";
import { openSqliteStore, type Policy, UserVault } from "../sdk/user-vault/index.ts";
import { importSigningKey } from "../src/crypto/signing.ts";
import { kinds, resourceOf } from "../src/requests/registry.ts";
import { startResolver } from "../test/support/resolver.ts";
import { runAllKinds } from "./demo-all.ts";
import { Described, type OpenApiDocument } from "./openapi/described.ts";
import { Backend } from "./stack/backend.ts";
import { PROJECT_ROOT } from "./stack/files.ts";
import { freePorts } from "./stack/ports.ts";
import { type Stack, startStack } from "./stack/stack.ts";

const OUTPUT = join(PROJECT_ROOT, "src", "http", "examples.json");
const DOMAIN = "kastanie.example";
const SETTLE_MS = 20_000;
/** Longer texts (a QR code) are cut: an example shows their form. */
const MAX_TEXT_CHARACTERS = 700;
/** Of a list, and of lists in it. */
const MAX_ITEMS = 2;

type Json = unknown;
interface Example {
  parameters?: Record<string, string>;
  request?: Json;
  responses: Record<string, Json>;
}

const OFFERING = {
  name: "Reader's club",
  description: "Log in without a password, order with one tap, and get your invoices.",
  capabilities: [
    {
      capability: "authenticate",
      description: "Ask you to confirm that it is you who logs in",
      requires_approval_each_use: true,
    },
    {
      capability: "payment.one_time",
      description: "Ask you to pay for an order",
      requires_approval_each_use: true,
    },
  ],
  required_data: [{ data_type: "email", required: true, purpose: "Order confirmations and invoices" }],
  pricing: { type: "free" },
  acceptance: "automatic",
};

class Recorder {
  readonly #described: Described;
  readonly examples: Record<string, Example> = {};

  constructor(document: OpenApiDocument) {
    this.#described = new Described(document);
  }

  /** The first answer of a kind is kept; `again` replaces it. */
  note(method: string, path: string, body: Json, status: number, answer: Json, again = false): void {
    if (status >= 300) return;
    const url = new URL(path, "http://vault");
    const found = this.#described.operationOf({ method, path: url.pathname });
    if (found === undefined) return;
    const example = this.examples[found.name] ?? { responses: {} };
    this.examples[found.name] = example;
    if (example.responses[status] !== undefined && !again) return;
    const template = found.name.split(" ")[1]!;
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    const values = new RegExp(`^${template.replace(/\{\w+\}/g, "([^/]+)")}$`).exec(url.pathname) ?? [];
    const parameters = {
      ...Object.fromEntries(names.map((name, at) => [name, decodeURIComponent(values[at + 1] ?? "")])),
      ...Object.fromEntries(url.searchParams),
    };
    if (Object.keys(parameters).length > 0) example.parameters = parameters;
    if (body !== undefined) example.request = shortened(body);
    example.responses[status] = shortened(answer);
  }
}

/** As it would be read in a manual. */
function shortened(value: Json): Json {
  if (typeof value === "string")
    return value.length > MAX_TEXT_CHARACTERS && value.startsWith("data:")
      ? `${value.slice(0, value.indexOf(",") + 1)}PHN2Zy8+`
      : value;
  if (Array.isArray(value))
    return (value.every((item) => typeof item === "object") ? value.slice(0, MAX_ITEMS) : value).map(
      shortened,
    );
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shortened(member)]));
}

async function until<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + SETTLE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${SETTLE_MS / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function run(
  stack: Stack,
  dir: string,
  resolver: Awaited<ReturnType<typeof startResolver>>,
  registryUrl: string,
) {
  const document = (await (await fetch(`${stack.baseUrl}/openapi.json`)).json()) as OpenApiDocument;
  const recorder = new Recorder(document);
  Backend.witness = ({ method, path, body, answer }) =>
    recorder.note(method, path, body, answer.status, answer.body);
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const get = (path: string) => backend.expect(200, "GET", path);
  const post = (path: string, body?: unknown, status = 200) => backend.expect(status, "POST", path, body);

  // What a person's vault calls by itself.
  const recordingFetch = async (url: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init);
    if (url.startsWith(stack.baseUrl) && response.headers.get("content-type")?.includes("json"))
      recorder.note(
        init.method ?? "GET",
        url.slice(stack.baseUrl.length),
        init.body === undefined ? undefined : JSON.parse(String(init.body)),
        response.status,
        await response.clone().json(),
      );
    return response;
  };
  const open = (name: string, policy: Policy) =>
    UserVault.open({
      store: openSqliteStore(join(dir, `${name}.sqlite`)),
      messageSpace: {
        endpoint: stack.messageSpace.server.wsUrl,
        creds: readFileSync(stack.userVaultCredsFile, "utf8"),
      },
      policy,
      fetch: recordingFetch,
    });

  // The service.
  await get("/health");
  await get("/ready");
  await get("info");
  await get("metrics");
  await get("keys");
  resolver.zone = { [`_vettid-service.${DOMAIN}`]: [(await get("domain")).record.value] };
  await post("domain/verify");
  const { registry_id } = await post("registries", { url: registryUrl }, 201);
  await get("registries");
  recorder.note("GET", "/api/v1/domain", undefined, 200, await get("domain"), true);
  await backend.expect(200, "PUT", "offerings/readers-club", OFFERING);
  await get("offerings/readers-club");
  await get("offerings");
  await get("/.well-known/vettid-service");
  const key = await post(
    "api-keys",
    { name: "Web shop", scopes: ["requests:read", "requests:write"], expires_in_seconds: 31_536_000 },
    201,
  );
  await get("api-keys");
  await post(`api-keys/${key.key_id}/rotate`, { grace_seconds: 3_600 });
  await backend.expect(200, "DELETE", `api-keys/${key.key_id}`);
  const receiver = { url: `${stack.baseUrl.replace(/:\d+$/, `:${new URL(registryUrl).port}`)}/hooks` };
  const hook = await post(
    "webhooks",
    { ...receiver, types: ["contract.*", "auth.response"], description: "Web shop" },
    201,
  );
  await post(`webhooks/${hook.webhook_id}/test`);
  await backend.expect(200, "PATCH", `webhooks/${hook.webhook_id}`, { description: "Web shop, orders" });
  await post(`webhooks/${hook.webhook_id}/rotate-secret`);
  await get("webhooks");

  // Every kind, answered.
  await runAllKinds(stack, dir, () => "Your order 4711 at Kastanie Books");
  const { contracts } = await get("contracts?status=active");
  const { user_id: everyone } = contracts[0];
  let cursor = "";
  do {
    const page = await get(`requests?user_id=${everyone}&limit=100${cursor}`);
    for (const request of page.requests) {
      const kind = kinds.find(({ name }) => name === request.kind);
      const path = kind === undefined ? "custom/request" : resourceOf(kind, request.operation)?.getPath;
      if (path !== undefined) await get(`${path}/${request.request_id}`);
    }
    cursor = page.next_cursor === undefined ? "" : `&cursor=${page.next_cursor}`;
  } while (cursor !== "");
  await get(`subscriptions?user_id=${everyone}`);
  const { datastores } = await get(`collaboration/datastores?user_id=${everyone}`);
  await backend.expect(
    202,
    "GET",
    `collaboration/datastores/${datastores[0].datastore_id}/audit?user_id=${everyone}`,
  );
  await backend.expect(
    202,
    "GET",
    `secrets?user_id=${everyone}&secret_type=minor&purpose=Show%20what%20is%20kept`,
  );
  await get("manifest");

  // A person in the club.
  let decide: "approved" | "later" = "approved";
  let ada = await open("ada", () => (decide === "later" ? "later" : { decision: "approved" }));
  ada.start();
  await backend.expect(200, "PUT", "manifest", {
    capabilities: [],
    event_handlers: [{ event_type: "basket_left", description: "You left something in your basket" }],
    plans: [
      {
        plan_id: "tea-monthly",
        name: "Tea club",
        amount: { amount: 990, currency: "EUR" },
        billing_cycle: "month",
      },
    ],
  });
  const club = {
    ...OFFERING,
    capabilities: [
      ...OFFERING.capabilities,
      ...[
        "payment.subscription",
        "payment.auto_renew",
        "voice_call",
        "text_chat",
        "authenticate.continuous",
      ].map((capability) => ({
        capability,
        description: "For members",
        requires_approval_each_use: true,
      })),
    ],
  };
  await backend.expect(200, "PUT", "offerings/readers-club", club);
  const { invite_url } = await post(
    "contracts/invite",
    { offering_id: "readers-club", expires_in_seconds: 86_400 },
    201,
  );
  const { contract_id, user_id } = await ada.connect(invite_url, { profile: { email: "ada@example.com" } });
  await until("the contract is active", async () =>
    (await get(`contracts?status=active&user_id=${user_id}`)).total_count === 1 ? true : undefined,
  );
  await get("contracts?status=active");
  await get(`contracts/${contract_id}`);
  await get(`contracts/${contract_id}/receipt`);
  await get(`users/${user_id}`);
  await get(`users/${user_id}/profile`);
  const spare = await post("contracts/invite", { offering_id: "readers-club", max_uses: 20 }, 201);
  await get("contracts/invites");
  await backend.expect(200, "DELETE", `contracts/invites/${spare.invite_id}`);

  const login = await post("auth/request", { user_id, purpose: "Log in to the shop" }, 201);
  await get(`auth/request/${login.request_id}?wait=20`);
  const { event_id } = await ada.sendEvent(contract_id, "basket_left", { items: 3 });
  await until("the event arrived", async () => (await get(`users/${user_id}/events`)).events[0]);
  recorder.note(
    "GET",
    `/api/v1/users/${user_id}/events`,
    undefined,
    200,
    await get(`users/${user_id}/events`),
    true,
  );
  await get(`users/${user_id}/events/${event_id}`);

  // Money.
  const pay = (description: string) =>
    post("payment/request", { user_id, amount: { amount: 2_490, currency: "EUR" }, description }, 202);
  const paid = (await pay("Two books, order 4711")).request_id;
  await get(`payment/request/${paid}?wait=20`);
  await post(`payment/request/${paid}/complete`, {
    transaction_id: "psp-20260301-4711",
    receipt_url: "https://shop.example/receipts/4711",
  });
  await post(`payment/request/${paid}/refund`, {
    amount: { amount: 990, currency: "EUR" },
    reason: "One book came back",
  });
  const failing = (await pay("A book, order 4712")).request_id;
  await get(`payment/request/${failing}?wait=20`);
  await post(`payment/request/${failing}/processing`, {});
  await post(`payment/request/${failing}/fail`, { reason: "The bank declined" });
  const { subscription_id } = await post(
    "subscriptions",
    {
      user_id,
      purpose: "A tea each month",
      plan_id: "tea-monthly",
      amount: { amount: 990, currency: "EUR" },
      billing_cycle: "month",
      auto_renew: true,
    },
    201,
  );
  await get(`subscriptions/${subscription_id}?wait=20`);
  await post(`subscriptions/${subscription_id}/complete`, { transaction_id: "psp-20260301-9001" });
  await post(`subscriptions/${subscription_id}/fail`, { reason: "Charged back" });
  await backend.expect(200, "DELETE", `subscriptions/${subscription_id}`);

  // A session, a call, and something taken back.
  const session = await post(
    "auth/sessions",
    { user_id, purpose: "Stay signed in at the counter", interval_seconds: 300, max_misses: 2 },
    201,
  );
  await get(`auth/sessions/${session.session_id}?wait=20`);
  await backend.expect(200, "DELETE", `auth/sessions/${session.session_id}`);
  const call = await post("call/initiate", { user_id, type: "text", purpose: "Your order 4711" }, 202);
  await until("the call is answered", async () =>
    (await get(`call/${call.call_id}`)).status === "connected" ? true : undefined,
  );
  await post(`call/${call.call_id}/ticket`, undefined, 201);
  await post(`call/${call.call_id}/message`, { text: "Good morning! Your books are on their way." });
  await post(`call/${call.call_id}/signal`, { signal: { typing: true } });
  await get(`call/${call.call_id}/signals?after=0`);
  await post(`call/${call.call_id}/end`, { reason: "done" });
  recorder.note(
    "GET",
    `/api/v1/call/${call.call_id}`,
    undefined,
    200,
    await get(`call/${call.call_id}`),
    true,
  );
  decide = "later";
  const unanswered = await post("auth/request", { user_id, purpose: "Log in on another device" }, 201);
  await post(`requests/${unanswered.request_id}/cancel`);
  await get(`requests/${login.request_id}`);

  // The contract's life.
  await post(`contracts/${contract_id}/pause`, { reason: "Stocktaking" });
  await post(`contracts/${contract_id}/resume`, {});
  await post(
    `contracts/${contract_id}/amendments`,
    {
      type: "add_capabilities",
      capabilities: [
        {
          capability: "send_notifications",
          description: "Tell you about deliveries",
          requires_approval_each_use: false,
        },
      ],
      reason: "So that you know when a parcel comes",
    },
    201,
  );
  await get(`contracts/${contract_id}/amendments`);
  await post(`contracts/${contract_id}/rotate-key`, undefined, 202);

  // What happened.
  await get(`events?user_id=${user_id}`);
  const dead = await until(
    "a delivery was tried",
    async () => (await get("webhooks/deliveries")).deliveries[0],
  );
  recorder.note("GET", "/api/v1/webhooks/deliveries", undefined, 200, await get("webhooks/deliveries"), true);
  const redelivered = await backend.call("POST", `webhooks/deliveries/${dead.delivery_id}/redeliver`);
  if (redelivered.status !== 202) console.error(`redeliver answered ${redelivered.status}`);
  const now = Date.now();
  await post(
    `webhooks/${hook.webhook_id}/redeliver`,
    { from: new Date(now - 3_600_000).toISOString(), to: new Date(now).toISOString() },
    202,
  );
  const { entries } = await get(`audit?user_id=${user_id}`);
  const proof = await until("the entry is in the log", async () => {
    const answer = await backend.call("GET", `audit/${entries[0].event_id}/proof?user_id=${user_id}`);
    return answer.status === 200 ? answer.body : undefined;
  });
  await post("audit/verify", { user_id, entries: proof.entries, proof: proof.proof });
  await get("/log/checkpoint");
  await get("audit/log");

  // People who are turned down and let in by hand.
  await backend.expect(200, "PUT", "offerings/by-hand", { ...OFFERING, acceptance: "manual" });
  for (const [name, decision] of [
    ["ben", "accept"],
    ["cleo", "reject"],
  ] as const) {
    const person = await open(name, () => "later");
    person.start();
    const invite = await post("contracts/invite", { offering_id: "by-hand" }, 201);
    const connecting = person
      .connect(invite.invite_url, { profile: { email: `${name}@example.com` } })
      .catch(() => {});
    const pending = await until(
      `${name} waits`,
      async () => (await get("contracts?status=pending")).contracts[0],
    );
    await post(
      `contracts/${pending.contract_id}/${decision}`,
      decision === "reject" ? { reason: "Members only" } : undefined,
    );
    await connecting;
    await person.close();
  }
  await backend.expect(200, "DELETE", "offerings/by-hand");

  // A vault whose broker credentials are gone gets new ones; one that cannot reach the broker ends by HTTPS.
  await ada.close();
  const db = new DatabaseSync(join(dir, "ada.sqlite"));
  db.exec("UPDATE contracts SET state = json_remove(state, '$.credentials')");
  db.close();
  ada = await open("ada", () => "later");
  ada.start();
  await until("credentials were renewed", () => recorder.examples["POST /connect/credentials"] && true);
  await stack.serviceSpace.server.stop();
  await ada.revoke(contract_id, "Moved away").catch(() => {});
  await until("the end went over HTTPS", () => recorder.examples["POST /connect/revoke"] && true);
  await ada.close();
  await stack.serviceSpace.server.start();

  // The end of what was made here.
  await backend.expect(200, "DELETE", `contracts/${contracts[0].contract_id}`, { reason: "The club closes" });
  await backend.expect(202, "DELETE", `users/${everyone}`, { reason: "Asked for by the person" });
  await backend.expect(200, "DELETE", `registries/${registry_id}`);
  await backend.expect(200, "DELETE", `webhooks/${hook.webhook_id}`);
  return { recorder, document };
}

const dir = mkdtempSync(join(tmpdir(), "examples-"));
const resolver = await startResolver();
const [port] = (await freePorts(1)) as [number];
const registryName = `127.0.0.1:${port}`;
const registry = new Registry({
  name: registryName,
  key: await importSigningKey(crypto.getRandomValues(new Uint8Array(32))),
  file: ":memory:",
  allowLocal: true,
  approveAll: "Company checked against the trade register",
});
registry.app.post("/hooks", (c) => c.text("ok"));
const server = serve({ fetch: registry.app.fetch, port, hostname: "127.0.0.1" });
let stack: Stack | undefined;
try {
  stack = await startStack({
    dir: join(dir, "stack"),
    vars: {
      SERVICE_NAME: "Kastanie Books",
      SERVICE_TYPE: "bookshop",
      SERVICE_DOMAIN: DOMAIN,
      DOH_RESOLVERS: resolver.url,
    },
  });
  const { recorder, document } = await run(stack, dir, resolver, `http://${registryName}`);
  const sorted = Object.fromEntries(
    Object.entries(recorder.examples).sort(([one], [other]) => (one < other ? -1 : 1)),
  );
  // Examples name public hosts: where they were made says nothing to anyone.
  const text = JSON.stringify(sorted, null, 1)
    .replaceAll(stack.baseUrl, "https://vault.kastanie.example")
    .replaceAll(stack.baseUrl.replace("http", "ws"), "wss://vault.kastanie.example")
    .replaceAll(encodeURIComponent(new URL(stack.baseUrl).host), "vault.kastanie.example")
    .replaceAll(`http://${registryName}/hooks`, "https://shop.kastanie.example/hooks")
    .replaceAll(`http://${registryName}`, "https://registry.example")
    .replaceAll(registryName, "registry.example")
    .replaceAll(stack.serviceSpace.server.wsUrl, "wss://nats.kastanie.example")
    .replaceAll(new URL(resolver.url).host, "cloudflare-dns.com")
    .replaceAll(new URL(stack.baseUrl).host, "vault.kastanie.example");
  writeFileSync(OUTPUT, `${text}\n`);
  const missing = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .map((method) => `${method.toUpperCase()} ${path}`)
      .filter((name) => sorted[name] === undefined),
  );
  console.log(
    `${Object.keys(sorted).length} operations, ${text.length} bytes; without one: ${missing.join(", ")}`,
  );
} finally {
  await stack?.stop();
  server.close();
  await resolver.close();
  registry.close();
  rmSync(dir, { recursive: true, force: true });
}
