// Which contracts there are, over all users. Fed by the users' objects, never the source of truth: a row is
// written before `contract.accepted` leaves and brought up to date in batches, and any of it can be sent again.

import { atPoint } from "../../src/at-point.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import type { ContractIndexRow, ContractView, RpcResult } from "../../src/rpc.ts";
import { cursorFault, decodeCursor, encodeCursor } from "./cursor.ts";
import { refuse } from "./ledger.ts";

export interface ContractQuery {
  status?: string;
  userId?: string;
  offeringId?: string;
  limit: number;
  cursor?: string;
  offset?: number;
}

export interface ContractPage {
  items: ContractView[];
  nextCursor?: string;
  /** Over all pages. Counted at each call, so it costs a read of each matching row. */
  totalCount: number;
}

interface IndexRow extends Record<string, SqlStorageValue> {
  contract_id: string;
  created_at: number;
  view: ArrayBuffer;
}

export class ContractIndex {
  readonly #storage: DurableObjectStorage;
  readonly #wrapper: Wrapper;

  constructor(storage: DurableObjectStorage, wrapper: Wrapper) {
    this.#storage = storage;
    this.#wrapper = wrapper;
  }

  /** Batches may come twice and out of order: only a newer version counts. */
  put(rows: readonly ContractIndexRow[]): void {
    atPoint("directory.index", () =>
      this.#storage.transactionSync(() => {
        for (const row of rows) this.#put(row);
      }),
    );
  }

  #put(row: ContractIndexRow): void {
    this.#storage.sql.exec(
      `INSERT INTO contracts (contract_id, user_id, offering_id, status, created_at, version, view, nats_key)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (contract_id) DO UPDATE SET
         status = excluded.status, version = excluded.version, view = excluded.view,
         nats_key = excluded.nats_key
       WHERE excluded.version > version AND excluded.user_id = user_id`,
      row.contractId,
      row.userId,
      row.offeringId,
      row.status,
      row.createdAt,
      row.version,
      this.#wrapper.wrap(row.view, place(row.contractId)),
      row.natsKey ?? null,
    );
  }

  userOf(contractId: string): string | undefined {
    return this.#storage.sql
      .exec<{ user_id: string }>("SELECT user_id FROM contracts WHERE contract_id = ?", contractId)
      .toArray()[0]?.user_id;
  }

  /** Distinct, in order, behind `after`. */
  userIds(after: string, limit: number): string[] {
    return this.#storage.sql
      .exec<{ user_id: string }>(
        "SELECT DISTINCT user_id FROM contracts WHERE user_id > ? ORDER BY user_id LIMIT ?",
        after,
        limit,
      )
      .toArray()
      .map((row) => row.user_id);
  }

  ofUser(userId: string): string[] {
    return this.#storage.sql
      .exec<{ contract_id: string }>("SELECT contract_id FROM contracts WHERE user_id = ?", userId)
      .toArray()
      .map(({ contract_id }) => contract_id);
  }

  /** Called in a transaction. */
  forget(userId: string): void {
    this.#storage.sql.exec("DELETE FROM contracts WHERE user_id = ?", userId);
  }

  /** Newest first. */
  list(query: ContractQuery): RpcResult<ContractPage> {
    const from = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    if (query.cursor !== undefined && from === undefined) return refuse(cursorFault);
    const filters = (
      [
        ["status = ?", query.status],
        ["user_id = ?", query.userId],
        ["offering_id = ?", query.offeringId],
      ] as const
    ).filter(([, value]) => value !== undefined);
    const where = ["1", ...filters.map(([condition]) => condition)].join(" AND ");
    const values = filters.map(([, value]) => value!);
    const rows = this.#storage.sql
      .exec<IndexRow>(
        `SELECT contract_id, created_at, view FROM contracts
         WHERE ${where}${from === undefined ? "" : " AND (created_at, contract_id) < (?, ?)"}
         ORDER BY created_at DESC, contract_id DESC LIMIT ? OFFSET ?`,
        ...values,
        ...(from === undefined ? [] : [from.createdAt, from.id]),
        query.limit + 1,
        query.offset ?? 0,
      )
      .toArray();
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    const totalCount = this.#storage.sql
      .exec<{ count: number }>(`SELECT count(*) AS count FROM contracts WHERE ${where}`, ...values)
      .one().count;
    return {
      ok: true,
      value: {
        items: page.map((row) => this.#view(row)),
        ...(rows.length > page.length && last !== undefined
          ? { nextCursor: encodeCursor({ createdAt: last.created_at, id: last.contract_id }) }
          : {}),
        totalCount,
      },
    };
  }

  #view(row: IndexRow): ContractView {
    return this.#wrapper.unwrap(new Uint8Array(row.view), place(row.contract_id)) as unknown as ContractView;
  }
}

const place = (contractId: string): string => `contracts/view/${contractId}`;
