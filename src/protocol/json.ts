// JSON as PROTOCOL §1 allows it: one reading for every reader. JSON.parse alone lets the last of two equal
// names win, rounds large integers and passes lone surrogates; two implementations could then sign or act
// on different things while looking at the same bytes.

import canonicalizeJson from "canonicalize";
import { MAX_JSON_DEPTH } from "./limits.ts";
import { err, ok, type Result } from "./result.ts";

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

export type JsonFault =
  | "not_utf8"
  | "not_json"
  | "duplicate_name"
  | "lone_surrogate"
  | "reserved_name"
  | "unsafe_number"
  | "too_deep";

const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => utf8Encoder.encode(text);

/**
 * Parses JSON text or its UTF-8 bytes. Refuses duplicate names, lone surrogates, integers beyond 2^53−1,
 * numbers that overflow, nesting deeper than MAX_JSON_DEPTH, and the name `__proto__`, which schemas drop in
 * silence: what was signed would then differ from what was checked.
 */
export function parseJson(input: string | Uint8Array): Result<Json, JsonFault> {
  let text: string;
  if (typeof input === "string") {
    text = input;
  } else {
    try {
      text = utf8Decoder.decode(input);
    } catch {
      return err("not_utf8");
    }
  }
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return err("not_json");
  }
  const fault = scan(text);
  return fault === undefined ? ok(value) : err(fault);
}

/** What JSON.parse accepted but PROTOCOL §1 refuses. The grammar is known to hold: only structure is followed. */
function scan(text: string): JsonFault | undefined {
  if (!text.isWellFormed()) return "lone_surrogate";
  // One entry per open bracket: the names seen in an object, or null for an array.
  const open: (Set<string> | null)[] = [];
  let nameExpected = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
      case "[": {
        const isObject = text[at] === "{";
        open.push(isObject ? new Set() : null);
        if (open.length > MAX_JSON_DEPTH) return "too_deep";
        nameExpected = isObject;
        break;
      }
      case "}":
      case "]":
        open.pop();
        nameExpected = false;
        break;
      case ",":
        nameExpected = open[open.length - 1] !== null && open.length > 0;
        break;
      case '"': {
        const start = at;
        let escaped = false;
        for (at++; text[at] !== '"'; at++) {
          if (text[at] === "\\") {
            escaped = true;
            at++;
          }
        }
        let content = text.slice(start + 1, at);
        if (escaped) {
          content = JSON.parse(text.slice(start, at + 1)) as string;
          if (!content.isWellFormed()) return "lone_surrogate";
        }
        if (nameExpected) {
          if (content === "__proto__") return "reserved_name";
          const names = open[open.length - 1];
          if (names?.has(content)) return "duplicate_name";
          names?.add(content);
          nameExpected = false;
        }
        break;
      }
      case "-":
      case "0":
      case "1":
      case "2":
      case "3":
      case "4":
      case "5":
      case "6":
      case "7":
      case "8":
      case "9": {
        const start = at;
        while (at + 1 < text.length && "+-.eE0123456789".includes(text[at + 1]!)) at++;
        const number = Number(text.slice(start, at + 1));
        if (!Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number)))
          return "unsafe_number";
        break;
      }
    }
  }
  return undefined;
}

/** The canonical form, RFC 8785 (JCS). Members that are undefined are left out, as JSON has no such value. */
export function canonicalJson(value: unknown): string {
  const text = canonicalizeJson(value);
  if (text === undefined) throw new TypeError("canonicalJson: the value has no JSON form");
  return text;
}
