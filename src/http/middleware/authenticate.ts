// Who calls: the API key in `Authorization: Bearer`, and whether its scopes allow the route.
//
// The Directory is asked at most every KEY_CACHE_MS per key and isolate, which is how long a deleted key may still
// work. Only keys that exist are remembered, so a flood of wrong ones pushes none out; those are counted per
// address before the Directory is asked. They are remembered as they were sent: looked up as they are, a call costs no
// parsing and no hash. How long a lookup in a map takes tells nothing about a key one does not have: it compares texts
// only where their hashes, under a seed of the isolate's own, are the same.

import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import type { Config } from "../../config.ts";
import { sha256 } from "../../crypto/hash.ts";
import { utf8 } from "../../protocol/json.ts";
import type { ApiKeyFacts, Scope } from "../../rpc.ts";
import { type ApiKeyParts, parseApiKey } from "../api-key.ts";
import type { AppEnv } from "../app-env.ts";
import { ApiError } from "../errors.ts";
import { directoryOf } from "../objects.ts";
import { countCall } from "./rate-limit.ts";

/** How long an answer of the Directory about a key is used. */
export const KEY_CACHE_MS = 30_000;
/** Keys remembered per isolate; the one remembered longest goes first. */
const MAX_CACHED_KEYS = 1_000;

/** By the key's whole text; for the settings it was accepted under, which are one object while they stay. */
const cache = new Map<string, { config: Config; facts: ApiKeyFacts; until: number }>();

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

async function factsOf(c: Context<AppEnv>, text: string): Promise<ApiKeyFacts | undefined> {
  const config = c.get("config");
  // The answer's age counts from before it was asked for.
  const asked = Date.now();
  const cached = cache.get(text);
  if (cached !== undefined && cached.config === config && asked < cached.until) return cached.facts;
  const { id, secret } = keyOf(c, text);
  cache.delete(text);
  await countCall(c, "key");
  const facts = await directoryOf(c.env).apiKey(id, secretHashOf(secret));
  if (facts === undefined) return undefined;
  const oldest = cache.keys().next();
  if (cache.size >= MAX_CACHED_KEYS && !oldest.done) cache.delete(oldest.value);
  cache.set(text, { config, facts, until: asked + KEY_CACHE_MS });
  return facts;
}

/** `admin` allows everything. */
export const allows = (scopes: readonly Scope[], needed: Scope): boolean =>
  scopes.includes(needed) || scopes.includes("admin");

/** Reads a key's text; throws `unauthorized` for what is no key of this deployment. */
export function keyOf(c: Context<AppEnv>, text: string): ApiKeyParts {
  const key = parseApiKey(text);
  if (!key.ok)
    throw new ApiError("unauthorized", "this is not a whole API key; check that it was copied completely");
  if (key.environment !== c.get("config").ENVIRONMENT) {
    throw new ApiError(
      "unauthorized",
      `this is a key for ${key.environment}, but this vault runs as ${c.get("config").ENVIRONMENT}`,
    );
  }
  return key;
}

/** As the Directory stores a key's secret. */
export const secretHashOf = (secret: string): string => hex(sha256(utf8(secret)));

/** Whether the Directory's answer lets a key through now. */
export const isGood = (facts: ApiKeyFacts | undefined): facts is ApiKeyFacts =>
  facts !== undefined && (facts.expiresAt === undefined || facts.expiresAt > Date.now());

export const refusedKey = (): ApiError =>
  new ApiError("unauthorized", "the API key is unknown, deleted or expired; use another one");

/**
 * Requests made in this isolate for a caller who was authenticated by other means: the console's, for whoever signed
 * in. Nothing that comes from outside can be in it, because it holds the very objects.
 */
const vouched = new WeakMap<Request, ApiKeyFacts>();
export const vouchFor = (request: Request, facts: ApiKeyFacts): void => {
  vouched.set(request, facts);
};
export const isVouched = (request: Request): boolean => vouched.has(request);

async function callerOf(c: Context<AppEnv>): Promise<ApiKeyFacts> {
  const known = vouched.get(c.req.raw);
  if (known !== undefined) return known;
  const [, text] = /^Bearer +(\S+)$/i.exec(c.req.header("Authorization") ?? "") ?? [];
  if (text === undefined)
    throw new ApiError("unauthorized", "send an API key: `Authorization: Bearer svk_…`");
  const facts = await factsOf(c, text);
  if (!isGood(facts)) throw refusedKey();
  return facts;
}

export const authenticate = (needed: Scope) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const facts = await callerOf(c);
    if (!allows(facts.scopes, needed))
      throw new ApiError("forbidden", `the API key lacks the scope ${needed}; use one that has it`);
    c.set("caller", facts);
    await next();
  });
