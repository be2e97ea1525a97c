// The one way anything in the Directory changes: alone, signed onto the service's own chain, and written in one
// transaction with its entries and, where the client sent an Idempotency-Key, with its answer.
//
// A crash before the transaction leaves nothing: the client repeats the call. A crash after it leaves everything:
// the repeated call finds the stored answer, or the change already made.

import { atPoint } from "../../src/at-point.ts";
import { signEntry } from "../../src/audit/chain.ts";
import { LEAF_SALT_BYTES } from "../../src/audit/leaf.ts";
import type { Config } from "../../src/config.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import { type AuditEntry, CHAIN_START } from "../../src/protocol/audit.ts";
import { newRoutedId, parseRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { isRepetition } from "../../src/requests/repetition.ts";
import type { ApiFault, Idempotency, Page, RpcResult } from "../../src/rpc.ts";
import type { Serial } from "../serial.ts";

/** How long the answer to a creating call can be had again. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

/** Who calls: the API key, and what makes a repetition recognisable. */
export interface Caller {
  keyId: string;
  idempotency?: Idempotency;
}

export interface AuditDraft {
  operation: string;
  status: AuditEntry["status"];
  contractId?: string;
  request?: AuditEntry["request_summary"];
  response?: AuditEntry["response_summary"];
}

/** What a step has decided. Without an entry nothing changes and `write` is not called. */
export interface Decision<T> {
  answer: T;
  entry?: AuditDraft;
  /** The step's rows. Synchronous: nothing can come between what was decided and what is written. */
  write?: () => void;
}

export const refuse = (error: ApiFault): { ok: false; error: ApiFault } => ({ ok: false, error });

export class Ledger {
  readonly #storage: DurableObjectStorage;
  readonly #config: Config;
  readonly #wrapper: Wrapper;
  readonly #serial: Serial;
  readonly #changed: () => void;

  /** `changed` is called in the same turn as each transaction, so that what it stores commits with it. */
  constructor(
    storage: DurableObjectStorage,
    config: Config,
    wrapper: Wrapper,
    serial: Serial,
    changed: () => void,
  ) {
    this.#storage = storage;
    this.#config = config;
    this.#wrapper = wrapper;
    this.#serial = serial;
    this.#changed = changed;
  }

  /** Runs one step: decide on what is stored now, sign, write. */
  change<T>(decide: () => Decision<T> | Promise<Decision<T>>): Promise<T> {
    return this.#serial.run(async () => {
      const { answer, entry, write } = await decide();
      if (entry === undefined) return answer;
      const append = await this.#sign(entry);
      atPoint("directory.commit", () => {
        this.#storage.transactionSync(() => {
          write?.();
          append();
        });
        this.#changed();
      });
      return answer;
    });
  }

  /**
   * As `change`, for what an API key asks for. A refusal leaves an entry too. With an Idempotency-Key, a repetition
   * gets the first answer and changes nothing; the same key with another body is a conflict.
   */
  command<T>(
    caller: Caller,
    operation: string,
    request: AuditEntry["request_summary"],
    decide: () => Decision<RpcResult<T>> | Promise<Decision<RpcResult<T>>>,
  ): Promise<RpcResult<T>> {
    const { keyId, idempotency } = caller;
    return this.change<RpcResult<T>>(async () => {
      if (idempotency !== undefined) {
        const earlier = this.#earlierAnswer<T>(keyId, idempotency);
        if (earlier !== undefined) return { answer: earlier };
      }
      const { answer, entry, write } = await decide();
      const summary = { key_id: keyId, ...request, ...entry?.request };
      if (!answer.ok) {
        return {
          answer,
          entry: { operation, status: "denied", request: summary, response: { code: answer.error.code } },
        };
      }
      if (entry === undefined) return { answer };
      return {
        answer,
        entry: { ...entry, request: summary },
        write: () => {
          write?.();
          if (idempotency !== undefined) this.#keepAnswer(keyId, idempotency, answer.value);
        },
      };
    });
  }

  #earlierAnswer<T>(keyId: string, idempotency: Idempotency): RpcResult<T> | undefined {
    const { key } = idempotency;
    const [row] = this.#storage.sql
      .exec<{ digest: string; answer: ArrayBuffer }>(
        "SELECT digest, answer FROM idempotency WHERE key_id = ? AND idempotency_key = ? AND kept_until > ?",
        keyId,
        key,
        Date.now(),
      )
      .toArray();
    if (row === undefined) return undefined;
    if (!isRepetition(row.digest, idempotency)) {
      return refuse({
        code: "conflict",
        detail: "this Idempotency-Key was used for another call in the last 24 hours; use a new one",
      });
    }
    const value = this.#wrapper.unwrap(new Uint8Array(row.answer), answerPlace(keyId, key));
    return { ok: true, value: value as T };
  }

  #keepAnswer(keyId: string, { key, digest }: Idempotency, value: unknown): void {
    this.#storage.sql.exec(
      "INSERT OR REPLACE INTO idempotency (key_id, idempotency_key, digest, answer, kept_until) VALUES (?, ?, ?, ?, ?)",
      keyId,
      key,
      digest,
      this.#wrapper.wrap(value, answerPlace(keyId, key)),
      Date.now() + IDEMPOTENCY_MS,
    );
  }

  /** Signs the chain's next entry; the function returned writes it. Only called by the one step that runs. */
  async #sign(draft: AuditDraft): Promise<() => void> {
    const [last] = this.#storage.sql
      .exec<{ n: number; entry: string }>("SELECT n, entry FROM audit ORDER BY n DESC LIMIT 1")
      .toArray();
    const n = (last?.n ?? 0) + 1;
    const previous = last === undefined ? CHAIN_START : (JSON.parse(last.entry) as AuditEntry).event_hash;
    const entry = await signEntry(
      this.#config.signingKey,
      {
        event_id: newRoutedId(this.#config.serviceId, n),
        timestamp: toTimestamp(Date.now()),
        service_id: this.#config.serviceId,
        ...(draft.contractId === undefined ? {} : { contract_id: draft.contractId }),
        operation: draft.operation,
        status: draft.status,
        request_summary: draft.request ?? {},
        response_summary: draft.response ?? {},
      },
      previous,
    );
    return () =>
      this.#storage.sql.exec(
        "INSERT INTO audit (n, operation, entry, salt) VALUES (?, ?, ?, ?)",
        n,
        draft.operation,
        JSON.stringify(entry),
        randomBytes(LEAF_SALT_BYTES).buffer,
      );
  }

  /** The chain in order, from the entry behind `after`. */
  entries(query: { after?: string; operation?: string; limit: number }): RpcResult<Page<AuditEntry>> {
    let after = 0;
    if (query.after !== undefined) {
      const place = parseRoutedId(query.after);
      if (place?.userId !== this.#config.serviceId || !this.#holds(place.row, query.after)) {
        return refuse({
          code: "invalid_request",
          detail: "`after` is not the event_id of an entry of this chain",
          details: [{ path: "after", message: "must be the event_id of an entry of this chain" }],
        });
      }
      after = place.row;
    }
    const items = this.#storage.sql
      .exec<{ entry: string }>(
        `SELECT entry FROM audit WHERE n > ?${query.operation === undefined ? "" : " AND operation = ?"}
         ORDER BY n LIMIT ?`,
        ...[after, ...(query.operation === undefined ? [] : [query.operation]), query.limit + 1],
      )
      .toArray()
      .map(({ entry }) => JSON.parse(entry) as AuditEntry);
    const page = items.slice(0, query.limit);
    return {
      ok: true,
      value: { items: page, ...(items.length > page.length ? { nextCursor: page.at(-1)!.event_id } : {}) },
    };
  }

  /** Whether the chain has an entry of an operation that names an id. Reads every entry of that operation. */
  hasNoted(operation: string, id: string): boolean {
    return (
      this.#storage.sql
        .exec("SELECT 1 FROM audit WHERE operation = ? AND instr(entry, ?) > 0 LIMIT 1", operation, id)
        .toArray().length > 0
    );
  }

  #holds(n: number, eventId: string): boolean {
    const [row] = this.#storage.sql
      .exec<{ entry: string }>("SELECT entry FROM audit WHERE n = ?", n)
      .toArray();
    return row !== undefined && (JSON.parse(row.entry) as AuditEntry).event_id === eventId;
  }
}

const answerPlace = (keyId: string, key: string): string => `idempotency/answer/${keyId}/${key}`;
