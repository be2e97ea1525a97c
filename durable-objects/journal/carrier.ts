// Leaves on their way from the users' objects to the AuditLog, which is one object and takes batches: whatever comes
// while a batch is under way makes the next one, so a shard has one call to the log open at a time. The log takes a
// batch every few seconds, so leaves wait here for the next one and are offered shortly before it: together, and each
// for one batch only. Of each owner the newest is carried: it covers what an earlier one that still waits would have.
//
// Held in memory only, and nobody waits here. A crash of this shard, or of the log, loses leaves: each owner asks what
// became of its own (heads.ts), which brings it here again, and the log knows a leaf it has.

import { errorText, log } from "../../src/log.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import type { HandedLeaf, LeafPosition, OfferedLeaf, RpcResult } from "../../src/rpc.ts";
import { MAX_OFFERED_LEAVES } from "../audit-log/audit-log.ts";

/** What the first leaf after a quiet time waits for others, and for a newer one of the same burst. */
export const GATHER_MS = 250;
/** How long before the log's next batch they are offered: time to get there. */
const AHEAD_MS = 500;
/** Owners whose leaf may wait here; more are refused, to be handed over again. */
const MAX_WAITING_LEAVES = 20_000;
/** Leaves whose place is remembered: those of more than the half minute until their owners ask. */
const MAX_KNOWN_LEAVES = 20_000;
const RETRY_AFTER_SECONDS = 10;

export interface LeafCarrierDeps {
  /** Puts a batch into the log and answers when it is published. */
  offer(leaves: OfferedLeaf[]): Promise<RpcResult<LeafPosition[]>>;
  /** Where the log has a leaf now. */
  position(leaf: OfferedLeaf): Promise<Partial<LeafPosition>>;
  /** From one batch of the log to the next. */
  batchMs(): Promise<number>;
  /** Told of the time leaves are on their way: the object is at work meanwhile. */
  waitUntil(done: Promise<void>): void;
}

export class LeafCarrier {
  readonly #deps: LeafCarrierDeps;
  /** By owner, in the order they came. */
  readonly #waiting = new Map<string, OfferedLeaf>();
  /** Places of published leaves, by the leaf in base64; the oldest first. */
  readonly #known = new Map<string, number>();
  #running = false;
  /** No offer before: the log takes no batch so soon. */
  #nextAt = 0;

  constructor(deps: LeafCarrierDeps) {
    this.#deps = deps;
  }

  /** Takes a leaf on its way. False when too many wait. */
  take({ ownerId, leaf }: HandedLeaf): boolean {
    if (!this.#waiting.has(ownerId) && this.#waiting.size >= MAX_WAITING_LEAVES) return false;
    this.#waiting.set(ownerId, { leaf });
    if (!this.#running) this.#deps.waitUntil(this.#run());
    return true;
  }

  /** Where the log has a leaf; one that it has not is taken. */
  async carry(handed: HandedLeaf): Promise<RpcResult<Partial<LeafPosition>>> {
    const { leaf } = handed;
    const index = this.#known.get(toBase64(leaf)) ?? (await this.#deps.position({ leaf })).index;
    if (index !== undefined) return { ok: true, value: { index } };
    if (this.take(handed)) return { ok: true, value: {} };
    const detail = "too many leaves wait for the audit log";
    return { ok: false, error: { code: "unavailable", detail, retryAfterSeconds: RETRY_AFTER_SECONDS } };
  }

  async #run(): Promise<void> {
    const { offer, batchMs } = this.#deps;
    this.#running = true;
    while (this.#waiting.size > 0) {
      const wait = Math.max(GATHER_MS, this.#nextAt - Date.now());
      await new Promise((resolve) => setTimeout(resolve, wait));
      const leaves = this.#nextBatch();
      try {
        const answer = await offer(leaves);
        if (answer.ok) this.#remember(leaves, answer.value);
        else log("warn", "audit.leaves_not_carried", { reason: answer.error.detail });
        // What did not fit one call need not wait: the log takes several into one batch.
        if (leaves.length < MAX_OFFERED_LEAVES) this.#nextAt = Date.now() + (await batchMs()) - AHEAD_MS;
      } catch (error) {
        // Only the reason: the log learns no more than leaves, and neither does this.
        log("warn", "audit.leaves_not_carried", { reason: errorText(error) });
      }
    }
    this.#running = false;
  }

  /** As many, in their order, as fit one call to the log. */
  #nextBatch(): OfferedLeaf[] {
    const batch = [...this.#waiting.entries()].slice(0, MAX_OFFERED_LEAVES);
    for (const [ownerId] of batch) this.#waiting.delete(ownerId);
    return batch.map(([, leaf]) => leaf);
  }

  #remember(leaves: readonly OfferedLeaf[], positions: readonly LeafPosition[]): void {
    for (const [at, { leaf }] of leaves.entries()) this.#known.set(toBase64(leaf), positions[at]!.index);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN_LEAVES) break;
      this.#known.delete(oldest);
    }
  }
}
