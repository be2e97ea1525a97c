// The person's own data is named and shared, as far as the contract's scope goes; the service's namespace is on its own
// shelf, and nothing it asks for here reaches any other.
//
// Choices of the person: `paths`, those of the asked ones to share, and `share`, "once" (unless they say otherwise) or
// "contract".

import { covers } from "../../../src/contracts/grant.ts";
import { canonicalJson, type Json, utf8 } from "../../../src/protocol/json.ts";
import {
  type DataMetadata,
  MAX_METADATA_ENTRIES,
  MAX_SHARED_BYTES,
} from "../../../src/requests/kinds/data.ts";
import { DATA } from "../holdings.ts";
import type { Handled, HandledAsk, Handler } from "./handler.ts";

/** A service's namespace, on its shelf. */
export const NAMESPACE = "namespace";
/** Keys one service may keep with the person, and bytes of all their values. */
export const MAX_NAMESPACE_KEYS = 1_024;
export const MAX_NAMESPACE_BYTES = 8_000_000;

const bytesOf = (value: Json): number => utf8(canonicalJson(value)).length;

/** `address/home_city` → `Address home city`. */
function nameOf(path: string): string {
  const words = path.replaceAll(/[/_.-]+/g, " ").trim();
  return words === "" ? path.slice(0, 128) : (words[0]!.toUpperCase() + words.slice(1)).slice(0, 128);
}

const typeOf = (value: Json): NonNullable<DataMetadata["value_type"]> =>
  value === null ? "null" : Array.isArray(value) ? "array" : (typeof value as "string");

/** Whether the contract lets the service reach a path under a capability. */
function isInScope({ context }: HandledAsk, capability: string, path: string): boolean {
  const grant = context.contract.offering_snapshot.capabilities.find((one) => one.capability === capability);
  return grant !== undefined && (grant.scope?.some((entry) => covers(entry, path)) ?? true);
}

/** The values there are, by path; refused when together they are more than one answer can carry. */
function sharing(
  entries: [path: string, value: Json | undefined][],
  rest: { [name: string]: Json },
): Handled {
  const found = Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as {
    [path: string]: Json;
  };
  if (bytesOf(found) > MAX_SHARED_BYTES) return { refuse: "too_large" };
  return { result: { data: found, ...rest } };
}

export const data: Handler = {
  kind: "data",
  answer: (ask, { choices = {} }, { own, personal }) => {
    const { payload, operation } = ask;
    switch (operation) {
      case "browse": {
        const wanted = payload.data_types as string[] | undefined;
        const metadata: DataMetadata[] = personal
          .list(DATA)
          .filter(
            ({ key }) =>
              (wanted === undefined || wanted.includes(key)) && isInScope(ask, "browse_metadata", key),
          )
          .slice(0, MAX_METADATA_ENTRIES)
          .map(({ key, value }) => ({ data_type: key, name: nameOf(key), value_type: typeOf(value) }));
        return { result: { metadata } };
      }
      case "request": {
        const chosen = Array.isArray(choices.paths) ? choices.paths : undefined;
        const found = (payload.data_paths as string[])
          .filter(
            (path) => (chosen === undefined || chosen.includes(path)) && isInScope(ask, "request_data", path),
          )
          .map((path): [string, Json | undefined] => [path, personal.get(DATA, path)]);
        if (found.every(([, value]) => value === undefined)) return { refuse: "not_found" };
        return sharing(found, { share: choices.share === "contract" ? "contract" : "once" });
      }
      case "write": {
        const { key, value } = payload as { key: string; value: Json };
        const others = own.list(NAMESPACE).filter((kept) => kept.key !== key);
        const bytes = others.reduce((sum, kept) => sum + bytesOf(kept.value), bytesOf(value));
        if (others.length >= MAX_NAMESPACE_KEYS || bytes > MAX_NAMESPACE_BYTES)
          return { refuse: "namespace_full" };
        own.put(NAMESPACE, key, value);
        return {};
      }
      case "read":
        return sharing(
          (payload.keys as string[]).map((key) => [key, own.get(NAMESPACE, key)]),
          {},
        );
      default:
        return { refuse: "unsupported" };
    }
  },
};
