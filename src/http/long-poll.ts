// Reading a request, and holding the line until it changes. The line is held by the user's object; when that object
// restarts meanwhile (a deploy, an eviction), the Worker asks the next incarnation for the time that is left.

import type { Env } from "../env.ts";
import { parseRoutedId } from "../protocol/ids.ts";
import type { RequestView } from "../rpc.ts";
import { ApiError, isRestart, unwrap } from "./errors.ts";
import { userConnectionOf } from "./objects.ts";

export const MAX_WAIT_SECONDS = 30;
const RETRY_PAUSE_MS = 100;
/** Repeats of a call that is not waiting: a restart takes well under a second. */
const MAX_RETRIES = 3;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The user an id given out leads to; `not_found` for anything that was never given out. */
export function routedUser(requestId: string): string {
  const place = parseRoutedId(requestId);
  if (place === undefined) throw new ApiError("not_found", "there is no request of this id");
  return place.userId;
}

/** A request as it is, or, with `waitSeconds`, as soon as its status is no longer `pending`. */
export async function readRequest(
  env: Env,
  requestId: string,
  keyId: string,
  waitSeconds = 0,
): Promise<RequestView> {
  const userId = routedUser(requestId);
  const deadline = Date.now() + waitSeconds * 1_000;
  for (let retries = 0; ; retries++) {
    const remainingMs = Math.max(0, deadline - Date.now());
    try {
      const connection = userConnectionOf(env, userId);
      return unwrap(await connection.request(requestId, keyId, remainingMs));
    } catch (error) {
      if (error instanceof ApiError || !isRestart(error)) throw error;
      if (retries >= MAX_RETRIES && Date.now() >= deadline) throw error;
      await pause(RETRY_PAUSE_MS);
    }
  }
}
