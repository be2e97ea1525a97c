// API keys as stored: a hash of the secret, what the key may do, until when. The text of a key exists only in the
// answer to the call that made it.

import { atPoint } from "../../src/at-point.ts";
import type { Config } from "../../src/config.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import {
  API_KEY_ID_BYTES,
  API_KEY_SECRET_BYTES,
  type ApiKeyParts,
  formatApiKey,
  makeApiKeyParts,
} from "../../src/http/api-key.ts";
import { equalBytes } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { ApiKeyFacts, RpcResult, Scope } from "../../src/rpc.ts";
import { type Caller, type Ledger, refuse } from "./ledger.ts";

/** Keys that were not deleted, at most; one for each backend and each person is far below. */
export const MAX_API_KEYS = 1_000;
const BOOTSTRAP_NAME = "bootstrap";

export interface NewApiKey {
  name: string;
  scopes: Scope[];
  expiresInSeconds?: number;
}

/** A key as listed. */
export interface ApiKeyView {
  key_id: string;
  name: string;
  scopes: Scope[];
  created_at: string;
  expires_at?: string;
  /** The day (UTC) it was last used; the time of day is not kept. */
  last_used_day?: string;
  rotated_at?: string;
  /** Until when the secret before the last rotation works. */
  previous_valid_until?: string;
}

/** `api_key` is the key's text, shown once. */
export interface CreatedApiKey extends ApiKeyView {
  api_key: string;
}

interface KeyRow extends Record<string, SqlStorageValue> {
  key_id: string;
  name: string;
  scopes: string;
  secret_hash: string;
  previous_hash: string | null;
  previous_until: number | null;
  created_at: number;
  rotated_at: number | null;
  expires_at: number | null;
  last_used_day: string | null;
  deleted_at: number | null;
}

const NO_SUCH_KEY = refuse({ code: "not_found", detail: "there is no API key of this id" });
/** What an unknown key is compared with, so that its refusal takes as long as that of a known one. */
const NO_HASH = "0".repeat(64);

export class ApiKeys {
  readonly #sql: SqlStorage;
  readonly #config: Config;
  readonly #ledger: Ledger;

  constructor(sql: SqlStorage, config: Config, ledger: Ledger) {
    this.#sql = sql;
    this.#config = config;
    this.#ledger = ledger;
  }

