// One attempt: a POST, its status, and nothing else of the answer. What a receiver writes into its answer is thrown
// away: it could be of any size, and could hold what must not be in our records.

import { ATTEMPT_TIMEOUT_MS, type AttemptResult } from "./schedule.ts";

export interface AttemptRequest {
  /** Checked by the target guard just before. */
  url: string;
  headers: Record<string, string>;
  body: string;
}

const USER_AGENT = "VettID-Service-Vault-Webhooks/1";
/** Longer than any date or number a Retry-After can be. */
const MAX_RETRY_AFTER_CHARACTERS = 64;
/** An answer read to its end leaves a connection that can be used again. A longer or slower one is not worth that. */
const MAX_ANSWER_BYTES = 16_384;
const ANSWER_TIMEOUT_MS = 1_000;

/** Never throws: what went wrong is the result. */
export async function attempt(
  { url, headers, body }: AttemptRequest,
  fetcher: typeof fetch = fetch,
): Promise<AttemptResult> {
  const controller = new AbortController();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    controller.abort();
  }, ATTEMPT_TIMEOUT_MS);
  try {
    const response = await fetcher(url, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json", "User-Agent": USER_AGENT },
      body,
      redirect: "manual",
      signal: controller.signal,
    });
    const retryAfter = response.headers.get("retry-after")?.slice(0, MAX_RETRY_AFTER_CHARACTERS);
    await discard(response);
    return { status: response.status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  } catch {
    return { error: isLate ? "timeout" : "connection_failed" };
  } finally {
    clearTimeout(timer);
    // Closes the connection to a receiver that would go on sending.
    controller.abort();
  }
}

/** Reads an answer to its end, unless that is far away. The status has decided already. */
async function discard({ body }: Response): Promise<void> {
  if (body === null) return;
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), ANSWER_TIMEOUT_MS);
  });
  try {
    for (let size = 0; size <= MAX_ANSWER_BYTES; ) {
      const part = await Promise.race([reader.read(), late]);
      if (part === "late" || part.done) return;
      size += part.value.length;
    }
  } catch {
    // Broken off by the receiver: its status stands.
  } finally {
    clearTimeout(timer);
  }
}
