// Every kind of request there is. Adding one is its file and a line here.

import type { z } from "zod";
import type { Kind, KindOperation, Resource } from "./kind.ts";
import { auth } from "./kinds/auth.ts";
import { authz } from "./kinds/authz.ts";
import { call } from "./kinds/call.ts";
import { collaboration } from "./kinds/collaboration.ts";
import { customKindNamed } from "./kinds/custom.ts";
import { data } from "./kinds/data.ts";
import { notification } from "./kinds/notification.ts";
import { payment } from "./kinds/payment/payment.ts";
import { presence } from "./kinds/presence.ts";
import { secret } from "./kinds/secret.ts";
import { sign } from "./kinds/sign.ts";
import type { Machine } from "./machine.ts";

export const kinds: readonly Kind[] = [
  auth,
  call,
  collaboration,
  authz,
  data,
  sign,
  presence,
  secret,
  payment,
  notification,
];

const byName = new Map(kinds.map((kind) => [kind.name, kind]));

const byEventType = new Map(
  kinds.flatMap((kind) => (kind.eventType === undefined ? [] : [[kind.eventType, kind] as const])),
);

/** The event type of an ask. */
export const askEventType = (kind: Kind, input: unknown): string =>
  kind.eventTypeTail === undefined
    ? (kind.eventType ?? `${kind.name}.request`)
    : `${kind.eventType ?? kind.name}.${kind.eventTypeTail(input)}`;

/** The kind that asks under an event type of its own (`call.initiate`) rather than `<kind>.request`. */
export function kindAsking(eventType: string): string | undefined {
  const exact = byEventType.get(eventType);
  if (exact !== undefined && exact.eventTypeTail === undefined) return exact.name;
  const [first, tail, ...rest] = eventType.split(".");
  const open = tail === undefined || rest.length > 0 ? undefined : byEventType.get(first!);
  return open?.eventTypeTail === undefined ? undefined : open.name;
}

/** A kind by its name: a registered one, or one of a service's own (`custom.loyalty`). */
export const kindNamed = (name: string): Kind | undefined => byName.get(name) ?? customKindNamed(name);

/** The operation of a kind an ask or a payload names; the only one when the kind has just one. */
export function operationOf(kind: Kind, name: string | undefined): KindOperation | undefined {
  if (name === undefined)
    return kind.operations.length === 1 ? kind.operations[0] : kind.operations.find(({ unnamed }) => unnamed);
  return kind.operations.find((operation) => operation.name === name);
}

/** How an operation's requests are read, shown and acted on. */
export const resourceOf = (kind: Kind, operationName: string): Resource =>
  kind.operations.find(({ name }) => name === operationName)?.resource ?? kind;

/** Every sort of requests of a kind, each once. */
export const resourcesOf = (kind: Kind): Resource[] => [
  ...new Set<Resource>([kind, ...kind.operations.flatMap(({ resource }) => resource ?? [])]),
];

/** The machine of a request's sort. */
export const machineOf = (row: { kind: string; operation: string }): Machine | undefined => {
  const kind = kindNamed(row.kind);
  return kind && resourceOf(kind, row.operation).machine;
};

/** Event types that kinds hear from the user beside answers (`call.signal`), with their payloads. */
const heard = new Map<string, z.ZodType>(
  kinds
    .flatMap(resourcesOf)
    .flatMap(({ machine }) =>
      Object.entries(machine?.hears ?? {}).map(([type, { payload }]) => [type, payload] as const),
    ),
);

export const isHeard = (eventType: string): boolean => heard.has(eventType);
export const heardPayload = (eventType: string): z.ZodType | undefined => heard.get(eventType);
