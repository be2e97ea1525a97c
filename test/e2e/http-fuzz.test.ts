// Every route, from the document it publishes about itself, with bodies and parameters that are almost right. The
// answer may be any refusal, but never a 5xx, and never anything it was not given.

import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { identityOf } from "../../src/crypto/hash.ts";
import { formatApiKey, parseApiKey } from "../../src/http/api-key.ts";

/** Calls per route in `npm test`; FUZZ_CALLS=n for more. */
const CALLS_PER_ROUTE = Number(process.env.FUZZ_CALLS ?? 12);
const SEED = Number(process.env.FUZZ_SEED ?? 20_260_101);
const TEST_TIMEOUT_MS = 240_000;
const MAX_DEPTH = 6;
/** Of nobody. */
const USER_ID = identityOf(new Uint8Array(32));

// biome-ignore lint/suspicious/noExplicitAny: a JSON Schema is whatever the document says
type Schema = any;

let dir: string;
let stack: Stack;
let backend: Backend;
let document: Schema;

/** Calls that succeed and that fail in every way there is, with things in them that the log must not hold. */
async function sayThings() {
  const marker = `said${randomUUID()}`;
  const made = await backend.expect(201, "POST", "api-keys", {
    name: marker,
    scopes: ["requests:read", "requests:write"],
  });
  const rotated = await backend.expect(200, "POST", `api-keys/${made.key_id}/rotate`, { grace_seconds: 0 });
  const parts = parseApiKey(made.api_key);
  if (!parts.ok) throw new Error(parts.reason);
  const guessed = formatApiKey({ ...parts, secret: "A".repeat(parts.secret.length) });
  const invite = await backend.invite("log", LOGIN_OFFERING);
  const hook = await backend.expect(201, "POST", "webhooks", { url: `https://shop.example.org/${marker}` });
  const asked = {
    user_id: USER_ID,
    purpose: marker,
    context: { note: marker },
    callback_url: `https://a.example.org/?${marker}`,
  };
  const statuses: number[] = [];
  for (const key of [rotated.api_key, made.api_key, guessed, `svk_dev_${marker}`]) {
    const caller = new Backend(stack.baseUrl, key);
    for (const [method, path, body] of [
      ["GET", "info"],
      ["PUT", "manifest", { name: marker }],
      ["POST", "auth/request", asked],
      ["POST", "auth/request", { ...asked, unknown: marker }],
      ["GET", `requests?user_id=${marker}`],
      ["GET", `call/${marker}/signaling?ticket=${marker}`],
      ["GET", `/connect/${invite.invite_code}?${marker}`],
      ["POST", `/connect/${invite.invite_code}/credentials`, { signing_key: marker }],
    ] as const)
      statuses.push((await caller.call(method, path, body)).status);
  }
  return { marker, made, rotated, parts, invite, hook, statuses };
}

let said: Awaited<ReturnType<typeof sayThings>>;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "fuzz-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  document = await backend.expect(200, "GET", "/openapi.json");
  // First: what comes after is more than an address may send in a minute.
  said = await sayThings();
});

afterAll(async () => {
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const hostile = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    "",
    " ",
    "\u0000",
    "../../..",
    "{}",
    "svk_dev_x",
    -1,
    0,
    1e21,
    0.5,
    "9".repeat(400),
    "é".repeat(300),
    "2026-02-30T00:00:00.000Z",
    [],
    {},
    [[[[[[]]]]]],
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.integer(),
  fc.jsonValue({ maxDepth: 4 }),
);

const deref = (schema: Schema): Schema =>
  schema?.$ref === undefined
    ? schema
    : deref(
        String(schema.$ref)
          .split("/")
          .slice(1)
          .reduce((node, name) => node[name], document),
      );

/** Values of a schema's form, mostly; now and then something else. */
function arbitraryOf(raw: Schema, depth = 0): fc.Arbitrary<unknown> {
  const schema = deref(raw) ?? {};
  const right = ((): fc.Arbitrary<unknown> => {
    if (depth > MAX_DEPTH) return fc.constant(null);
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum) return fc.constantFrom(...schema.enum);
    const variants = schema.anyOf ?? schema.oneOf;
    if (variants) return fc.oneof(...variants.map((variant: Schema) => arbitraryOf(variant, depth + 1)));
    if (schema.allOf)
      return fc
        .tuple(...schema.allOf.map((part: Schema) => arbitraryOf(part, depth + 1)))
        .map((parts) => Object.assign({}, ...(parts as object[])));
    switch (schema.type) {
      case "string":
        if (schema.pattern !== undefined) {
          try {
            return fc.stringMatching(new RegExp(schema.pattern, "u"), { maxLength: 60 });
          } catch {
            return fc.string();
          }
        }
        return fc.string({ maxLength: Math.min(schema.maxLength ?? 60, 60) });
      case "integer":
      case "number":
        return fc.integer({
          min: Math.max(schema.minimum ?? -1_000, -1_000_000),
          max: Math.min(schema.maximum ?? 1_000_000, 1_000_000),
        });
      case "boolean":
        return fc.boolean();
      case "array":
        return fc.array(arbitraryOf(schema.items ?? {}, depth + 1), { maxLength: 3 });
      case "object": {
        const properties: Record<string, fc.Arbitrary<unknown>> = Object.fromEntries(
          Object.entries(schema.properties ?? {}).map(([name, member]) => [
            name,
            arbitraryOf(member, depth + 1),
          ]),
        );
        return fc.record(properties, {
          requiredKeys: (schema.required ?? []).filter((name: string) => name in properties),
        });
      }
      default:
        return fc.jsonValue({ maxDepth: 2 });
    }
  })();
  return fc.oneof({ arbitrary: right, weight: 12 }, { arbitrary: hostile, weight: 1 });
}

