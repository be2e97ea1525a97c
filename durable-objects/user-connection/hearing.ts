// What a user says of their own accord: an event the service declared that it listens to, and a wish to be called.
// The backend is told ids; the content waits here, wrapped, until it is read or too old.

import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import type { UserEvent } from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { CALL_CAPABILITIES, type CallType } from "../../src/requests/kinds/call.ts";
import type { DirectoryForRoutes, RpcResult, UserEventView } from "../../src/rpc.ts";
import { decide, type Outcome, READ_RESULT_MS, refuseMessage } from "./asking.ts";
import type { Change } from "./change.ts";
import { noSuch } from "./faults.ts";
import type { ContractRow, KeptRow } from "./store.ts";
import type { Vault } from "./vault.ts";

/** An event nobody reads is destroyed after this. */
const EVENT_KEPT_MS = 30 * 24 * 3_600_000;
/** Events of one user that may wait to be read. */
export const MAX_WAITING_EVENTS = 500;
/** How long the declared types are used before the Directory is asked again. */
const MANIFEST_CACHE_MS = 30_000;

export const CALL_REQUEST = "call.request";

/** A name that is not among them is looked for anew when they are this old: it may just have been declared. */
const MANIFEST_FRESH_MS = 1_000;

let declared: { types: ReadonlySet<string>; at: number } | undefined;

/** Whether the service declared a type. Kept for the isolate: the Directory is one object for everybody. */
async function isDeclared(vault: Vault, name: string, now: number): Promise<boolean> {
  const age = declared === undefined ? Number.POSITIVE_INFINITY : now - declared.at;
  if (declared === undefined || age > (declared.types.has(name) ? MANIFEST_CACHE_MS : MANIFEST_FRESH_MS)) {
    const directory = vault.env.DIRECTORY.getByName("directory") as unknown as DirectoryForRoutes;
    const { handler_manifest } = await directory.offer();
    const types = new Set(handler_manifest.event_handlers.map(({ event_type }) => event_type));
    declared = { types, at: now };
  }
  return declared.types.has(name);
}

/** Keeps what was said and tells the backend that there is something to read. */
function keepEvent(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  kept: { type: string; content: unknown; event: string; capability?: string; data: Record<string, string> },
): Outcome {
  if (change.vault.store.countKeptEvents() >= MAX_WAITING_EVENTS)
    return refuseMessage(change, header, row, "too_many_events");
  change
    .audit({
      contractId: row.contract_id,
      operation: header.event_type,
      ...(kept.capability === undefined ? {} : { capability: kept.capability }),
      status: "success",
      request: { event_id: header.event_id },
    })
    .keep({
      contractId: row.contract_id,
      eventId: header.event_id,
      type: kept.type,
      sender: "user",
      content: kept.content,
      until: change.now + EVENT_KEPT_MS,
    })
    .tell(kept.event, row.contract_id, { user_event_id: header.event_id, ...kept.data });
  return { outcome: "stored" };
}

/** `events.<name>`: taken where the service's manifest declares the name. */
export async function takeUserEvent(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  name: string,
  { data }: UserEvent,
): Promise<Outcome> {
  if (row.status !== "active") return refuseMessage(change, header, row, "not_active");
  if (!(await isDeclared(change.vault, name, change.now)))
    return refuseMessage(change, header, row, "event_undeclared");
  return keepEvent(change, row, header, {
    type: header.event_type,
    content: data,
    event: "user.event",
    data: { event_type: name },
  });
}

/** `call.request`: the person wants to be called; only where the service may call them that way. */
export async function takeCallRequest(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  payload: { purpose: string; type: CallType },
): Promise<Outcome> {
  const capability = CALL_CAPABILITIES[payload.type];
  const decision = decide(change.vault, row, { capability }, change.now, { rated: false });
  if (!decision.allowed) return refuseMessage(change, header, row, decision.reason);
  return keepEvent(change, row, header, {
    type: CALL_REQUEST,
    content: payload,
    event: "call.requested",
    capability,
    data: { call_type: payload.type },
  });
}

const eventView = (row: KeptRow): UserEventView => ({
  event_id: row.event_id!,
  contract_id: row.contract_id,
  type: row.type,
  received_at: toTimestamp(row.created_at),
  readable_until: toTimestamp(row.until!),
});

/** What waits to be read, oldest first, without contents. */
export const waitingEvents = (
  vault: Vault,
  after: number,
  limit: number,
): { n: number; view: UserEventView }[] =>
  vault.store
    .keptEvents(after, limit)
    .filter(({ until }) => until! > vault.now())
    .map((row) => ({ n: row.n, view: eventView(row) }));

/** Reads one event: recorded, and from the first reading on it has READ_RESULT_MS left. */
export function readEvent(
  change: Change,
  eventId: string,
  keyId: string,
): RpcResult<UserEventView & { content: unknown }> {
  const { vault, now } = change;
  const row = vault.store.keptEvent(eventId);
  if (row === undefined || row.until! <= now) return noSuch("event, or it was read and destroyed");
  const until = Math.min(row.until!, now + READ_RESULT_MS);
  change
    .audit({
      contractId: row.contract_id,
      operation: "user_event.read",
      status: "success",
      request: { event_id: eventId, key_id: keyId },
    })
    .write(() => vault.store.keepEventUntil(row.n, until))
    .due(until);
  return {
    ok: true,
    value: {
      ...eventView({ ...row, until }),
      content: vault.wrapper.unwrap(new Uint8Array(row.content), `kept/content/${row.n}`),
    },
  };
}
