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
  const fault = faultOf(text);
  return fault === undefined ? ok(value) : err(fault);
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** Beside digits: `+-.eE`. Behind the text's end is NaN, which is none of them. */
const IN_NUMBERS: ReadonlySet<number> = new Set([0x2b, MINUS, 0x2e, 0x65, 0x45]);
/** Digits of a number that is safe however it is written: an integer of so many is below 2^53. */
const SAFE_DIGITS = 15;

/** Whether a string's closing quote at `at` is escaped: by an odd number of backslashes before it. */
function isEscaped(text: string, start: number, at: number): boolean {
  let before = at;
  while (before > start && text.charCodeAt(before - 1) === BACKSLASH) before--;
  return (at - before) % 2 === 1;
}

/**
 * What JSON.parse accepts but PROTOCOL §1 refuses. The grammar is known to hold: only structure is followed, and the
 * inside of a string, which most of a sealed message is, is passed over in one search for its end.
 */
export function faultOf(json: string): JsonFault | undefined {
  if (!json.isWellFormed()) return "lone_surrogate";
  // Padding: thousands of spaces behind a short answer.
  const text = json.trimEnd();
  // One entry per open bracket: the names seen in an object, or null for an array.
  const open: (Set<string> | null)[] = [];
  let nameExpected = false;
  // The next backslash, -1 when none is left: searched for once, not once in each string.
  let backslash = text.indexOf("\\");
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    switch (code) {
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        open.push(code === OPEN_OBJECT ? new Set() : null);
        if (open.length > MAX_JSON_DEPTH) return "too_deep";
        nameExpected = code === OPEN_OBJECT;
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        open.pop();
        nameExpected = false;
        break;
      case COMMA:
        nameExpected = open[open.length - 1] !== null && open.length > 0;
        break;
      case QUOTE: {
        const start = at + 1;
        at = text.indexOf('"', start);
        if (backslash !== -1 && backslash < start) backslash = text.indexOf("\\", start);
        let content: string | undefined;
        if (backslash !== -1 && backslash < at) {
          while (isEscaped(text, start, at)) at = text.indexOf('"', at + 1);
          content = JSON.parse(text.slice(start - 1, at + 1)) as string;
          if (!content.isWellFormed()) return "lone_surrogate";
        }
        if (nameExpected) {
          content ??= text.slice(start, at);
          if (content === "__proto__") return "reserved_name";
          const names = open[open.length - 1];
          if (names?.has(content)) return "duplicate_name";
          names?.add(content);
          nameExpected = false;
        }
        break;
      }
      default: {
        if (code !== MINUS && (code < ZERO || code > NINE)) break;
        const start = at;
        let isInteger = true;
        for (;;) {
          const next = text.charCodeAt(at + 1);
          if (!(next >= ZERO && next <= NINE)) {
            if (!IN_NUMBERS.has(next)) break;
            isInteger = false;
          }
          at++;
        }
        if (isInteger && at - start < SAFE_DIGITS) break;
        const number = Number(text.slice(start, at + 1));
        if (!Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number)))
          return "unsafe_number";
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
