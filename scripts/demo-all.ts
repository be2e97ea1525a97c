// Every kind of request once, against a person's vault: asked over HTTPS with the registry's own examples, answered
// by the vault from what it holds, and each approval checked offline.
//
//   npm run demo -- --all

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openSqliteStore, type Policy, UserVault, VaultError } from "../sdk/user-vault/index.ts";
import type { Kind, KindOperation } from "../src/requests/kind.ts";
import { verifyApproval } from "../src/requests/lifecycle.ts";
import { kinds } from "../src/requests/registry.ts";
import { Backend, LOGIN_OFFERING } from "./stack/backend.ts";
import type { Stack } from "./stack/stack.ts";

const SETTLE_SECONDS = 30;
const LOYALTY = {
  name: "loyalty",
  description: "Spend points of the club",
  request_schema: {
    type: "object",
    properties: { points: { type: "integer", minimum: 1 } },
    required: ["points"],
    additionalProperties: false,
  },
  response_schema: {
    type: "object",
    properties: { balance: { type: "integer", minimum: 0 } },
    required: ["balance"],
    additionalProperties: false,
  },
};

/** One row of the table. */
interface Row {
  kind: string;
  asked: string;
  answered: string;
  verified: string;
}

type Body = Record<string, unknown>;

/** Any other service: the store opens when both have agreed, each with the person. */
const ANOTHER_SERVICE = "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR9";

/** An id given out, as it stands in a path. */
const requestIdInPath = /[1-9A-HJ-NP-Za-km-z]{60,96}/;

/** What the vault may decide alone; a number to be typed is the person's to read. */
const policy: Policy = ({ kind, match_code_required }) => {
  if (match_code_required) return "later";
  return kind === "custom.loyalty"
    ? { decision: "approved", result: { balance: 95 } }
    : { decision: "approved" };
};

/** Runs every operation of every kind. Throws at the first that does not hold. */
export async function runAllKinds(
  stack: Stack,
  dir: string,
  purposeOf = (name: string) => `Show ${name}`,
): Promise<Row[]> {
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const capabilities = [
    ...new Set(kinds.flatMap(({ operations }) => operations.flatMap((operation) => operation.capabilities))),
    "custom.loyalty",
  ];
  await backend.expect(200, "PUT", "manifest", { capabilities: [LOYALTY], event_handlers: [], plans: [] });
  const { invite_url } = await backend.invite("everything", {
    ...LOGIN_OFFERING,
    name: "Everything a service may ask",
    capabilities: capabilities.map((capability) => ({
      capability,
      description: `May ask for ${capability}`,
      requires_approval_each_use: true,
    })),
  });
  const vault = await UserVault.open({
    store: openSqliteStore(join(dir, "everything.sqlite")),
    messageSpace: {
      endpoint: stack.messageSpace.server.wsUrl,
      creds: readFileSync(stack.userVaultCredsFile, "utf8"),
    },
    policy,
  });
  vault.start();
  vault.setData("address/home", { street: "Rua da Prata 1", city: "Lisboa" });
  vault.setData("email", "ada@example.com");
  await vault.createTransactionKey();
  const { user_id: userId } = await vault.connect(invite_url, { profile: { email: "ada@example.com" } });

  const rows: Row[] = [];
  const run = async (name: string, method: string, path: string, body: Body): Promise<Body> => {
    const asked = await ask(backend, method, path, { user_id: userId, purpose: purposeOf(name), ...body });
    const requestId = String(
      asked.request_id ?? asked.subscription_id ?? asked.session_id ?? asked.notification_id,
    );
    let request: Body = {};
    await until(`${name} is answered`, async () => {
      // What only the person may decide waits on the phone; the number to type is on the backend's screen.
      const open = vault.asks({ state: "open" }).find((one) => one.request_id === requestId);
      if (open !== undefined)
        await vault
          .answer(requestId, {
            decision: "approved",
            ...(typeof asked.match_code === "string" ? { match_code: asked.match_code } : {}),
          })
          .catch((error: unknown) => {
            // The vault was quicker and decided by itself.
            if (!(error instanceof VaultError) || error.code !== "ask_closed") throw error;
          });
      request = await backend.expect(200, "GET", `requests/${requestId}`);
      return request.status !== "pending";
    });
    const { approval, request_payload, user_signing_key } = request;
    const payload = { ...(request_payload as Body), ...withheld(name, body) };
    const holds =
      approval !== undefined && (await verifyApproval(approval, payload, String(user_signing_key)));
    if (approval !== undefined && !holds) throw new Error(`${name}: the approval does not verify offline`);
    if (request.status !== "approved" && request.status !== "delivered")
      throw new Error(`${name} ended as ${request.status}: ${request.reason ?? "no reason given"}`);
    rows.push({
      kind: name,
      asked: `${method} ${path.replace(requestIdInPath, "{id}")}`,
      answered: String(request.status),
      verified: holds ? "signature over the request, offline" : "receipt",
    });
    return { ...request, asked };
  };

  for (const kind of kinds)
    for (const operation of kind.operations) {
      const name = kind.operations.length > 1 ? `${kind.name}.${operation.name}` : kind.name;
      const body = {
        ...(operation.example as Body),
        ...ofThisService(kind, operation, stack.serviceId),
        ...(await needed(kind, operation, stack.serviceId, run)),
      };
      const { path, rest } = filled(operation, body);
      await run(name, (operation.method ?? "post").toUpperCase(), path, rest);
    }
  await run("custom.loyalty", "POST", "custom/loyalty/request", { points: 5 });
  await vault.close();
  return rows;
}

