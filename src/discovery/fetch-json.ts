// One call to a resolver or a registry, bounded in time and size. Both are named by whoever runs the service or holds
// an API key, so the target guard looks at each address before it is called, as it does for webhooks.

import { concatBytes } from "../protocol/encoding.ts";
import { type Json, parseJson } from "../protocol/json.ts";
import { checkTarget, type TargetPolicy } from "../webhooks/target.ts";

/** From the call until the answer is read. */
const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 65_536;

export type FetchedJson =
  | { answered: true; status: number; body: Json }
  /** `why` continues a sentence, in words of ours: what others wrote is not repeated. */
  | { answered: false; why: string };

export interface Outside {
  policy: TargetPolicy;
  fetcher: typeof fetch;
}

/** Never throws. Redirects are not followed: the address that was checked is the one that answers. */
export async function fetchJson(
  address: string,
  { policy, fetcher }: Outside,
  init: { method?: "GET" | "POST"; accept?: string; body?: unknown; maxBytes?: number } = {},
): Promise<FetchedJson> {
  const target = checkTarget(address, policy);
  if (!target.ok) return { answered: false, why: `its address ${target.error}` };
  const { method = "GET", accept = "application/json", body, maxBytes = MAX_ANSWER_BYTES } = init;
  let response: Response;
  let bytes: Uint8Array | undefined;
  try {
    response = await fetcher(target.value.href, {
      method,
      headers: { Accept: accept, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    bytes = await readBounded(response, maxBytes);
  } catch (error) {
    const late = (error as { name?: string } | null)?.name === "TimeoutError";
    return {
      answered: false,
      why: late ? `did not answer within ${TIMEOUT_MS / 1_000} s` : "cannot be reached",
    };
  }
  if (bytes === undefined) return { answered: false, why: "answered with more than an answer can be" };
  const parsed = parseJson(bytes);
  // A refusal's body is of no use to anyone here; a success must be readable.
  if (!parsed.ok && response.ok) return { answered: false, why: "did not answer with JSON" };
  return { answered: true, status: response.status, body: parsed.ok ? parsed.value : null };
}

/** Undefined when there is more than an answer can be. */
async function readBounded(response: Response, maxBytes: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}
