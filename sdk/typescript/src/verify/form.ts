// The form of what is verified, as far as a verifier relies on it. The signatures cover every member, so nothing can
// hide in what is not looked at here; this keeps wrong types from reaching the formulas.

import { verifyJson } from "../../../../src/crypto/signing.ts";
import { fromBase64 } from "../../../../src/protocol/encoding.ts";
import type { Label } from "../../../../src/protocol/labels.ts";
import { VerificationError } from "./verification-error.ts";

export type Members = Record<string, unknown>;

/** A plain object; throws `malformed` for anything else. */
export function members(value: unknown, what: string): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new VerificationError("malformed", `${what} is not an object`);
  return value as Members;
}

type Optional<Name extends string> = Name extends `${infer Plain}?` ? Plain : never;
type Texts<Name extends string> = { [N in Exclude<Name, `${string}?`>]: string } & {
  [N in Optional<Name>]?: string;
};

/**
 * The members named, as texts, `?` marking those that may be absent; no others than these and `others`. What is
 * signed must mean the same to everyone, so a member nobody knows is refused as the vault refuses it.
 */
export function textsOf<const Name extends string>(
  value: unknown,
  what: string,
  names: readonly Name[],
  others: readonly string[] = [],
): Texts<Name> {
  const found = members(value, what);
  const known = new Set<string>(others);
  for (const marked of names) {
    const isOptional = marked.endsWith("?");
    const name = isOptional ? marked.slice(0, -1) : marked;
    known.add(name);
    const member = found[name];
    if (typeof member !== "string" && !(isOptional && member === undefined))
      throw new VerificationError("malformed", `${what}: ${name} is not a text`);
  }
  for (const name of Object.keys(found))
    if (!known.has(name)) throw new VerificationError("malformed", `${what}: ${name} is not known`);
  return found as Texts<Name>;
}

/** The bytes of a base64 text of exactly this length. */
export function bytesOf(text: unknown, lengthBytes: number, what: string): Uint8Array {
  const bytes = typeof text === "string" ? fromBase64(text) : undefined;
  if (bytes?.length !== lengthBytes)
    throw new VerificationError("malformed", `${what} is not base64 of ${lengthBytes} bytes`);
  return bytes;
}

/** Throws `mismatch` where something expected is named and is something else. */
export function expectSame(found: unknown, expected: string | undefined, what: string): void {
  if (expected !== undefined && found !== expected)
    throw new VerificationError("mismatch", `this is about another ${what}`);
}

/** Runs a formula over what came from outside: what it cannot take (no JSON, too deep) is malformed. */
export function formed<T>(formula: () => T, what: string): T {
  try {
    return formula();
  } catch (error) {
    if (error instanceof VerificationError) throw error;
    throw new VerificationError("malformed", `${what} has no canonical form`);
  }
}

/** Whether a key (base64) signed a value under a label; what has no canonical form is malformed. */
export async function isSigned(
  publicKey: string,
  label: Label,
  value: unknown,
  signature: string,
  what: string,
): Promise<boolean> {
  try {
    return await verifyJson(publicKey, label, value, signature);
  } catch {
    throw new VerificationError("malformed", `${what} has no canonical form`);
  }
}
