// Rows that objects write, as they are billed: by SQL, and one for each alarm that is set.

import { runInDurableObject } from "cloudflare:test";

export interface RowCount {
  /** By SQL. */
  rows: number;
  alarms: number;
}

/** Counts in one object from now on; `stop` gives the sum and leaves the object as it was. */
export async function countingRows(stub: DurableObjectStub<never>): Promise<{ stop(): Promise<RowCount> }> {
  const cursors: { rowsWritten: number }[] = [];
  let alarms = 0;
  let restore: () => void = () => {};
  await runInDurableObject(stub, (_instance: never, { storage }) => {
    const { sql } = storage;
    const exec = sql.exec.bind(sql);
    const setAlarm = storage.setAlarm.bind(storage);
    sql.exec = ((...args: Parameters<typeof exec>) => {
      const cursor = exec(...args);
      cursors.push(cursor);
      return cursor;
    }) as typeof sql.exec;
    storage.setAlarm = (...args) => {
      alarms += 1;
      return setAlarm(...args);
    };
    restore = () => {
      sql.exec = exec;
      storage.setAlarm = setAlarm;
    };
  });
  return {
    stop: () =>
      runInDurableObject(stub, () => {
        restore();
        return { rows: cursors.reduce((sum, cursor) => sum + cursor.rowsWritten, 0), alarms };
      }),
  };
}
