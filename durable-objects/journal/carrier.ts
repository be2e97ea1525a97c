// Leaves on their way from the users' objects to the AuditLog, which is one object and takes batches: whatever comes
// while a batch is under way makes the next one, so a shard has one call to the log open at a time. The log takes a
// batch every few seconds, so leaves wait here for the next one and are offered shortly before it: together, and each
// for one batch only.
//
// Held in memory only. A crash of this shard, or of the log, fails the callers' calls, and they offer the same leaves
// again: each object remembers its own head until it is confirmed (heads.ts), and the log knows a leaf it has.

import { errorText, log } from "../../src/log.ts";
import type { LeafPosition, OfferedLeaf, RpcResult } from "../../src/rpc.ts";
import { MAX_OFFERED_LEAVES } from "../audit-log/audit-log.ts";

/** What the first leaf after a quiet time waits for others. */
export const GATHER_MS = 100;
/** How long before the log's next batch they are offered: time to get there. */
const AHEAD_MS = 500;
/** Leaves of one caller; a user's object offers one. */
const MAX_CARRIED_LEAVES = 100;
/** Leaves that may wait here; more are refused, to be offered again. */
const MAX_WAITING_LEAVES = 20_000;
const RETRY_AFTER_SECONDS = 10;

type Answer = RpcResult<LeafPosition[]>;

interface Waiting {
  leaves: OfferedLeaf[];
  answer(answer: Answer): void;
}

const refused = (code: "invalid_request" | "unavailable", detail: string): Answer => ({
  ok: false,
  error: {
    code,
    detail,
    ...(code === "unavailable" ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {}),
  },
});

export class LeafCarrier {
  readonly #offer: (leaves: OfferedLeaf[]) => Promise<Answer>;
  #waiting: Waiting[] = [];
  #count = 0;
  #running = false;
  readonly #batchMs: () => Promise<number>;
  /** No offer before: the log takes no batch so soon. */
  #nextAt = 0;

  /**
   * `offer` puts a batch into the log and answers when it is published; `batchMs` is the time from one batch to the
   * next.
   */
  constructor(offer: (leaves: OfferedLeaf[]) => Promise<Answer>, batchMs: () => Promise<number>) {
    this.#offer = offer;
    this.#batchMs = batchMs;
  }

  carry(leaves: OfferedLeaf[]): Promise<Answer> {
    if (leaves.length > MAX_CARRIED_LEAVES)
      return Promise.resolve(refused("invalid_request", `at most ${MAX_CARRIED_LEAVES} leaves at once`));
    if (this.#count + leaves.length > MAX_WAITING_LEAVES)
      return Promise.resolve(refused("unavailable", "too many leaves wait for the audit log"));
    this.#count += leaves.length;
    const answered = new Promise<Answer>((answer) => {
      this.#waiting.push({ leaves, answer });
    });
    if (!this.#running) void this.#run();
    return answered;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const wait = Math.max(GATHER_MS, this.#nextAt - Date.now());
      await new Promise((resolve) => setTimeout(resolve, wait));
      const batch = this.#take();
      const leaves = batch.flatMap((waiting) => waiting.leaves);
      let answer: Answer;
      try {
        answer = await this.#offer(leaves);
        // What did not fit one call need not wait: the log takes several into one batch.
        if (leaves.length + (this.#waiting[0]?.leaves.length ?? 0) <= MAX_OFFERED_LEAVES)
          this.#nextAt = Date.now() + (await this.#batchMs()) - AHEAD_MS;
      } catch (error) {
        // Only the reason: the log learns no more than leaves, and neither does this.
        log("warn", "audit.leaves_not_carried", { reason: errorText(error) });
        answer = refused("unavailable", "the audit log could not be reached");
      }
      let at = 0;
      for (const waiting of batch) {
        const end = at + waiting.leaves.length;
        waiting.answer(answer.ok ? { ok: true, value: answer.value.slice(at, end) } : answer);
        at = end;
      }
    }
    this.#running = false;
  }

  /** As many callers, in their order, as fit one call to the log. */
  #take(): Waiting[] {
    let count = 0;
    const batch: Waiting[] = [];
    for (const waiting of this.#waiting) {
      count += waiting.leaves.length;
      if (count > MAX_OFFERED_LEAVES) break;
      batch.push(waiting);
    }
    this.#waiting.splice(0, batch.length);
    for (const { leaves } of batch) this.#count -= leaves.length;
    return batch;
  }
}
