// One session with a broker over WebSocket, kept up by a loop of our own: dial, set up, watch, tear down, pause.
// The client library's reconnect is off, because it stalls for 20 seconds when credentials are refused and keeps
// consumers of dead connections alive. The session holds no data; whatever was in flight when it ends has failed.

import { connect, Events, type NatsConnection } from "nats.ws";
import { toTimestamp } from "../protocol/primitives.ts";
import { credsAuthenticator } from "./creds.ts";

/** Until the broker has accepted the connection and the credentials. */
const CONNECT_TIMEOUT_MS = 5_000;
/** Until `onUp` has made what the session needs. */
const SETUP_TIMEOUT_MS = 10_000;
/** A ping goes out this often; a broker that has not answered one when the next is due is taken for gone. */
const PING_INTERVAL_MS = 4_000;
/** How long a close may take before the connection is left to the runtime. */
const CLOSE_TIMEOUT_MS = 1_000;
/** A session that held this long was a good one: pauses start small again. */
const STABLE_AFTER_MS = 5_000;
const FIRST_PAUSE_MS = 100;
/** Small, because everything a user is waiting for waits for it. */
const LONGEST_PAUSE_MS = 1_000;

interface Entered {
  /** Milliseconds since the epoch. */
  since: number;
  /** Sessions that failed or did not hold, one after another. */
  failures: number;
  lastError?: string;
}

/** `closed`: between two attempts, or stopped. */
export type SessionPhase =
  | ({ status: "connecting" } & Entered)
  | ({ status: "ready" } & Entered)
  | ({ status: "closed" } & Entered);

export type SessionEvent =
  | { type: "dial" }
  | { type: "up" }
  /** The attempt failed or the session ended. */
  | { type: "down"; error: string }
  /** The broker refused something without ending the session. */
  | { type: "complaint"; error: string }
  | { type: "stop" };

/** What the session becomes. An event that does not apply (a late answer of an ended attempt) changes nothing. */
export function next(phase: SessionPhase, event: SessionEvent, now: number): SessionPhase {
  const { lastError } = phase;
  const error = lastError === undefined ? {} : { lastError };
  switch (event.type) {
    case "dial":
      return phase.status === "closed"
        ? { status: "connecting", since: now, failures: phase.failures, ...error }
        : phase;
    case "up":
      return phase.status === "connecting"
        ? { status: "ready", since: now, failures: phase.failures }
        : phase;
    case "down": {
      if (phase.status === "closed") return phase;
      const held = phase.status === "ready" && now - phase.since >= STABLE_AFTER_MS;
      return {
        status: "closed",
        since: now,
        failures: held ? 1 : phase.failures + 1,
        lastError: event.error,
      };
    }
    case "complaint":
      return phase.status === "closed" ? phase : { ...phase, lastError: event.error };
    case "stop":
      return phase.status === "closed" ? phase : { status: "closed", since: now, failures: 0, ...error };
  }
}

/** The pause before the next attempt: doubling, capped, and spread so that shards do not come back in step. */
export function pauseMs(failures: number, random: number): number {
  const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1), LONGEST_PAUSE_MS);
  return pause * (0.5 + random);
}

/** A session that is up, as `onUp` gets it. */
export interface LiveSession {
  connection: NatsConnection;
  /** Aborted when the session ends, for whatever reason: everything begun for it ends then. */
  signal: AbortSignal;
  /** The credentials allow no other inbox. */
  inboxPrefix: string;
  /** Gives the session up, so that it is set up anew. */
  fail(reason: string): void;
}

export interface SessionOptions {
  /** `ws://` or `wss://`. */
  url: string;
  /** The text of a .creds file. */
  creds: string;
  /** The credentials allow no other inbox. */
  inboxPrefix: string;
  /** Shown in the server's monitoring. */
  name: string;
  /** Makes what the session needs; until it has, the session is not ready. */
  onUp?(session: LiveSession): Promise<void>;
  /** A session ended, or an attempt failed. */
  onEnd?(): void;
}

/** What went wrong, for people: never credentials, which the library does not put into its errors. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  const message = error.message || error.name;
  return typeof code === "string" && code !== message ? `${code}: ${message}` : message;
}

/** The promise's outcome, or an error naming `what` once the time is up. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });

/** Closes without waiting for a broker that no longer answers. */
async function closeQuietly(connection: NatsConnection): Promise<void> {
  try {
    await within(connection.close(), CLOSE_TIMEOUT_MS, "close");
  } catch {
    // Nothing depends on a clean goodbye: the broker drops what does not answer its pings.
  }
}

