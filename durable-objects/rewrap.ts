// Bringing what an object has wrapped under the newest VAULT_KEK, a bounded batch at a time. What is left to do is
// read from the values themselves, each of which names its key, and a value written meanwhile is under the newest key
// already. The position is kept in memory alone: after a crash the walk begins anew, past what is done.

import { HEADER_BYTES, UnwrapFailed, type Wrapper } from "../src/crypto/wrap.ts";
import type { RewrapBatch } from "../src/rpc.ts";

/** Values of one batch: some milliseconds of one transaction. */
export const BATCH_VALUES = 100;
/** And their bytes; one value at least is taken however large it is. */
const BATCH_BYTES = 1_000_000;

/** A column of wrapped values. */
export interface WrappedColumn {
  table: string;
  column: string;
  /** The table's primary key, in order. */
  keys: readonly string[];
  /** What follows `table/column/` in a value's place; the keys, unless said otherwise. */
  placeOf?: readonly string[];
}

type Row = Record<string, SqlStorageValue>;

/** Walks over an object's columns once. */
export class Rewrapper {
  readonly #storage: DurableObjectStorage;
  readonly #wrapper: Wrapper;
  readonly #columns: readonly WrappedColumn[];
  /** The column under way, and the key of the last row of it that was looked at. */
  #at = 0;
  #after: SqlStorageValue[] | undefined;

  constructor(storage: DurableObjectStorage, wrapper: Wrapper, columns: readonly WrappedColumn[]) {
    this.#storage = storage;
    this.#wrapper = wrapper;
    this.#columns = columns;
  }

  /**
   * Rewraps one batch in one transaction. `done` when the walk is over: then no value under an older key is left but
   * those that do not open, which are counted in `damaged` and stay as they are. The next batch begins anew.
   */
  batch(): RewrapBatch {
    try {
      return this.#batch();
    } catch (error) {
      // The transaction is undone; the position would be past it.
      this.#begin();
      throw error;
    }
  }

  #begin(): void {
    this.#at = 0;
    this.#after = undefined;
  }

  #batch(): RewrapBatch {
    let [values, bytes, damaged] = [0, 0, 0];
    this.#storage.transactionSync(() => {
      while (this.#at < this.#columns.length) {
        const column = this.#columns[this.#at]!;
        const rows = this.#rows(column, BATCH_VALUES - values);
        for (const row of rows) {
          if (values > 0 && bytes >= BATCH_BYTES) return;
          const stored = new Uint8Array(row[column.column] as ArrayBuffer);
          if (!this.#rewrap(column, row, stored)) damaged += 1;
          values += 1;
          bytes += stored.length;
          this.#after = column.keys.map((key) => row[key]!);
        }
        if (values >= BATCH_VALUES) return;
        this.#at += 1;
        this.#after = undefined;
      }
    });
    const done = this.#at >= this.#columns.length;
    if (done) this.#begin();
    return { done, damaged };
  }

  #rows({ table, column, keys, placeOf = keys }: WrappedColumn, limit: number): Row[] {
    const headers = this.#wrapper.olderHeaders;
    if (headers.length === 0) return [];
    const key = keys.join(", ");
    const marks = (values: readonly unknown[]) => values.map(() => "?").join(", ");
    return this.#storage.sql
      .exec<Row>(
        `SELECT ${[...new Set([...keys, ...placeOf, column])].join(", ")} FROM ${table}
         WHERE substr(${column}, 1, ${HEADER_BYTES}) IN (${marks(headers)})
         ${this.#after === undefined ? "" : `AND (${key}) > (${marks(keys)})`}
         ORDER BY ${key} LIMIT ?`,
        ...headers.map((header) => header.buffer),
        ...(this.#after ?? []),
        limit,
      )
      .toArray();
  }

  /** False when the value does not open. */
  #rewrap({ table, column, keys, placeOf = keys }: WrappedColumn, row: Row, stored: Uint8Array): boolean {
    try {
      const place = [table, column, ...placeOf.map((name) => String(row[name]))].join("/");
      this.#storage.sql.exec(
        `UPDATE ${table} SET ${column} = ? WHERE ${keys.map((key) => `${key} = ?`).join(" AND ")}`,
        this.#wrapper.rewrap(stored, place).buffer,
        ...keys.map((key) => row[key]!),
      );
      return true;
    } catch (error) {
      if (error instanceof UnwrapFailed) return false;
      throw error;
    }
  }
}
