// Reads a body, bounded, and parses it as strictly as the wire does: what is stored and signed later must not depend
// on which of two equal names a parser prefers.

import { createMiddleware } from "hono/factory";
import { concatBytes } from "../../protocol/encoding.ts";
import { parseJson } from "../../protocol/json.ts";
import type { AppEnv } from "../app-env.ts";
import { ApiError } from "../errors.ts";

/** Envelopes hold 1,000,000 bytes; base64 in JSON and the fields around it take a third more. */
export const MAX_BODY_BYTES = 1_500_000;
/** Where anybody may call, bodies are a few keys and signatures. */
export const MAX_PUBLIC_BODY_BYTES = 16_384;

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

const tooLarge = (most: number) =>
  new ApiError("payload_too_large", `a body is at most ${most} bytes; send less`);

function checked(bytes: Uint8Array<ArrayBuffer>, most: number): Uint8Array<ArrayBuffer> {
  if (bytes.length > most) throw tooLarge(most);
  return bytes;
}

/** A body whole, or `payload_too_large`. */
export async function readBounded(request: Request, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const length = request.headers.get("content-length");
  if (Number(length ?? 0) > most) throw tooLarge(most);
  if (request.body === null) return new Uint8Array();
  // HTTP ends a body where its length says.
  if (length !== null) return checked(new Uint8Array(await request.arrayBuffer()), most);
  // In chunks, nothing says how long it will be: what counts is what comes.
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw tooLarge(most);
    }
    chunks.push(value);
  }
  return concatBytes(...chunks);
}

/** `most`: bytes. */
export const readBody = (most: number) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const { raw } = c.req;
    const bytes = await readBounded(raw, most);
    if (bytes.length === 0) {
      // An empty body is no body, whatever its type is called.
      const headers = new Headers(raw.headers);
      headers.delete("content-type");
      c.req.raw = new Request(raw.url, { method: raw.method, headers, signal: raw.signal });
      return next();
    }
    if (!JSON_TYPE.test(c.req.header("content-type") ?? ""))
      throw new ApiError("invalid_request", "the body must be JSON: send `Content-Type: application/json`");
    const parsed = parseJson(bytes);
    if (!parsed.ok)
      throw new ApiError("invalid_request", `the body is not acceptable JSON (${parsed.error})`);
    c.set("body", parsed.value);
    // The body is read; the validators behind find its text where Hono keeps it.
    c.req.bodyCache.text = Promise.resolve(new TextDecoder().decode(bytes)) as never;
    await next();
  });
