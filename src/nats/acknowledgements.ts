// Messages to a stream and the stream's word on each. The library's own requests make two timers and, even where all
// went well, an error with its stack for each message; here one inbox and one timer serve all of a session.

import { Events, headers, type Msg } from "nats.ws";
import { Deadlines } from "./deadlines.ts";
import { openInbox } from "./inbox.ts";
import type { LiveSession } from "./session.ts";

/** What a stream says of a message: it holds it (a repeat it knows is held as well), or why not. */
export type StreamsWord = { stored: true } | { stored: false; reason: string };

const STORED: StreamsWord = { stored: true };
const not = (reason: string): StreamsWord => ({ stored: false, reason });

/** A message without content that the broker itself answers with, where no stream and nobody else listens. */
const NO_RESPONDERS = 503;

/** Reads what came back for a message. Whatever is not plainly a stream's "stored" is not. */
export function readWord(message: Pick<Msg, "data" | "headers" | "string">): StreamsWord {
  if (message.data.length === 0)
    return message.headers?.code === NO_RESPONDERS
      ? not("503: no stream takes this subject")
      : not("the answer was empty");
  let word: unknown;
  try {
    word = JSON.parse(message.string());
  } catch {
    return not("the answer was not a stream's");
  }
  const { error, stream, seq } = (word ?? {}) as {
    error?: { code?: unknown; description?: unknown };
    stream?: unknown;
    seq?: unknown;
  };
  if (error !== undefined) return not(`${error?.code}: ${error?.description}`);
  return typeof stream === "string" && stream !== "" && typeof seq === "number" && seq > 0
    ? STORED
    : not("the answer was not a stream's");
}

interface Pending {
  subject: string;
  settle(word: StreamsWord): void;
  /** Ends its deadline. */
  end(): void;
}

/** The messages of one session that wait for their stream's word. Ends with it: what waits then has failed. */
export class Acknowledgements {
  readonly #session: LiveSession;
  readonly #inbox: string;
  readonly #deadlines: Deadlines;
  readonly #late: StreamsWord;
  /** By token, in the order they were published. */
  readonly #pending = new Map<string, Pending>();
  #lastToken = 0;

  constructor(session: LiveSession, timeoutMs: number) {
    this.#session = session;
    this.#deadlines = new Deadlines(timeoutMs);
    this.#late = not(`no answer within ${timeoutMs} ms`);
    this.#inbox = openInbox(session, (message) =>
      // What came too late was counted as failed, and is repeated by its owner.
      this.#settle(message.subject.slice(this.#inbox.length + 1), readWord(message)),
    );
    session.signal.addEventListener("abort", () => {
      for (const token of [...this.#pending.keys()]) this.#settle(token, not("the session ended"));
    });
    void this.#noteRefusals();
  }

  /** Publishes one message. Throws where it cannot be written at all; otherwise there is always a word, never an error. */
  publish(subject: string, bytes: Uint8Array, msgId: string): Promise<StreamsWord> {
    if (this.#session.signal.aborted) return Promise.resolve(not("the session ended"));
    const token = (++this.#lastToken).toString(36);
    const own = headers();
    own.set("Nats-Msg-Id", msgId);
    this.#session.connection.publish(subject, bytes, { headers: own, reply: `${this.#inbox}.${token}` });
    return new Promise((settle) => {
      const end = this.#deadlines.begin(() => this.#settle(token, this.#late));
      this.#pending.set(token, { subject, settle, end });
    });
  }

  #settle(token: string, word: StreamsWord): void {
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    this.#pending.delete(token);
    pending.end();
    pending.settle(word);
  }

  /** A subject the credentials do not allow is said without a token: the oldest message on it is the one. */
  async #noteRefusals(): Promise<void> {
    for await (const { type, data, permissionContext: refused } of this.#session.connection.status()) {
      if (type !== Events.Error || refused?.operation !== "publish") continue;
      for (const [token, { subject }] of this.#pending) {
        if (subject !== refused.subject) continue;
        this.#settle(token, not(`${data}: publish ${subject}`));
        break;
      }
    }
  }
}
