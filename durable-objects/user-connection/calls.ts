// The backend's live side of a call: what was said, read by position or pushed over a hibernating WebSocket that a
// single-use ticket opens. Nothing here decides anything: what a socket says goes the way of the HTTP actions.

import { z } from "zod";
import { sha256 } from "../../src/crypto/hash.ts";
import { toBase58, toBase64 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import { parseJson, utf8 } from "../../src/protocol/json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { callEnd, callSignal, chatText, MAX_SIGNAL_BYTES } from "../../src/requests/kinds/call.ts";
import type { CallTicket, RpcResult, SaidView } from "../../src/rpc.ts";
import { findRequest } from "./asking.ts";
import type { Change } from "./change.ts";
import { type Failed, fault, noSuch } from "./faults.ts";
import type { KeptRow, RequestRow } from "./store.ts";
import type { Vault } from "./vault.ts";
import { stateOf } from "./views.ts";

export const CALL_PATH = "call";
/** How long a ticket may wait to be used. */
export const TICKET_LIFETIME_MS = 60_000;
const TICKET_BYTES = 32;
/** Tickets of one call that may wait at once. */
const MAX_TICKETS = 8;
/** Sockets of one call open at once: an agent's, a supervisor's, one that is just being replaced. */
const MAX_SOCKETS = 4;
/** A message from a socket, in UTF-16 code units: a signal and what is around it. */
export const MAX_SOCKET_MESSAGE = MAX_SIGNAL_BYTES + 1_024;
/** What a socket may send at once, and how fast that is given back. */
const SOCKET_BURST = 100;
const SOCKET_PER_SECOND = 20;
/** Rows pushed in one go. */
const PUSH_BATCH = 100;

/** WebSocket close codes (RFC 6455 §7.4.1). */
const CLOSE_DONE = 1_000;
const CLOSE_UNSUPPORTED = 1_003;
const CLOSE_POLICY = 1_008;
const CLOSE_TOO_BIG = 1_009;

const hashOf = (ticket: string): string => toBase64(sha256(utf8(ticket)));

const isLive = (status: string): boolean => status === "ringing" || status === "connected";

/** A call by its id, and how it stands. */
export function findCall(vault: Vault, requestId: string): { row: RequestRow; status: string } | undefined {
  const row = findRequest(vault, requestId)?.row;
  if (row?.kind !== "call") return undefined;
  const { status } = stateOf(vault, row) as { status: string };
  return { row, status };
}

const callOver = (status: string): Failed => fault("conflict", `the call is over: it is ${status}`);

export function issueTicket(change: Change, requestId: string, keyId: string): RpcResult<CallTicket> {
  const { vault, now } = change;
  const found = findCall(vault, requestId);
  if (found === undefined) return noSuch("call");
  const { row, status } = found;
  if (!isLive(status)) return callOver(status);
  if (vault.store.countTickets(row.n, now) >= MAX_TICKETS)
    return fault(
      "rate_limited",
      `a call has at most ${MAX_TICKETS} unused tickets`,
      TICKET_LIFETIME_MS / 1_000,
    );
  const ticket = toBase58(randomBytes(TICKET_BYTES));
  const until = now + TICKET_LIFETIME_MS;
  change
    .audit({
      contractId: row.contract_id,
      operation: "call.ticket",
      capability: row.capability,
      status: "success",
      request: { request_id: row.event_id, key_id: keyId },
    })
    .write(() =>
      vault.store.insertTicket({ hash: hashOf(ticket), request: row.n, key_id: keyId, until }, now),
    );
  return { ok: true, value: { ticket, expires_at: toTimestamp(until) } };
}

/** Uses a ticket up. It is gone once this has committed, whether or not the socket then opens. */
export function useTicket(
  change: Change,
  requestId: string,
  ticket: string,
): { ok: true; keyId: string } | Failed {
  const { vault, now } = change;
  const hash = hashOf(ticket);
  const stored = vault.store.ticket(hash);
  const found = findCall(vault, requestId);
  if (stored === undefined || stored.until <= now || found === undefined || found.row.n !== stored.request)
    return fault("forbidden", "the ticket is unknown, used already or out of date; ask for another one");
  const { row, status } = found;
  change
    .audit({
      contractId: row.contract_id,
      operation: "call.signaling",
      capability: row.capability,
      status: isLive(status) ? "success" : "denied",
      request: { request_id: row.event_id, key_id: stored.key_id },
    })
    .write(() => vault.store.deleteTicket(hash));
  return isLive(status) ? { ok: true, keyId: stored.key_id } : callOver(status);
}

const saidView = (vault: Vault, row: KeptRow): SaidView => ({
  position: row.n,
  type: row.type,
  from: row.sender,
  at: toTimestamp(row.created_at),
  ...(vault.wrapper.unwrap(new Uint8Array(row.content), `kept/content/${row.n}`) as object),
});

/** What was said in a call after a position: recorded like every reading of what a user sent. */
export function readSaid(
  change: Change,
  call: { requestId: string; after: number; limit: number; keyId: string },
): RpcResult<SaidView[]> {
  const { vault } = change;
  const found = findCall(vault, call.requestId);
  if (found === undefined) return noSuch("call");
  const { row } = found;
  const said = vault.store.keptUnder(row.n, call.after, call.limit);
  if (said.some(({ sender }) => sender === "user"))
    change.audit({
      contractId: row.contract_id,
      operation: "call.read",
      capability: row.capability,
      status: "success",
      request: { request_id: row.event_id, key_id: call.keyId },
      response: { count: said.length },
    });
  return { ok: true, value: said.map((kept) => saidView(vault, kept)) };
}

/** What survives hibernation with a socket. */
interface Attached {
  requestId: string;
  keyId: string;
  /** The last position pushed. */
  after: number;
  /** The last status pushed. */
  status: string;
  /** Messages it may send now, and when that was counted. */
  allowance: number;
  countedAt: number;
}

const socketMessage = z.discriminatedUnion("type", [
  callSignal.extend({ type: z.literal("call.signal") }),
  z.strictObject({ type: z.literal("chat.message"), text: chatText }),
  callEnd.extend({ type: z.literal("call.end") }),
]);

const ACTIONS = { "call.signal": "signal", "chat.message": "message", "call.end": "end" } as const;

/** What a socket asks for: an action of the call's, by the key that its ticket was given to. */
export interface SocketAction {
  requestId: string;
  path: string;
  action: string;
  input: unknown;
  keyId: string;
}

export class CallSockets {
  readonly #ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  /** Takes a socket in and pushes what was said after a position. */
  open(vault: Vault, requestId: string, keyId: string, after: number): WebSocket | Failed {
    if (this.#ctx.getWebSockets(requestId).length >= MAX_SOCKETS)
      return fault("rate_limited", `a call has at most ${MAX_SOCKETS} open sockets`);
    const { 0: client, 1: server } = new WebSocketPair();
    this.#ctx.acceptWebSocket(server, [requestId]);
    const attached: Attached = {
      requestId,
      keyId,
      after,
      status: "",
      allowance: SOCKET_BURST,
      countedAt: vault.now(),
    };
    server.serializeAttachment(attached);
    this.push(vault, requestId);
    return client;
  }

  /**
   * Pushes what a call's sockets have not seen. Called after each commit that changed the call; a crash before it
   * closes the sockets with the object, and whoever opens one again says how far they got.
   */
  push(vault: Vault, requestId: string): void {
    const sockets = this.#ctx.getWebSockets(requestId);
    if (sockets.length === 0) return;
    const found = findCall(vault, requestId);
    if (found === undefined) return;
    for (const socket of sockets) {
      try {
        this.#pushTo(socket, vault, found);
      } catch {
        // Closed under our hands: whoever was there opens another one and says how far they got.
      }
    }
  }

  #pushTo(socket: WebSocket, vault: Vault, { row, status }: { row: RequestRow; status: string }): void {
    const attached = socket.deserializeAttachment() as Attached;
    let { after } = attached;
    for (;;) {
      const said = vault.store.keptUnder(row.n, after, PUSH_BATCH);
      const last = said.at(-1);
      if (last === undefined) break;
      for (const kept of said) socket.send(JSON.stringify(saidView(vault, kept)));
      after = last.n;
    }
    if (status !== attached.status) socket.send(JSON.stringify({ type: "call.status", status }));
    socket.serializeAttachment({ ...attached, after, status } satisfies Attached);
    if (!isLive(status)) socket.close(CLOSE_DONE, status);
  }

  /** What a socket's message asks for; undefined when it was refused, and the socket told or closed. */
  read(socket: WebSocket, message: string | ArrayBuffer, now: number): SocketAction | undefined {
    const attached = socket.deserializeAttachment() as Attached;
    const regained = ((now - attached.countedAt) / 1_000) * SOCKET_PER_SECOND;
    const allowance = Math.min(SOCKET_BURST, attached.allowance + regained) - 1;
    if (allowance < 0) {
      socket.close(CLOSE_POLICY, `at most ${SOCKET_PER_SECOND} messages a second`);
      return undefined;
    }
    socket.serializeAttachment({ ...attached, allowance, countedAt: now } satisfies Attached);
    if (typeof message !== "string") {
      socket.close(CLOSE_UNSUPPORTED, "messages are JSON text");
      return undefined;
    }
    if (message.length > MAX_SOCKET_MESSAGE) {
      socket.close(CLOSE_TOO_BIG, `at most ${MAX_SOCKET_MESSAGE} characters`);
      return undefined;
    }
    const json = parseJson(message);
    const parsed = json.ok ? socketMessage.safeParse(json.value) : undefined;
    if (parsed?.success !== true) {
      this.refuse(socket, fault("invalid_request", "not a call.signal, chat.message or call.end"));
      return undefined;
    }
    const { type, ...input } = parsed.data;
    return {
      requestId: attached.requestId,
      path: CALL_PATH,
      action: ACTIONS[type],
      input,
      keyId: attached.keyId,
    };
  }

  refuse(socket: WebSocket, { error }: Failed): void {
    socket.send(JSON.stringify({ type: "error", code: error.code, detail: error.detail }));
  }
}