  /** What a key may do; undefined when there is no such key or its secret is another. */
  async facts(keyId: string, secretHash: string): Promise<ApiKeyFacts | undefined> {
    if (this.#row(keyId) === undefined) await this.#seed(keyId);
    const now = Date.now();
    const row = this.#row(keyId);
    const isCurrent = sameHash(row?.secret_hash ?? NO_HASH, secretHash);
    const isPrevious = sameHash(row?.previous_hash ?? NO_HASH, secretHash);
    if (row === undefined || row.deleted_at !== null) return undefined;
    const graceEnds = row.previous_until ?? 0;
    if (!isCurrent && !(isPrevious && now < graceEnds)) return undefined;

    const today = toTimestamp(now).slice(0, 10);
    // One row a day and key: "is this key still used" needs no more, and a time would follow the backend's users.
    if (row.last_used_day !== today)
      atPoint("directory.key_used", () =>
        this.#sql.exec("UPDATE api_keys SET last_used_day = ? WHERE key_id = ?", today, keyId),
      );

    const expiresAt = Math.min(row.expires_at ?? Infinity, isCurrent ? Infinity : graceEnds);
    return {
      keyId,
      scopes: JSON.parse(row.scopes) as Scope[],
      ...(expiresAt === Infinity ? {} : { expiresAt }),
    };
  }

  /**
   * The first admin key comes from the deployment's secrets and is taken in when it is first used. An id that was
   * ever seen is not taken in again, so deleting or rotating that key holds. An operator who has lost every admin
   * key sets a new one with another id.
   */
  async #seed(keyId: string): Promise<void> {
    const [id, hash] = this.#config.BOOTSTRAP_API_KEY.split(":");
    if (id === undefined || hash === undefined || keyId !== id) return;
    await this.#ledger.change(() => {
      if (this.#row(id) !== undefined) return { answer: undefined };
      return {
        answer: undefined,
        entry: {
          operation: "api_key.created",
          status: "success",
          request: { origin: "deployment" },
          response: { key_id: id, scopes: "admin" },
        },
        write: () => this.#insert(id, BOOTSTRAP_NAME, ["admin"], hash, undefined),
      };
    });
  }

  /** Oldest first; deleted ones are in the audit chain only. */
  list(): ApiKeyView[] {
    return this.#sql
      .exec<KeyRow>("SELECT * FROM api_keys WHERE deleted_at IS NULL ORDER BY created_at, key_id")
      .toArray()
      .map(viewOf);
  }

  create(wanted: NewApiKey, caller: Caller): Promise<RpcResult<CreatedApiKey>> {
    const scopes = wanted.scopes.join(" ");
    return this.#ledger.command(caller, "api_key.created", { scopes }, () => {
      const [{ count }] = this.#sql
        .exec<{ count: number }>("SELECT count(*) AS count FROM api_keys WHERE deleted_at IS NULL")
        .toArray() as [{ count: number }];
      if (count >= MAX_API_KEYS) {
        return {
          answer: refuse({
            code: "conflict",
            detail: `there are ${MAX_API_KEYS} API keys; delete some first`,
          }),
        };
      }
      const now = Date.now();
      const parts = this.#newParts();
      const expiresAt =
        wanted.expiresInSeconds === undefined ? undefined : now + wanted.expiresInSeconds * 1_000;
      const value: CreatedApiKey = {
        key_id: parts.id,
        api_key: formatApiKey(parts),
        name: wanted.name,
        scopes: wanted.scopes,
        created_at: toTimestamp(now),
        ...(expiresAt === undefined ? {} : { expires_at: toTimestamp(expiresAt) }),
      };
      return {
        answer: { ok: true, value },
        entry: { operation: "api_key.created", status: "success", response: { key_id: parts.id, scopes } },
        write: () => this.#insert(parts.id, wanted.name, wanted.scopes, hashOf(parts), expiresAt, now),
      };
    });
  }

  /** Deletes a key, but never the last one that can make others. */
  remove(keyId: string, caller: Caller): Promise<RpcResult<{ key_id: string; status: "deleted" }>> {
    return this.#ledger.command(caller, "api_key.deleted", { deleted_key_id: keyId }, () => {
      const row = this.#row(keyId);
      if (row === undefined || row.deleted_at !== null) return { answer: NO_SUCH_KEY };
      const others = this.#sql
        .exec<KeyRow>(
          "SELECT * FROM api_keys WHERE deleted_at IS NULL AND key_id <> ? AND (expires_at IS NULL OR expires_at > ?)",
          keyId,
          Date.now(),
        )
        .toArray();
      if (isAdmin(row) && !others.some(isAdmin)) {
        return {
          answer: refuse({
            code: "conflict",
            detail: "this is the last key with the scope admin; make another one first",
          }),
        };
      }
      return {
        answer: { ok: true, value: { key_id: keyId, status: "deleted" } },
        entry: { operation: "api_key.deleted", status: "success" },
        write: () =>
          this.#sql.exec(
            "UPDATE api_keys SET deleted_at = ?, previous_hash = NULL, previous_until = NULL WHERE key_id = ?",
            Date.now(),
            keyId,
          ),
      };
    });
  }

  /**
   * Gives a key a new secret. The one before works `graceSeconds` longer; a secret still in its grace from an
   * earlier rotation stops at once.
   */
  rotate(keyId: string, graceSeconds: number, caller: Caller): Promise<RpcResult<CreatedApiKey>> {
    const summary = { rotated_key_id: keyId, grace_seconds: graceSeconds };
    return this.#ledger.command(caller, "api_key.rotated", summary, () => {
      const row = this.#row(keyId);
      if (row === undefined || row.deleted_at !== null) return { answer: NO_SUCH_KEY };
      const now = Date.now();
      const parts = { ...this.#newParts(), id: keyId };
      const rotated: KeyRow = {
        ...row,
        secret_hash: hashOf(parts),
        previous_hash: graceSeconds === 0 ? null : row.secret_hash,
        previous_until: graceSeconds === 0 ? null : now + graceSeconds * 1_000,
        rotated_at: now,
      };
      return {
        answer: { ok: true, value: { ...viewOf(rotated), api_key: formatApiKey(parts) } },
        entry: { operation: "api_key.rotated", status: "success" },
        write: () =>
          this.#sql.exec(
            `UPDATE api_keys SET secret_hash = ?, previous_hash = ?, previous_until = ?, rotated_at = ?
             WHERE key_id = ?`,
            rotated.secret_hash,
            rotated.previous_hash,
            rotated.previous_until,
            rotated.rotated_at,
            keyId,
          ),
      };
    });
  }

  #newParts(): ApiKeyParts {
    return makeApiKeyParts(
      this.#config.ENVIRONMENT,
      randomBytes(API_KEY_ID_BYTES),
      randomBytes(API_KEY_SECRET_BYTES),
    );
  }

  #insert(
    keyId: string,
    name: string,
    scopes: Scope[],
    secretHash: string,
    expiresAt: number | undefined,
    now = Date.now(),
  ): void {
    this.#sql.exec(
      "INSERT INTO api_keys (key_id, name, scopes, secret_hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
      keyId,
      name,
      JSON.stringify(scopes),
      secretHash,
      now,
      expiresAt ?? null,
    );
  }

  #row(keyId: string): KeyRow | undefined {
    return this.#sql.exec<KeyRow>("SELECT * FROM api_keys WHERE key_id = ?", keyId).toArray()[0];
  }
}

const isAdmin = (row: KeyRow): boolean => (JSON.parse(row.scopes) as Scope[]).includes("admin");

const sameHash = (a: string, b: string): boolean => equalBytes(utf8(a), utf8(b));

/** What is stored of a key: SHA-256 of the secret part's text, hex. */
const hashOf = ({ secret }: ApiKeyParts): string =>
  Array.from(sha256(utf8(secret)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function viewOf(row: KeyRow): ApiKeyView {
  const graceLasts = row.previous_until !== null && row.previous_until > Date.now();
  return {
    key_id: row.key_id,
    name: row.name,
    scopes: JSON.parse(row.scopes) as Scope[],
    created_at: toTimestamp(row.created_at),
    ...(row.expires_at === null ? {} : { expires_at: toTimestamp(row.expires_at) }),
    ...(row.last_used_day === null ? {} : { last_used_day: row.last_used_day }),
    ...(row.rotated_at === null ? {} : { rotated_at: toTimestamp(row.rotated_at) }),
    ...(graceLasts ? { previous_valid_until: toTimestamp(row.previous_until!) } : {}),
  };
}
