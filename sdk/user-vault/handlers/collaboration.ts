// Combined datastores: the person's own, reached by two services, each through its agreement and no further. Choice of
// the person: `services`, the ids of those to name when a service asks which ones they use; without it, none.

import { sha256 } from "../../../src/crypto/hash.ts";
import { toBase58 } from "../../../src/protocol/encoding.ts";
import { canonicalJson, type Json, utf8 } from "../../../src/protocol/json.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import {
  MAX_ACCESSES,
  MAX_CONNECTIONS,
  type SharedSchema,
} from "../../../src/requests/kinds/collaboration.ts";
import type { Holdings } from "../holdings.ts";
import type { Handled, HandledAsk, Handler } from "./handler.ts";

/** On the person's shelf, keyed by what the two agreements have in common. */
export const DATASTORES = "datastores";
/** On a service's shelf: the ids it knows datastores by. */
export const AGREEMENTS = "agreements";

interface Access {
  [name: string]: Json;
  at: string;
  service_id: string;
  action: "read" | "write";
  fields: string[];
}

interface Datastore {
  [name: string]: Json;
  schema: { [name: string]: Json };
  /** Services whose agreement the person has approved. */
  members: string[];
  values: { [field: string]: Json };
  /** The newest last. */
  accesses: Access[];
}

/** Two agreements are one datastore when they say the same of the same two services. */
const keyOf = (schema: Json): string => toBase58(sha256(utf8(canonicalJson(schema))));

function agree({ requestId, payload, context }: HandledAsk, { own, personal }: Holdings): Handled {
  const schema = payload.shared_data_schema as { [name: string]: Json };
  // The service asks for itself and the target, and for nobody else.
  if (!Object.hasOwn((schema as unknown as SharedSchema).access, context.serviceId))
    return { refuse: "not_a_party" };
  const key = keyOf(schema);
  const held = personal.get(DATASTORES, key) as Datastore | undefined;
  const members = [...new Set([...(held?.members ?? []), context.serviceId])];
  personal.put(DATASTORES, key, { ...(held ?? { schema, values: {}, accesses: [] }), members });
  own.put(AGREEMENTS, requestId, key);
  return {};
}

const typeOf = (value: Json): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value;

export const collaboration: Handler = {
  kind: "collaboration",
  answer: (ask, { choices = {} }, holdings): Handled => {
    const { operation, payload, context } = ask;
    if (operation === "connections") {
      const chosen = Array.isArray(choices.services) ? choices.services : [];
      const connections = context
        .services()
        .filter(({ service_id }) => service_id !== context.serviceId && chosen.includes(service_id))
        .slice(0, MAX_CONNECTIONS);
      return { result: { connections } };
    }
    if (operation === "request") return agree(ask, holdings);

    const { own, personal } = holdings;
    const key = own.get(AGREEMENTS, payload.datastore_id as string) as string | undefined;
    const held = key === undefined ? undefined : (personal.get(DATASTORES, key) as Datastore | undefined);
    if (key === undefined || held === undefined) return { refuse: "datastore_unknown" };
    const schema = held.schema as unknown as SharedSchema;
    const agreed = schema.access[context.serviceId] ?? {};
    const accessed = (action: Access["action"], fields: string[], values = held.values): void =>
      personal.put(DATASTORES, key, {
        ...held,
        values,
        accesses: [
          ...held.accesses,
          { at: toTimestamp(context.now), service_id: context.serviceId, action, fields },
        ].slice(-MAX_ACCESSES),
      });

    switch (operation) {
      case "read": {
        const fields = payload.fields as string[];
        if (!fields.every((name) => agreed.read?.includes(name))) return { refuse: "not_agreed" };
        accessed("read", fields);
        const found = fields.flatMap((name) =>
          Object.hasOwn(held.values, name) ? [[name, held.values[name]!] as const] : [],
        );
        return { result: { values: Object.fromEntries(found) } };
      }
      case "write": {
        const values = payload.values as { [field: string]: Json };
        const fields = Object.keys(values);
        if (!fields.every((name) => agreed.write?.includes(name))) return { refuse: "not_agreed" };
        const isOfType = (name: string) =>
          schema.fields.find((field) => field.name === name)?.type === typeOf(values[name]!);
        if (!fields.every(isOfType)) return { refuse: "type_mismatch" };
        accessed("write", fields, { ...held.values, ...values });
        return {};
      }
      case "audit":
        return { result: { accesses: held.accesses } };
      default:
        return { refuse: "unsupported" };
    }
  },
};
