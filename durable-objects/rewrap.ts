// Bringing what an object has wrapped under the newest VAULT_KEK, a bounded batch at a time. What is left to do is
// read from the values themselves, each of which names its key: there is no position to lose, a crash between two
// batches costs nothing, and a value written meanwhile is under the newest key already.

import { HEADER_BYTES, UnwrapFailed, type Wrapper } from "../src/crypto/wrap.ts";
import type { RewrapBatch } from "../src/rpc.ts";

/** Values of one batch: some milliseconds of one transaction. */
export const BATCH_VALUES = 100;
/** And their bytes; one value at least is taken however large it is. */
const BATCH_BYTES = 1_000_000;

/** A column of wrapped values, and what names a row of it. */
export interface WrappedColumn {
  table: string;
  column: string;
  keys: readonly string[];
  /** What follows `table/column/` in a value's place; the keys, unless said otherwise. */
  placeOf?: readonly string[];
}

/**
 * Rewraps one batch in one transaction. `done` when no value under an older key is left but such as do not open:
 * those are counted in `damaged` and stay as they are.
 */
export function rewrapBatch(
  storage: DurableObjectStorage,
  wrapper: Wrapper,
  columns: readonly WrappedColumn[],
): RewrapBatch {
  const batch: RewrapBatch = { done: true, damaged: 0 };
  let values = 0;
  let bytes = 0;
  const { sql } = storage;
  storage.transactionSync(() => {
    for (const header of wrapper.olderHeaders)
      for (const { table, column, keys, placeOf = keys } of columns) {
        const updates: SqlStorageValue[][] = [];
        for (const row of sql.exec(
          `SELECT ${[...new Set([...keys, ...placeOf, column])].join(", ")} FROM ${table} WHERE substr(${column}, 1, ${HEADER_BYTES}) = ?`,
          header.buffer,
        )) {
          if (values >= BATCH_VALUES || bytes >= BATCH_BYTES) {
            batch.done = false;
            break;
          }
          const stored = new Uint8Array(row[column] as ArrayBuffer);
          const place = [table, column, ...placeOf.map((name) => String(row[name]))].join("/");
          try {
            updates.push([wrapper.rewrap(stored, place).buffer, ...keys.map((key) => row[key]!)]);
            values += 1;
            bytes += stored.length;
          } catch (error) {
            if (!(error instanceof UnwrapFailed)) throw error;
            batch.damaged += 1;
          }
        }
        for (const bindings of updates)
          sql.exec(
            `UPDATE ${table} SET ${column} = ? WHERE ${keys.map((key) => `${key} = ?`).join(" AND ")}`,
            ...bindings,
          );
        if (!batch.done) return;
      }
  });
  return batch;
}
