// An ask that was made: waiting for its answer, reading it, taking it back.

import { WaitTimeoutError } from "./errors.ts";
import { type Call, type CallOptions, isPassing, pauseMs, sleep, type Transport } from "./transport.ts";

/** What the vault holds the line for at most, in seconds. */
const MAX_HOLD_SECONDS = 30;
/** What a held call may take beyond its hold. */
const HOLD_MARGIN_MS = 15_000;

/** What the vault says to an ask it has stored. */
export interface Accepted {
  request_id: string;
  user_id: string;
  kind: string;
  status: "pending";
  created_at: string;
  expires_at: string;
  /** Show it to the person where they act: they must type it. */
  match_code?: string;
}

/** What a request is called while its answer is awaited: a call rings, a subscription is proposed. */
const OPEN = ["pending", "ringing", "pending_approval"] as const;
const isOpen = (status: unknown): boolean => (OPEN as readonly unknown[]).includes(status);

/** A request whose answer is there, or that ended without one. */
export type Settled<View> = View extends { status: infer Status }
  ? Omit<View, "status"> & { status: Exclude<Status, (typeof OPEN)[number]> }
  : View;

export interface WaitOptions {
  /** Milliseconds; then it throws WaitTimeoutError. Absent: until the request ends, at the latest when it expires. */
  timeoutMs?: number;
  /** Ends the waiting, not the request. */
  signal?: AbortSignal;
}

/** A request by its id. The id is all it needs: store it, and go on with `vault.<kind>.handle(id)` after a restart. */
export class RequestHandle<View> {
  readonly #transport: Transport;
  readonly #path: string;
  readonly id: string;
  /** The answer to the ask; undefined of a handle made from an id. */
  readonly accepted: Accepted | undefined;

  /** `path`: where the request is read, without the id. */
  constructor(transport: Transport, path: string, id: string, accepted?: Accepted) {
    this.#transport = transport;
    this.#path = path;
    this.id = id;
    this.accepted = accepted;
  }

  /** The number to show to the person, where the ask wanted one. */
  get matchCode(): string | undefined {
    return this.accepted?.match_code;
  }

  /** The request as it is now. */
  get(options?: CallOptions): Promise<View> {
    return this.#transport.call(this.#read(), options) as Promise<View>;
  }

  /**
   * The request once it is no longer pending: approved, offline_approved, denied, expired or cancelled; a call once it
   * no longer rings, a subscription once it is no longer only proposed. It holds the line, and goes on over restarts, lost connections and whatever else passes, until `timeoutMs` is over.
   */
  async wait({ timeoutMs, signal }: WaitOptions = {}): Promise<Settled<View>> {
    if (timeoutMs !== undefined && !(timeoutMs >= 0))
      throw new TypeError("wait: timeoutMs must be a number of at least 0");
    const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
    let failures = 0;
    for (let last = false; !last; ) {
      const leftMs = deadline - Date.now();
      const holdSeconds = Math.max(1, Math.min(MAX_HOLD_SECONDS, Math.ceil(leftMs / 1_000)));
      // Under a second is less than the line can be held for: one look, then it is over.
      last = leftMs < 1_000;
      try {
        const view = (await this.#transport.once(this.#read(last ? undefined : holdSeconds), {
          timeoutMs: Math.min(holdSeconds * 1_000 + HOLD_MARGIN_MS, last ? HOLD_MARGIN_MS : leftMs + 1_000),
          ...(signal === undefined ? {} : { signal }),
        })) as { status?: unknown };
        if (!isOpen(view.status)) return view as Settled<View>;
        failures = 0;
      } catch (error) {
        if (!isPassing(error)) throw error;
        const pause = pauseMs(failures++, error);
        if (Date.now() + pause >= deadline) {
          if (last) throw error;
          await sleep(Math.max(0, deadline - Date.now()), signal);
        } else {
          await sleep(pause, signal);
        }
      }
    }
    throw new WaitTimeoutError(this.id);
  }

  /** Takes the ask back. `conflict` when the answer was faster. */
  cancel(options?: CallOptions): Promise<View> {
    return this.#transport.call(
      {
        method: "POST",
        path: `/api/v1/requests/${encodeURIComponent(this.id)}/cancel`,
        repeat: "refused",
        gives: "json",
      },
      options,
    ) as Promise<View>;
  }

  #read(holdSeconds?: number): Call {
    const query = holdSeconds === undefined ? "" : `?wait=${holdSeconds}`;
    return {
      method: "GET",
      path: `/api/v1/${this.#path}/${encodeURIComponent(this.id)}${query}`,
      repeat: "always",
      gives: "json",
    };
  }
}

/** Whether the person said yes, in time or within the grace: `view.status` is one of the two words for it. */
export const isApproved = <View extends { status: string }>(
  view: View,
): view is View & { status: "approved" | "offline_approved" } =>
  view.status === "approved" || view.status === "offline_approved";
