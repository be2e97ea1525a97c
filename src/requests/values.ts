// What several kinds of requests say alike: values of any shape, bounded.

import { z } from "zod";
import { canonicalJson, type Json, utf8 } from "../protocol/json.ts";

/** Nesting of a value inside a payload or result, which add levels of their own to it. */
export const MAX_VALUE_DEPTH = 16;

/** How deep arrays and objects nest; 0 for a scalar. */
const depthOf = (value: Json, limit: number): number =>
  typeof value !== "object" || value === null || limit < 0
    ? 0
    : 1 + Math.max(0, ...Object.values(value).map((member) => depthOf(member, limit - 1)));

/** Any JSON of at most `maxBytes` bytes in canonical form, at most MAX_VALUE_DEPTH deep. */
export const boundedJson = (maxBytes: number): z.ZodType<Json> =>
  (z.json() as z.ZodType<Json>)
    // Aborts: measuring a value that is no JSON would throw.
    .refine((value) => depthOf(value, MAX_VALUE_DEPTH) <= MAX_VALUE_DEPTH, {
      message: `must nest at most ${MAX_VALUE_DEPTH} deep`,
      abort: true,
    })
    .refine((value) => utf8(canonicalJson(value)).length <= maxBytes, {
      message: `must be at most ${maxBytes} bytes of JSON`,
    });

/** Whether a list names nothing twice. */
export const isUnique = (items: readonly unknown[]): boolean => new Set(items).size === items.length;

export const isApproved = (status: string): boolean => status === "approved" || status === "offline_approved";
