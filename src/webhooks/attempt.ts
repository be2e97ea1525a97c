// One attempt: a POST, its status, and nothing else of the answer. What a receiver writes into its answer is not
// read: it could be of any size, and could hold what must not be in our records.

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

/** Never throws: what went wrong is the result. */
export async function attempt(
  { url, headers, body }: AttemptRequest,
  fetcher: typeof fetch = fetch,
): Promise<AttemptResult> {
  const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
  try {
    const response = await fetcher(url, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json", "User-Agent": USER_AGENT },
      body,
      redirect: "manual",
      signal,
    });
    // Closes the connection to a receiver that would go on sending.
    await response.body?.cancel().catch(() => {});
    const retryAfter = response.headers.get("retry-after")?.slice(0, MAX_RETRY_AFTER_CHARACTERS);
    return { status: response.status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  } catch {
    return { error: signal.aborted ? "timeout" : "connection_failed" };
  }
}
