// Webhook endpoints as configured: where, what for, with which secrets. They live here rather than in the journal
// because they are the operator's settings: each change belongs on the service's own chain, in one transaction with
// its entry, and every journal shard must see the same. How far an endpoint has got, and what failed, is the shards'
// own; they ask for this list at most every 30 s, and at once after a change.
//
// The secret that callback URLs are signed with is a row of its own, without a URL. It is made when it is first
// needed and shown, as any secret, when it is rotated.

import type { Config } from "../../src/config.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { RpcResult, WebhookEndpoint } from "../../src/rpc.ts";
import { newSecret } from "../../src/webhooks/signature.ts";
import { checkTarget, targetPolicy } from "../../src/webhooks/target.ts";
import { type Caller, type Ledger, refuse } from "./ledger.ts";

/** Endpoints per deployment. Each reads the whole journal. */
export const MAX_WEBHOOKS = 50;
/** How long the secret before a rotation signs beside the new one. */
export const ROTATION_OVERLAP_MS = 24 * 3_600_000;
/** The id of the row that callback URLs share. */
export const CALLBACK_ID = "callback";

/** Why an endpoint is disabled: someone asked for it, it answered 410, or it failed for days. */
export type DisabledReason = "requested" | "gone" | "failing";

export interface NewWebhook {
  url: string;
  /** Absent: every type. */
  types?: string[];
  description?: string;
}

/** What a PATCH changes; null takes a member away. */
export interface WebhookChange {
  url?: string;
  types?: string[] | null;
  description?: string | null;
  status?: "enabled" | "disabled";
}

export interface WebhookView {
  webhook_id: string;
  url: string;
  types?: string[];
  description?: string;
  status: "enabled" | "disabled";
  disabled_reason?: DisabledReason;
  disabled_at?: string;
  created_at: string;
  secret_rotated_at?: string;
  /** Until when deliveries are signed with the secret before the last rotation, too. */
  previous_secret_valid_until?: string;
}

/** `secret` is shown once. */
export interface CreatedWebhook extends WebhookView {
  secret: string;
}

export interface RotatedSecret {
  webhook_id: string;
  secret: string;
  previous_secret_valid_until?: string;
}

/** What `webhooks.content` holds, wrapped: a URL may carry a token. */
interface Content {
  url: string;
  description?: string;
}

interface WebhookRow extends Record<string, SqlStorageValue> {
  webhook_id: string;
  content: ArrayBuffer;
  types: string | null;
  secret: ArrayBuffer;
  previous_secret: ArrayBuffer | null;
  previous_until: number | null;
  disabled_reason: DisabledReason | null;
  disabled_at: number | null;
  epoch: number;
  created_at: number;
  rotated_at: number | null;
}

const NO_SUCH_WEBHOOK = refuse({ code: "not_found", detail: "there is no webhook of this id" });

export class Webhooks {
  readonly #sql: SqlStorage;
  readonly #config: Config;
  readonly #wrapper: Wrapper;
  readonly #ledger: Ledger;

  constructor(sql: SqlStorage, config: Config, wrapper: Wrapper, ledger: Ledger) {
    this.#sql = sql;
    this.#config = config;
    this.#wrapper = wrapper;
    this.#ledger = ledger;
  }

  /** Oldest first. */
  list(): WebhookView[] {
    return this.#rows().map((row) => this.#view(row));
  }

