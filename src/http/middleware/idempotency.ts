// The Idempotency-Key of a call that creates, and the digest that tells a repetition from another call. The object
// that creates keeps both.

import type { Context } from "hono";
import { canonicalJson } from "../../protocol/json.ts";
import type { Idempotency } from "../../rpc.ts";
import type { AppEnv } from "../app-env.ts";
import { invalidField } from "../errors.ts";

const HEADER = "Idempotency-Key";
const MAX_KEY_CHARACTERS = 255;
const PRINTABLE = /^[\x20-\x7e]+$/;

/** undefined when the caller sent none. Throws `invalid_request` on a malformed one. */
export function idempotencyOf(c: Context<AppEnv>): Idempotency | undefined {
  const key = c.req.header(HEADER);
  if (key === undefined) return undefined;
  if (key.length > MAX_KEY_CHARACTERS || !PRINTABLE.test(key))
    throw invalidField(HEADER, `must be 1 to ${MAX_KEY_CHARACTERS} printable ASCII characters`);
  const body = c.get("body");
  const canonical = body === undefined ? "" : canonicalJson(body);
  // Keyed: a plain hash of a short body would let whoever copies the database guess what was in it.
  return { key, ...c.get("config").fingerprint(`${c.req.method}\n${c.req.path}\n${canonical}`) };
}

/** Who calls, as the Directory wants to know it. */
export function callerOf(c: Context<AppEnv>): { keyId: string; idempotency?: Idempotency } {
  const idempotency = idempotencyOf(c);
  return { keyId: c.get("caller").keyId, ...(idempotency === undefined ? {} : { idempotency }) };
}
