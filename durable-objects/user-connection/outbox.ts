// What leaves the object after a commit: messages to the user through the bridge, rows for the Directory's index,
// events for the Journal. All of it is in the database until the other side has it; whatever a crash or an outage
// keeps from leaving, the alarm finds again.

import { atPoint } from "../../src/at-point.ts";
import type { Env } from "../../src/env.ts";
import { bridgeFor } from "../../src/nats/shards.ts";
import { isReceipted } from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import type { OutboundMessage } from "../../src/rpc.ts";
import type { WebhookEvent } from "../../src/webhooks/event.ts";
import { journalFor } from "../../src/webhooks/shards.ts";
import { RECOVERY_MS } from "../heads.ts";
import { inTime } from "../in-time.ts";
import type { Serial } from "../serial.ts";
import type { Change } from "./change.ts";
import type { OutgoingRow, SealedRow, Store } from "./store.ts";
import type { Vault } from "./vault.ts";
import { indexRow } from "./views.ts";

/** Pauses between attempts to hand a message to the bridge while the object stays awake. */
const PUBLISH_RETRY_MS = [250, 1_000, 3_000];
/** After the Directory or the Journal could not be reached. */
const RETRY_MS = 5_000;
/** What an alarm waits for the Journal and the log before it looks at what is due. */
const SETTLE_TIMEOUT_MS = 1_500;
/** Events handed to the Journal in one call. */
const EVENT_BATCH = 100;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Outbox {
  readonly #env: Env;
  readonly #store: Store;
  readonly #serial: Serial;
  /** Rows a broker has acknowledged since this object woke, with the sending it acknowledged. */
  readonly #acknowledged = new Map<number, number>();
  #telling: Promise<void> | undefined;

  constructor(env: Env, store: Store, serial: Serial) {
    this.#env = env;
    this.#store = store;
    this.#serial = serial;
  }

  /** Sends what a committed change left. Skipped by a crash, all of it is done again by the alarm. */
  async flush(vault: Vault, change: Change): Promise<void> {
    await Promise.all([
      this.bring(vault, change),
      (async () => {
        if (change.index) await this.index(vault);
        if (change.send.length > 0) await this.#send(vault, change.send);
      })(),
    ]);
  }

  /** Brings the change's events to the Journal, and in the same call, if there is one, the chain's head. */
  async bring(vault: Vault, change: Pick<Change, "tells" | "records" | "asks">): Promise<void> {
    // An ask's entry goes into the log with its answer's, as one head, or when the alarm looks, which is set for
    // half a minute at most. A leaf for each would double what a login costs the log. Who wants proof has it sooner.
    const carries = change.records && !change.asks;
    if (change.tells) await this.tell(vault, carries);
    if (carries) await vault.heads.handOver();
  }

  /**
   * For the alarm: what came of what was told and of the chain's head; both are sent again where that is not known. What
   * the Journal has is confirmed without the logged head that is usually its confirmation too, if that is late: the log
   * may be away for longer than the Journal knows an event by its id. A Journal or a log that hangs holds up nothing else
   * for longer than a moment.
   */
  async settle(vault: Vault): Promise<void> {
    const settled = this.tell(vault, false).then(() => vault.heads.confirm());
    await inTime(settled, SETTLE_TIMEOUT_MS).catch(() => {});
    const writtenBy = toTimestamp(vault.now() - RECOVERY_MS);
    atPoint("user.tell_confirmed", () => this.#store.confirmTold(writtenBy));
  }

  /** Tells the Directory of contracts that changed. If it cannot be reached, the alarm tries again. */
  async index(vault: Vault): Promise<void> {
    const rows = this.#store.contracts().filter((row) => row.indexed_version < row.index_version);
    if (rows.length === 0) return;
    try {
      await atPoint("user.index", () =>
        this.#env.DIRECTORY.getByName("directory").indexContracts(rows.map((row) => indexRow(vault, row))),
      );
    } catch {
      vault.wakeBy(vault.now() + RETRY_MS);
      return;
    }
    await this.#serial.run(() =>
      atPoint("user.index_noted", () =>
        this.#store.transaction(() => {
          for (const row of rows)
            this.#store.updateContract(row.contract_id, { indexed_version: row.index_version });
        }),
      ),
    );
  }

  /**
   * Hands events to the Journal, in order, until none is left; `carries`: and the chain's head with them. One run at a
   * time: order is kept per user.
   */
  async tell(vault: Vault, carries: boolean): Promise<void> {
    while (this.#telling !== undefined) await this.#telling;
    this.#telling = this.#tellAll(vault, carries).finally(() => {
      this.#telling = undefined;
    });
    return this.#telling;
  }

  async #tellAll(vault: Vault, carries: boolean): Promise<void> {
    for (;;) {
      const rows = this.#store.untold(EVENT_BATCH);
      if (rows.length === 0) return;
      try {
        // Repeated after a crash: the Journal knows an event by its id.
        const entries = rows.flatMap(({ events, callback }) =>
          (JSON.parse(events) as WebhookEvent[]).map((event) => ({
            event,
            ...(callback === null
              ? {}
              : {
                  callbackUrl: new TextDecoder().decode(
                    vault.wrapper.unwrapBytes(new Uint8Array(callback), "events/callback"),
                  ),
                }),
          })),
        );
        const leaf = carries ? vault.heads.fresh() : undefined;
        await atPoint("user.tell", () => journalFor(this.#env, vault.userId).append(entries, leaf));
      } catch {
        vault.wakeBy(vault.now() + RETRY_MS);
        return;
      }
      atPoint("user.tell_noted", () => this.#store.told(rows));
      // Whatever a step has added meanwhile, that step tells of after this.
      if (rows.length < EVENT_BATCH) return;
    }
  }

  /**
   * Hands rows to the bridge, a few times while the object is awake. Whatever comes of it, the alarm looks at every
   * row that has no receipt yet: a broker's acknowledgement is not delivery.
   */
  async #send(vault: Vault, ns: readonly number[]): Promise<void> {
    let left = [...ns];
    for (const pause of [...PUBLISH_RETRY_MS, undefined]) {
      left = await this.publish(vault, left);
      if (left.length === 0 || pause === undefined) return;
      await sleep(pause);
    }
  }

  /** One batch to the bridge. Returns the rows no stream holds yet. */
  async publish(vault: Vault, ns: readonly number[]): Promise<number[]> {
    const open = ns
      .map((n) => this.#store.outgoing(n))
      .filter((row): row is SealedRow => row !== undefined && row.sealed !== null);
    // Nothing leaves under a contract that the Directory does not know yet: whoever learns of it can find it.
    const rows = open.filter((row) => this.#store.contract(row.contract_id)!.indexed_version > 0);
    const unlisted = open.filter((row) => !rows.includes(row)).map(({ n }) => n);
    if (rows.length === 0) return unlisted;
    const batch: { n: number; sending: number; message: OutboundMessage }[] = rows.flatMap((row) => {
      const contract = vault.contractOf(this.#store.contract(row.contract_id)!);
      return vault
        .outboundOf(row, contract)
        .map((message) => ({ n: row.n, sending: row.sendings + 1, message }));
    });
    try {
      const messages = batch.map(({ message }) => message);
      const outcomes = await atPoint("user.publish", () =>
        bridgeFor(this.#env, vault.userId).publish(messages),
      );
      const failed: number[] = [];
      for (const [at, { n, sending, message }] of batch.entries()) {
        if (message.msgId === undefined) continue;
        if (outcomes[at] === "stored") this.#acknowledged.set(n, sending);
        else failed.push(n);
      }
      await this.#finishUnreceipted(rows, failed);
      return [...failed, ...unlisted];
    } catch {
      return open.map(({ n }) => n);
    }
  }

  /** A message that is never receipted has done its part once a stream holds it. */
  async #finishUnreceipted(rows: OutgoingRow[], failed: readonly number[]): Promise<void> {
    const done = rows.filter((row) => !isReceipted(row.event_type) && !failed.includes(row.n));
    if (done.length === 0) return;
    await this.#serial.run(() =>
      atPoint("user.publish_noted", () =>
        this.#store.transaction(() => {
          for (const { n } of done) this.#store.updateOutgoing(n, { sealed: null, next_send_at: null });
        }),
      ),
    );
  }

  /**
   * How a row stands that is due to be sent again. The number in `Nats-Msg-Id` grows only past a sending that a
   * broker acknowledged: until then the same one is repeated, and the broker stores it once.
   */
  resending(row: OutgoingRow, now: number): { sendings: number; next_send_at: number } {
    const sendings = Math.max(row.sendings, this.#acknowledged.get(row.n) ?? 0);
    return { sendings, next_send_at: Math.min(now + resendPauseMs(sendings + 1), row.sealed_until) };
  }

  /** Forgets acknowledgements of rows that are no longer open. */
  keepOnly(open: readonly OutgoingRow[]): void {
    for (const n of this.#acknowledged.keys())
      if (!open.some((row) => row.n === n)) this.#acknowledged.delete(n);
  }
}
