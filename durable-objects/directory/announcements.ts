// Events about the service itself, on their way to the Journal. Written in the transaction of what they tell, deleted
// when the Journal has them: a crash in between sends the same event again, and the Journal knows it by its id.

import { newEventId } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { JournalForUsers } from "../../src/rpc.ts";
import type { EventData, WebhookEvent } from "../../src/webhooks/event.ts";

/** Sent at once; a change of the domain is rare, so this is never many. */
const BATCH = 100;

export class Announcements {
  readonly #sql: SqlStorage;
  readonly #journal: () => Pick<JournalForUsers, "append">;

  constructor(sql: SqlStorage, journal: () => Pick<JournalForUsers, "append">) {
    this.#sql = sql;
    this.#journal = journal;
  }

  /** Inside a step's `write`. */
  add(type: string, now: number, data: EventData): void {
    const event: WebhookEvent = { type, timestamp: toTimestamp(now), event_id: newEventId(), data };
    this.#sql.exec(
      "INSERT INTO announcements (event_id, at, body) VALUES (?, ?, ?)",
      event.event_id,
      now,
      JSON.stringify(event),
    );
  }

  isBehind(): boolean {
    return this.#sql.exec("SELECT 1 FROM announcements LIMIT 1").toArray().length > 0;
  }

  /** Never throws: what stays is sent by the next alarm. */
  async send(): Promise<void> {
    const rows = this.#sql
      .exec<{ event_id: string; body: string }>(
        "SELECT event_id, body FROM announcements ORDER BY at, event_id LIMIT ?",
        BATCH,
      )
      .toArray();
    if (rows.length === 0) return;
    try {
      await this.#journal().append(rows.map(({ body }) => ({ event: JSON.parse(body) as WebhookEvent })));
    } catch {
      return;
    }
    for (const { event_id } of rows) this.#sql.exec("DELETE FROM announcements WHERE event_id = ?", event_id);
  }
}