  /** What the journal works with: every endpoint, and the secrets of callback URLs. */
  async endpoints(): Promise<WebhookEndpoint[]> {
    if (this.#row(CALLBACK_ID) === undefined) await this.#makeCallbackSecret();
    return this.#sql
      .exec<WebhookRow>("SELECT * FROM webhooks ORDER BY created_at, webhook_id")
      .toArray()
      .map((row) => {
        const { url } = this.#content(row);
        const previous = this.#previousSecret(row);
        return {
          webhookId: row.webhook_id,
          ...(row.webhook_id === CALLBACK_ID ? {} : { url }),
          ...(row.types === null ? {} : { types: JSON.parse(row.types) as string[] }),
          enabled: row.disabled_at === null,
          epoch: row.epoch,
          createdAt: row.created_at,
          secrets: [{ secret: this.#secret(row.webhook_id, "secret", row.secret) }, ...previous],
        };
      });
  }

  create(wanted: NewWebhook, caller: Caller): Promise<RpcResult<CreatedWebhook>> {
    return this.#ledger.command(caller, "webhook.created", {}, () => {
      const refused = this.#refusedUrl(wanted.url);
      if (refused !== undefined) return { answer: refused };
      if (this.#rows().length >= MAX_WEBHOOKS) {
        return {
          answer: refuse({
            code: "conflict",
            detail: `there are ${MAX_WEBHOOKS} webhooks; delete one first`,
          }),
        };
      }
      const webhookId = newEventId();
      const secret = newSecret();
      const { url, description, types } = wanted;
      const row = this.#newRow(
        webhookId,
        { url, ...(description === undefined ? {} : { description }) },
        secret,
        types,
      );
      return {
        answer: { ok: true, value: { ...this.#view(row), secret } },
        entry: { operation: "webhook.created", status: "success", response: { webhook_id: webhookId } },
        write: () => this.#put(row),
      };
    });
  }

  change(webhookId: string, change: WebhookChange, caller: Caller): Promise<RpcResult<WebhookView>> {
    return this.#ledger.command(caller, "webhook.changed", { webhook_id: webhookId }, () => {
      const row = this.#endpointRow(webhookId);
      if (row === undefined) return { answer: NO_SUCH_WEBHOOK };
      const refused = change.url === undefined ? undefined : this.#refusedUrl(change.url);
      if (refused !== undefined) return { answer: refused };
      const content = this.#content(row);
      const { description = content.description } = change;
      const changed: WebhookRow = { ...row };
      if (change.url !== undefined || change.description !== undefined) {
        const next: Content = {
          url: change.url ?? content.url,
          ...(description === undefined || description === null ? {} : { description }),
        };
        changed.content = this.#wrap(next, "content", webhookId);
      }
      if (change.types !== undefined)
        changed.types = change.types === null ? null : JSON.stringify(change.types);
      if (change.status === "enabled" && row.disabled_at !== null) {
        changed.disabled_at = null;
        changed.disabled_reason = null;
        changed.epoch = row.epoch + 1;
      } else if (change.status === "disabled" && row.disabled_at === null) {
        changed.disabled_at = Date.now();
        changed.disabled_reason = "requested";
      }
      return {
        answer: { ok: true, value: this.#view(changed) },
        entry: {
          operation: "webhook.changed",
          status: "success",
          response: { changed: Object.keys(change).sort().join(" ") },
        },
        write: () => this.#put(changed),
      };
    });
  }

  remove(webhookId: string, caller: Caller): Promise<RpcResult<{ webhook_id: string; status: "deleted" }>> {
    return this.#ledger.command(caller, "webhook.deleted", { webhook_id: webhookId }, () => {
      if (this.#endpointRow(webhookId) === undefined) return { answer: NO_SUCH_WEBHOOK };
      return {
        answer: { ok: true, value: { webhook_id: webhookId, status: "deleted" } },
        entry: { operation: "webhook.deleted", status: "success" },
        write: () => this.#sql.exec("DELETE FROM webhooks WHERE webhook_id = ?", webhookId),
      };
    });
  }

