// One HTTP call: the key, the time it may take, what is repeated and when. Nothing here knows what a call means.

import {
  ApiError,
  CallTimeoutError,
  ConnectionError,
  type ProblemDetail,
  refusalOf,
  UnexpectedAnswerError,
} from "./errors.ts";

/** A call that holds no line is answered well within this. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** Repetitions after the first attempt. */
export const DEFAULT_MAX_RETRIES = 4;
/** The pause before the first repetition; it doubles, and half of it is left to chance. */
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 8_000;
/** A `Retry-After` beyond this is not waited for but shown: the caller has better to do. */
const MAX_RETRY_AFTER_SECONDS = 10;
/** The vault's answers are pages of at most 100 items; what is longer is not one. */
const MAX_ANSWER_BYTES = 64 * 1_024 * 1_024;

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface TransportOptions {
  baseUrl: string;
  apiKey: string;
  fetch?: Fetch | undefined;
  timeoutMs?: number | undefined;
  maxRetries?: number | undefined;
}

/** What any call may be given beside its input. */
export interface CallOptions {
  /**
   * Of a call that creates: the same key and input within 24 hours give the first answer again. Absent: one is made
   * for this call and its retries. Give your own (an order's number) to be safe over a crash of your process, too.
   */
  idempotencyKey?: string;
  /** Ends the call; it then throws the signal's reason. */
  signal?: AbortSignal;
  /** Milliseconds each attempt may take. */
  timeoutMs?: number;
  /** Repetitions after the first attempt; 0: none. */
  maxRetries?: number;
}

/**
 * What may be repeated when it is not known whether the call went through. `always`: it changes nothing, or the same
 * however often. `keyed`: its Idempotency-Key makes it so. `refused`: only when the vault itself says to come back.
 */
export type Repeat = "always" | "keyed" | "refused";

export interface Call {
  method: string;
  /** From the root, with its query. */
  path: string;
  body?: unknown;
  repeat: Repeat;
  gives: "json" | "text";
}

/** Whether trying again may help: the vault cannot be reached, is restarting, or said when to come back. */
export const isPassing = (error: unknown): boolean =>
  error instanceof ConnectionError ||
  error instanceof CallTimeoutError ||
  (error instanceof UnexpectedAnswerError && error.status >= 500) ||
  (error instanceof ApiError && (error.status >= 500 || error.status === 429));

/** How long to pause before the `attempt`-th repetition (from 0), in milliseconds. */
export function pauseMs(attempt: number, error: unknown, random: () => number = Math.random): number {
  const full = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16));
  const jittered = full / 2 + (random() * full) / 2;
  const asked = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1_000 : 0;
  return Math.max(jittered, asked);
}

/** Resolves after the time; rejects with the signal's reason when that comes first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

function checkedBaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "")
    throw new TypeError("ServiceVault: baseUrl must be the vault's origin, as https://vault.example.com");
  if (url.protocol !== "https:" && !(url.protocol === "http:" && LOOPBACK.has(url.hostname)))
    throw new TypeError("ServiceVault: baseUrl must be https, so that the API key is not sent in the clear");
  return text.replace(/\/+$/, "");
}

function checkedCount(value: number | undefined, fallback: number, name: string): number {
  if (value === undefined) return fallback;
  if (!Number.isFinite(value) || value < 0)
    throw new TypeError(`ServiceVault: ${name} must be a number of at least 0`);
  return value;
}

async function readText(response: Response): Promise<string> {
  if (Number(response.headers.get("content-length") ?? 0) > MAX_ANSWER_BYTES)
    throw new UnexpectedAnswerError(response.status, "the answer is too long to be a service vault's");
  return response.text();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Problem {
  code?: string;
  detail?: string;
  details?: ProblemDetail[];
}

function retryAfterOf(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Holds the key; made once by a client. */
export class Transport {
  readonly #baseUrl: string;
  readonly #apiKey: string;
  readonly #fetch: Fetch;
  readonly #timeoutMs: number;
  readonly #maxRetries: number;

  constructor(options: TransportOptions) {
    this.#baseUrl = checkedBaseUrl(options.baseUrl);
    // Printable ASCII only: anything else would make every call fail with an error that quotes the header.
    if (typeof options.apiKey !== "string" || !/^[\x21-\x7e]+$/.test(options.apiKey))
      throw new TypeError("ServiceVault: apiKey must be the text of an API key, as svk_live_…");
    this.#apiKey = options.apiKey;
    // Not bound to `this`: Workers refuse a fetch called as a method.
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#timeoutMs = checkedCount(options.timeoutMs, DEFAULT_TIMEOUT_MS, "timeoutMs");
    this.#maxRetries = checkedCount(options.maxRetries, DEFAULT_MAX_RETRIES, "maxRetries");
  }

  /** A call with its repetitions. */
  async call(call: Call, options: CallOptions = {}): Promise<unknown> {
    const idempotencyKey =
      call.repeat === "keyed" ? (options.idempotencyKey ?? crypto.randomUUID()) : options.idempotencyKey;
    const maxRetries = checkedCount(options.maxRetries, this.#maxRetries, "maxRetries");
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.once(call, {
          ...options,
          ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        });
      } catch (error) {
        const toldToComeBack = error instanceof ApiError && (error.status === 429 || error.status === 503);
        const isRepeatable = call.repeat === "refused" ? toldToComeBack : isPassing(error);
        const isSoon =
          !(error instanceof ApiError) || (error.retryAfterSeconds ?? 0) <= MAX_RETRY_AFTER_SECONDS;
        if (attempt >= maxRetries || !isRepeatable || !isSoon) throw error;
        await sleep(pauseMs(attempt, error), options.signal);
      }
    }
  }

  /** One attempt. */
  async once(call: Call, options: CallOptions = {}): Promise<unknown> {
    const { signal, idempotencyKey } = options;
    signal?.throwIfAborted();
    const timeoutMs = checkedCount(options.timeoutMs, this.#timeoutMs, "timeoutMs");
    const timeout = AbortSignal.timeout(timeoutMs);
    const headers: Record<string, string> = {
      accept: call.gives === "json" ? "application/json" : "*/*",
      authorization: `Bearer ${this.#apiKey}`,
    };
    if (call.body !== undefined) headers["content-type"] = "application/json";
    if (idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(`${this.#baseUrl}${call.path}`, {
        method: call.method,
        headers,
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        // The key goes to this origin and nowhere else.
        redirect: "manual",
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      text = await readText(response);
    } catch (error) {
      if (error instanceof UnexpectedAnswerError) throw error;
      if (signal?.aborted) throw signal.reason;
      if (timeout.aborted)
        throw new CallTimeoutError(`the vault did not answer within ${timeoutMs} ms`, { cause: error });
      throw new ConnectionError("the vault could not be reached", { cause: error });
    }
    if (response.ok) {
      if (call.gives === "text") return text;
      const value = parsed(text);
      if (value !== undefined) return value;
      throw new UnexpectedAnswerError(response.status, "the answer is not JSON; is baseUrl the vault's?");
    }
    const problem = response.headers.get("content-type")?.includes("json") ? parsed(text) : undefined;
    const { code, detail, details } = (problem ?? {}) as Problem;
    if (typeof code !== "string")
      throw new UnexpectedAnswerError(
        response.status,
        `the answer (HTTP ${response.status}) is not one of a service vault; is baseUrl the vault's?`,
      );
    throw refusalOf(code, {
      status: response.status,
      detail: detail ?? code,
      requestId: response.headers.get("x-request-id") ?? undefined,
      retryAfterSeconds: retryAfterOf(response.headers),
      details,
    });
  }
}