/** A session that keeps itself up from `start` until `stop`. */
export class BrokerSession {
  readonly #options: SessionOptions;
  #phase: SessionPhase = { status: "closed", since: Date.now(), failures: 0 };
  #live: LiveSession | undefined;
  /** Ends the running loop; absent when stopped. */
  #running: AbortController | undefined;
  #waiting: (() => void)[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get phase(): SessionPhase {
    return this.#phase;
  }

  /** As `state()` and health show it. */
  describe(): { status: SessionPhase["status"]; since: string; last_error?: string } {
    const { status, since, lastError } = this.#phase;
    return {
      status,
      since: toTimestamp(since),
      ...(lastError !== undefined && { last_error: lastError }),
    };
  }

  /** The connection, if the session is up now. */
  get connection(): NatsConnection | undefined {
    return this.live?.connection;
  }

  /** The session, if it is up now. */
  get live(): LiveSession | undefined {
    return this.#phase.status === "ready" ? this.#live : undefined;
  }

  /** Begins to connect; does nothing when it already runs. */
  start(): void {
    if (this.#running !== undefined) return;
    const running = new AbortController();
    this.#running = running;
    this.#apply({ type: "dial" });
    // The loop ends only by `stop`; an error in it would be one of ours, and the next `start` begins anew.
    this.#loop(running.signal).catch((error) => {
      this.#apply({ type: "down", error: describeError(error) });
      if (this.#running === running) this.#running = undefined;
    });
  }

  /** Ends the session and all that was begun for it. */
  stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#live = undefined;
    this.#apply({ type: "stop" });
  }

  /**
   * The connection: at once when the session is up, at the end of the attempt under way, or at the latest after
   * `timeoutMs`. Undefined when there is none by then; between two attempts that is known at once.
   */
  async ready(timeoutMs: number): Promise<NatsConnection | undefined> {
    if (this.#phase.status === "connecting") {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
        this.#waiting.push(resolve);
      });
      clearTimeout(timer);
    }
    return this.connection;
  }

  #apply(event: SessionEvent): void {
    const before = this.#phase.status;
    this.#phase = next(this.#phase, event, Date.now());
    if (this.#phase.status !== before) for (const wake of this.#waiting.splice(0)) wake();
  }

  async #loop(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      this.#apply({ type: "dial" });
      const error = await this.#attempt(stopped);
      // After `stop` the phase belongs to whoever started the session again.
      if (stopped.aborted) return;
      this.#live = undefined;
      this.#apply({ type: "down", error });
      this.#options.onEnd?.();
      await sleep(pauseMs(this.#phase.failures, Math.random()), stopped);
    }
  }

  /** One session from dialling to its end; says why it ended. */
  async #attempt(stopped: AbortSignal): Promise<string> {
    const ended = new AbortController();
    let connection: NatsConnection | undefined;
    try {
      connection = await this.#dial();
      if (stopped.aborted) return "stopped";
      const watch = this.#watch(connection, stopped);
      const { inboxPrefix } = this.#options;
      const live = { connection, signal: ended.signal, inboxPrefix, fail: watch.end };
      await within(
        Promise.race([
          this.#options.onUp?.(live),
          watch.ended.then((reason) => Promise.reject(new Error(reason))),
        ]),
        SETUP_TIMEOUT_MS,
        "setting up the session",
      ).catch((error) => {
        watch.end("setup failed");
        throw error;
      });
      if (!stopped.aborted) {
        this.#live = live;
        this.#apply({ type: "up" });
      }
      return await watch.ended;
    } catch (error) {
      return describeError(error);
    } finally {
      ended.abort();
      if (connection !== undefined) await closeQuietly(connection);
    }
  }

  async #dial(): Promise<NatsConnection> {
    const { url, creds, inboxPrefix, name } = this.#options;
    const dialled = connect({
      servers: url,
      authenticator: credsAuthenticator(creds),
      inboxPrefix,
      name,
      reconnect: false,
      timeout: CONNECT_TIMEOUT_MS,
      // A trace for each request costs more than the request.
      noAsyncTraces: true,
      // Addresses a cluster announces are for its own network; we keep to the one that was configured.
      ignoreClusterUpdates: true,
    });
    try {
      return await within(dialled, CONNECT_TIMEOUT_MS, "connect");
    } catch (error) {
      dialled.then(closeQuietly, () => {});
      throw error;
    }
  }

  /** Resolves with the reason when the connection closes, stops answering, or is given up. */
  #watch(
    connection: NatsConnection,
    stopped: AbortSignal,
  ): { ended: Promise<string>; end(reason: string): void } {
    let end!: (reason: string) => void;
    const ended = new Promise<string>((resolve) => {
      end = resolve;
    });
    const stop = () => end("stopped");
    stopped.addEventListener("abort", stop);
    if (stopped.aborted) stop();
    connection
      .closed()
      .then((error) => end(error ? describeError(error) : "the broker closed the connection"));
    // The library's own pings rely on a socket that still closes; a frozen broker's does not.
    let answered = true;
    const pings = setInterval(() => {
      if (!answered) return end("the broker does not answer");
      answered = false;
      connection.flush().then(
        () => {
          answered = true;
        },
        (error) => end(describeError(error)),
      );
    }, PING_INTERVAL_MS);
    ended.then(() => {
      clearInterval(pings);
      stopped.removeEventListener("abort", stop);
    });
    void this.#noteComplaints(connection);
    return { ended, end };
  }

  /** Refused subjects reach nobody's promise; they are kept for people to see. Forgotten with the connection. */
  async #noteComplaints(connection: NatsConnection): Promise<void> {
    for await (const { type, data, permissionContext: refused } of connection.status()) {
      if (type !== Events.Error) continue;
      this.#apply({
        type: "complaint",
        error: refused ? `${data}: ${refused.operation} ${refused.subject}` : `${data}`,
      });
    }
  }
}