  /** A new secret; the one before signs beside it for a day. A secret still in its day from before stops at once. */
  rotate(webhookId: string, caller: Caller): Promise<RpcResult<RotatedSecret>> {
    return this.#ledger.command(caller, "webhook.secret_rotated", { webhook_id: webhookId }, () => {
      const row = this.#row(webhookId);
      if (row === undefined && webhookId !== CALLBACK_ID) return { answer: NO_SUCH_WEBHOOK };
      const now = Date.now();
      const secret = newSecret();
      const rotated: WebhookRow =
        row === undefined
          ? this.#newRow(CALLBACK_ID, { url: "" }, secret)
          : {
              ...row,
              secret: this.#wrap(secret, "secret", webhookId),
              // Wrapped for its own column: a value moved elsewhere does not open.
              previous_secret: this.#wrap(
                this.#secret(webhookId, "secret", row.secret),
                "previous_secret",
                webhookId,
              ),
              previous_until: now + ROTATION_OVERLAP_MS,
              rotated_at: now,
            };
      const until = rotated.previous_until;
      return {
        answer: {
          ok: true,
          value: {
            webhook_id: webhookId,
            secret,
            ...(until === null ? {} : { previous_secret_valid_until: toTimestamp(until) }),
          },
        },
        entry: { operation: "webhook.secret_rotated", status: "success" },
        write: () => this.#put(rotated),
      };
    });
  }

  /**
   * What a journal shard has decided. `epoch` is the enabling it has seen: a report about an earlier one comes too
   * late and changes nothing, as does a second one.
   */
  disable(webhookId: string, epoch: number, reason: "gone" | "failing"): Promise<void> {
    return this.#ledger.change<void>(() => {
      const row = this.#endpointRow(webhookId);
      if (row === undefined || row.disabled_at !== null || row.epoch !== epoch) return { answer: undefined };
      return {
        answer: undefined,
        entry: {
          operation: "webhook.disabled",
          status: "success",
          request: { webhook_id: webhookId, reason },
        },
        write: () => this.#put({ ...row, disabled_at: Date.now(), disabled_reason: reason }),
      };
    });
  }

  /**
   * Puts a command on the chain that the journal carries out (test, redelivery), and returns the command's id: the
   * same one for a repetition with the same Idempotency-Key, so that the journal can tell.
   */
  note(
    operation: "webhook.tested" | "webhook.redelivered",
    request: { webhook_id: string; event_id?: string; from?: string; to?: string },
    caller: Caller,
  ): Promise<RpcResult<{ commandId: string }>> {
    return this.#ledger.command(caller, operation, request, () => {
      if (this.#row(request.webhook_id) === undefined) return { answer: NO_SUCH_WEBHOOK };
      return {
        answer: { ok: true, value: { commandId: newEventId() } },
        entry: { operation, status: "success" },
      };
    });
  }

  #makeCallbackSecret(): Promise<void> {
    return this.#ledger.change<void>(() => {
      if (this.#row(CALLBACK_ID) !== undefined) return { answer: undefined };
      return {
        answer: undefined,
        entry: {
          operation: "webhook.created",
          status: "success",
          request: { origin: "deployment" },
          response: { webhook_id: CALLBACK_ID },
        },
        write: () => this.#put(this.#newRow(CALLBACK_ID, { url: "" }, newSecret())),
      };
    });
  }

  #refusedUrl(url: string) {
    const checked = checkTarget(url, targetPolicy(this.#config));
    return checked.ok
      ? undefined
      : refuse({
          code: "invalid_request",
          detail: `url ${checked.error}`,
          details: [{ path: "url", message: checked.error }],
        });
  }

  #newRow(webhookId: string, content: Content, secret: string, types?: string[]): WebhookRow {
    return {
      webhook_id: webhookId,
      content: this.#wrap(content, "content", webhookId),
      types: types === undefined ? null : JSON.stringify(types),
      secret: this.#wrap(secret, "secret", webhookId),
      previous_secret: null,
      previous_until: null,
      disabled_reason: null,
      disabled_at: null,
      epoch: 1,
      created_at: Date.now(),
      rotated_at: null,
    };
  }

  #put(row: WebhookRow): void {
    const names = Object.keys(row);
    this.#sql.exec(
      `INSERT OR REPLACE INTO webhooks (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
      ...Object.values(row),
    );
  }

  /** Endpoints only. */
  #rows(): WebhookRow[] {
    return this.#sql
      .exec<WebhookRow>(
        "SELECT * FROM webhooks WHERE webhook_id <> ? ORDER BY created_at, webhook_id",
        CALLBACK_ID,
      )
      .toArray();
  }

  #row(webhookId: string): WebhookRow | undefined {
    return this.#sql.exec<WebhookRow>("SELECT * FROM webhooks WHERE webhook_id = ?", webhookId).toArray()[0];
  }

  #endpointRow(webhookId: string): WebhookRow | undefined {
    return webhookId === CALLBACK_ID ? undefined : this.#row(webhookId);
  }

  #wrap(value: unknown, column: string, webhookId: string): ArrayBuffer {
    return this.#wrapper.wrap(value, place(column, webhookId)).buffer;
  }

  #content(row: WebhookRow): Content {
    const place_ = place("content", row.webhook_id);
    return this.#wrapper.unwrap(new Uint8Array(row.content), place_) as unknown as Content;
  }

  #secret(webhookId: string, column: "secret" | "previous_secret", stored: ArrayBuffer): string {
    return this.#wrapper.unwrap(new Uint8Array(stored), place(column, webhookId)) as string;
  }

  #previousSecret(row: WebhookRow): { secret: string; until: number }[] {
    const { previous_secret: stored, previous_until: until } = row;
    if (stored === null || until === null || until <= Date.now()) return [];
    return [{ secret: this.#secret(row.webhook_id, "previous_secret", stored), until }];
  }

  #view(row: WebhookRow): WebhookView {
    const { url, description } = this.#content(row);
    const overlapLasts = row.previous_until !== null && row.previous_until > Date.now();
    return {
      webhook_id: row.webhook_id,
      url,
      ...(row.types === null ? {} : { types: JSON.parse(row.types) as string[] }),
      ...(description === undefined ? {} : { description }),
      status: row.disabled_at === null ? "enabled" : "disabled",
      ...(row.disabled_reason === null ? {} : { disabled_reason: row.disabled_reason }),
      ...(row.disabled_at === null ? {} : { disabled_at: toTimestamp(row.disabled_at) }),
      created_at: toTimestamp(row.created_at),
      ...(row.rotated_at === null ? {} : { secret_rotated_at: toTimestamp(row.rotated_at) }),
      ...(overlapLasts ? { previous_secret_valid_until: toTimestamp(row.previous_until!) } : {}),
    };
  }

  /** Forgets secrets whose day is over. */
  sweep(now: number): void {
    this.#sql.exec(
      "UPDATE webhooks SET previous_secret = NULL, previous_until = NULL WHERE previous_until <= ?",
      now,
    );
  }
}

const place = (column: string, webhookId: string): string => `webhooks/${column}/${webhookId}`;