/** What an example cannot know: a datastore is shared between this service and another one. */
const ofThisService = (kind: Kind, operation: KindOperation, serviceId: string): Body =>
  kind.name === "collaboration" && operation.name === "request"
    ? {
        target_service_id: ANOTHER_SERVICE,
        shared_data_schema: {
          fields: [{ name: "height_cm", type: "number" }],
          access: {
            [serviceId]: { read: ["height_cm"], write: ["height_cm"] },
            [ANOTHER_SERVICE]: { read: ["height_cm"] },
          },
        },
      }
    : {};

/** An operation that builds on an earlier request gets one made for it: a secret to read, a datastore to write. */
async function needed(
  kind: Kind,
  operation: KindOperation,
  serviceId: string,
  run: (name: string, method: string, path: string, body: Body) => Promise<Body>,
): Promise<Body> {
  if (operation.about === undefined) return {};
  if (kind.name === "collaboration") {
    const request = kind.operations.find(({ name }) => name === "request")!;
    const agreed = await run("collaboration.request", "POST", request.path, {
      ...ofThisService(kind, request, serviceId),
      purpose: `Share something for ${operation.name}`,
    });
    return { datastore_id: agreed.request_id };
  }
  const store = kind.operations.find(({ name }) => name === "store")!;
  const userOwned = operation.name === "use";
  const stored = await run("secret.store", "POST", store.path, {
    ...(store.example as Body),
    name: `For ${operation.name}`,
    ...(userOwned ? { secret_type: "user_owned" } : {}),
    purpose: `Keep something for ${operation.name}`,
  });
  return { secret_id: stored.request_id };
}

/** Puts input fields into the path's places. */
function filled(operation: KindOperation, body: Body): { path: string; rest: Body } {
  const rest = { ...body };
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(rest[name]);
    delete rest[name];
    return encodeURIComponent(value);
  });
  return { path, rest };
}

/** What was sent to the user alone: whoever checks the approval puts it back into the payload. */
function withheld(name: string, body: Body): Body {
  const [kindName, operationName] = name.split(".");
  const operation = kinds
    .find((kind) => kind.name === kindName)
    ?.operations.find((one) => one.name === operationName);
  return Object.fromEntries(
    (operation?.withheld ?? []).flatMap((field) => (body[field] === undefined ? [] : [[field, body[field]]])),
  );
}

async function ask(backend: Backend, method: string, path: string, body: Body): Promise<Body> {
  const inQuery = method === "DELETE";
  const query = inQuery
    ? `?${new URLSearchParams(Object.entries(body).map(([name, value]) => [name, String(value)]))}`
    : "";
  const answer = await backend.call(method, `${path}${query}`, inQuery ? undefined : body);
  if (answer.status < 200 || answer.status > 202)
    throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body as Body;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + SETTLE_SECONDS * 1_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${SETTLE_SECONDS} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The rows as a table. */
export function table(rows: readonly Row[]): string {
  const columns = ["kind", "asked", "answered", "verified"] as const;
  const all = [Object.fromEntries(columns.map((name) => [name, name])) as unknown as Row, ...rows];
  const widths = columns.map((name) => Math.max(...all.map((row) => row[name].length)));
  return all
    .map((row) =>
      columns
        .map((name, at) => row[name].padEnd(widths[at]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
