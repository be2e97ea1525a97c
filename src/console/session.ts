// A signed-in operator: which API key, since when. Sealed into a cookie under VAULT_KEK, so that nothing about it is
// stored here and the browser holds nothing it could read. Pure but for the randomness.
//
// The key itself is not in it: its id and the hash by which the Directory knows it are, so that each page asks the
// Directory anew and a key that is deleted, expired or at the end of its rotation's grace ends the session.

import { base64urlnopad } from "@scure/base";
import { z } from "zod";
import { UnwrapFailed, type Wrapper } from "../crypto/wrap.ts";
import { equalBytes } from "../protocol/encoding.ts";
import { randomBytes } from "../protocol/ids.ts";
import { utf8 } from "../protocol/json.ts";

/** A browser that asks for nothing this long is signed out. */
export const IDLE_MS = 60 * 60_000;
/** Nobody stays signed in longer without showing the key again. */
export const LIFETIME_MS = 12 * 3_600_000;
/** How old the note of the last use may get before the cookie is written anew. */
const RENEW_MS = 60_000;
/** A sealed session has some 300 characters; anything far longer is not looked at. */
const MAX_SEALED_CHARACTERS = 1_024;
const TOKEN_BYTES = 18;
/** Whose wrapping key seals it, and as what: no stored value opens as a session. */
export const SESSION_OWNER = "console";
const PLACE = "console/session";

const session = z.strictObject({
  keyId: z.string(),
  /** SHA-256 of the key's secret, hex, as the Directory stores it. */
  secretHash: z.string(),
  /** In every form of this session; a form without it was not made by a page of ours. */
  formToken: z.string(),
  startedAt: z.int(),
  seenAt: z.int(),
});
export type Session = z.infer<typeof session>;

export const newSession = (key: { id: string; secretHash: string }, now: number): Session => ({
  keyId: key.id,
  secretHash: key.secretHash,
  formToken: base64urlnopad.encode(randomBytes(TOKEN_BYTES)),
  startedAt: now,
  seenAt: now,
});

export const sealSession = (wrapper: Wrapper, value: Session): string =>
  base64urlnopad.encode(wrapper.wrap(value, PLACE));

/** The session of a cookie; undefined for one that is not ours, was changed, or has run out. */
export function openSession(wrapper: Wrapper, sealed: string, now: number): Session | undefined {
  if (sealed.length > MAX_SEALED_CHARACTERS) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = base64urlnopad.decode(sealed);
  } catch {
    return undefined;
  }
  let value: unknown;
  try {
    value = wrapper.unwrap(bytes, PLACE);
  } catch (error) {
    if (error instanceof UnwrapFailed) return undefined;
    throw error;
  }
  const parsed = session.safeParse(value);
  if (!parsed.success) return undefined;
  const { startedAt, seenAt } = parsed.data;
  const hasRunOut = now - startedAt >= LIFETIME_MS || now - seenAt >= IDLE_MS;
  return hasRunOut ? undefined : parsed.data;
}

/** The same session, seen now; undefined while the cookie's note of it is fresh enough. */
export const renewed = (value: Session, now: number): Session | undefined =>
  now - value.seenAt < RENEW_MS ? undefined : { ...value, seenAt: now };

/** Whether a form carries this session's token. */
export function isOwnForm(value: Session, token: string | undefined): boolean {
  return token !== undefined && equalBytes(utf8(token), utf8(value.formToken));
}
