// Every kind of request there is. Adding one is its file and a line here.

import type { z } from "zod";
import type { Kind, KindOperation } from "./kind.ts";
import { auth } from "./kinds/auth.ts";

export const kinds: readonly Kind[] = [auth];

const byName = new Map(kinds.map((kind) => [kind.name, kind]));

const byEventType = new Map(
  kinds.flatMap((kind) => (kind.eventType === undefined ? [] : [[kind.eventType, kind.name] as const])),
);

/** The kind that asks under an event type of its own (`call.initiate`) rather than `<kind>.request`. */
export const kindAsking = (eventType: string): string | undefined => byEventType.get(eventType);

export const kindNamed = (name: string): Kind | undefined => byName.get(name);

/** The operation of a kind an ask or a payload names; the only one when the kind has just one. */
export function operationOf(kind: Kind, name: string | undefined): KindOperation | undefined {
  if (name === undefined) return kind.operations.length === 1 ? kind.operations[0] : undefined;
  return kind.operations.find((operation) => operation.name === name);
}

/** Event types that kinds hear from the user beside answers (`call.signal`), with their payloads. */
const heard = new Map<string, z.ZodType>(
  kinds.flatMap(({ machine }) =>
    Object.entries(machine?.hears ?? {}).map(([type, { payload }]) => [type, payload] as const),
  ),
);

export const isHeard = (eventType: string): boolean => heard.has(eventType);
export const heardPayload = (eventType: string): z.ZodType | undefined => heard.get(eventType);
