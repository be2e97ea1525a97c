// Where a page of a list ends: the age and the id of its last row, opaque to the client. Rows made while someone
// pages do not shift what follows.

import { base64urlnopad } from "@scure/base";
import type { ApiFault } from "../../src/rpc.ts";

export interface Position {
  createdAt: number;
  id: string;
}

const MAX_CURSOR_CHARACTERS = 256;

export const encodeCursor = ({ createdAt, id }: Position): string =>
  base64urlnopad.encode(new TextEncoder().encode(`${createdAt}.${id}`));

/** The position; undefined for anything `encodeCursor` did not make. */
export function decodeCursor(cursor: string): Position | undefined {
  if (cursor.length > MAX_CURSOR_CHARACTERS) return undefined;
  try {
    const [, createdAt, id] =
      /^(\d{1,15})\.([1-9A-HJ-NP-Za-km-z]+)$/.exec(new TextDecoder().decode(base64urlnopad.decode(cursor))) ??
      [];
    return createdAt === undefined || id === undefined ? undefined : { createdAt: Number(createdAt), id };
  } catch {
    return undefined;
  }
}

export const cursorFault: ApiFault = {
  code: "invalid_request",
  detail: "`cursor` is not a next_cursor of this list",
  details: [{ path: "cursor", message: "must be the next_cursor of an earlier page of this list" }],
};