/** Secrets and internals that no answer may hold. */
const leaks = () => [
  ...Object.entries(stack.bindings)
    .filter(([name]) => /KEY|KEK|SEED|CREDS/.test(name))
    .map(([, value]) => value),
  "at Object.",
  "SQLITE",
  "node_modules",
];

describe("fuzzing every route from /openapi.json", () => {
  it(
    "finds no 5xx and no leak",
    async () => {
      const forbidden = leaks();
      const failures: string[] = [];
      let calls = 0;
      for (const [path, methods] of Object.entries<Schema>(document.paths)) {
        for (const [method, operation] of Object.entries<Schema>(methods)) {
          const parameters: Schema[] = (operation.parameters ?? []).map(deref);
          const body = operation.requestBody?.content?.["application/json"]?.schema;
          const call = fc.record({
            body: body === undefined ? fc.constant(undefined) : arbitraryOf(body),
            path: fc.record(
              Object.fromEntries(
                parameters
                  .filter(({ in: where }) => where === "path")
                  .map(({ name, schema }) => [name, arbitraryOf(schema)]),
              ),
            ),
            query: fc.record(
              Object.fromEntries(
                parameters
                  .filter(({ in: where, name }) => where === "query" && name !== "wait")
                  .map(({ name, schema }) => [name, arbitraryOf(schema)]),
              ),
              { requiredKeys: [] },
            ),
          });
          for (const sample of fc.sample(call, { numRuns: CALLS_PER_ROUTE, seed: SEED })) {
            const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
              encodeURIComponent(
                String((sample.path as Record<string, unknown>)[name] ?? "x").toWellFormed() || "x",
              ),
            );
            const query = new URLSearchParams(
              Object.entries(sample.query).map(
                ([name, value]) => [name, String(value).toWellFormed()] as [string, string],
              ),
            );
            const answer = await backend.call(method.toUpperCase(), `${filled}?${query}`, sample.body);
            calls += 1;
            const text = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
            const leaked = forbidden.find((secret) => text.includes(secret));
            // 503 with Retry-After is an honest answer; nothing here overloads anything, so it is counted as a failure.
            if (answer.status >= 500 || leaked !== undefined)
              failures.push(
                `${method.toUpperCase()} ${filled}?${query} ${JSON.stringify(sample.body)?.slice(0, 300)} → ${answer.status} ${leaked === undefined ? text.slice(0, 200) : "LEAK"}`,
              );
          }
        }
      }
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(CALLS_PER_ROUTE * 20);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("the Worker's log of all this", () => {
  it("holds no key, no code, no secret, and nothing of a body or a query", async () => {
    const { marker, made, rotated, parts, invite, hook, statuses } = said;
    // Some succeeded, and they failed in every way there is.
    expect(new Set(statuses)).toEqual(new Set([200, 400, 401, 403]));
    const logged = () => readFileSync(stack.worker.logFile, "utf8");
    const lines = () =>
      logged()
        .split("\n")
        .filter((line) => line.includes('"/connect/:code/credentials"'));
    await expect.poll(() => lines().length).toBeGreaterThanOrEqual(4);
    const secretOf = (key: string) => parseApiKey(key) as { secret: string };
    const text = logged();
    for (const [what, secret] of Object.entries({
      "the new key's secret": secretOf(rotated.api_key).secret,
      "the old key's secret": parts.secret,
      "a guessed secret": "A".repeat(parts.secret.length),
      "the admin key's secret": secretOf(stack.adminApiKey).secret,
      "an invite's code": invite.invite_code,
      "a webhook's secret": hook.secret,
      "what was sent": marker,
      "an Authorization header": "Bearer",
    }))
      expect(text.includes(secret), what).toBe(false);
    expect(leaks().filter((secret) => secret.length > 20 && text.includes(secret))).toEqual([]);
    // Whose key it was is there, once its secret was checked.
    expect(text).toContain(made.key_id);
  });
});
