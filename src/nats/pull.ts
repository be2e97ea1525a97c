// Pulls messages from a durable consumer. One pull request is open at a time and never asks for more than there is
// room for, so a slow consumer leaves its messages in the stream instead of in memory.

import { type Msg, nanos } from "nats.ws";
import { atPoint } from "../at-point.ts";
import { utf8 } from "../protocol/json.ts";
import { openInbox } from "./inbox.ts";
import { MAX_MESSAGE_BYTES } from "./limits.ts";
import type { LiveSession } from "./session.ts";

/** One pull request asks for at most this many messages. */
const MAX_PULL_MESSAGES = 250;
/** Messages taken and not settled, and their bytes: what the object's memory has to hold. */
const MAX_HELD_MESSAGES = 1_000;
const MAX_HELD_BYTES = 24 * 1_024 * 1_024;
/** A pull request is open for this long; then it is made anew, so a lost one costs no more. */
const PULL_EXPIRES_MS = 15_000;
/** The server ends a pull request when its time is up; after this much more it has lost it. */
const PULL_OVERDUE_MS = 3_000;
/** Before the next request when the server refuses one it should have taken. */
const REFUSED_PAUSE_MS = 250;
/** Refused this often in a row, the session is set up anew, and with it stream and consumer. */
const MAX_REFUSALS = 4;

/** What ends a pull request, as the code of a message without content. */
const STATUS = { heartbeat: 100, nothingThere: 404, timeIsUp: 408, conflict: 409 } as const;

const NANOS_PER_MS = 1_000_000;

const ACK = utf8("+ACK");
const TERMINATE = utf8("+TERM");

/** A message taken from the stream, to be settled exactly once. After its session ended settling does nothing. */
export interface Delivery {
  readonly subject: string;
  /** Our own copy. */
  readonly bytes: Uint8Array;
  /** Its place in the stream. */
  readonly sequence: number;
  /** How often it was delivered, counting this time; after a crash of the server it may be too low. */
  readonly deliveryCount: number;
  /** When the broker stored it, by its clock; milliseconds since the epoch. */
  readonly storedAt: number;
  /** Handled: the stream forgets it. */
  ack(): void;
  /** Not handled: deliver it again after a pause. */
  retryAfter(delayMs: number): void;
  /** Given up: the stream forgets it and tells the operator so. */
  terminate(): void;
}

/** The numbers in the subject an acknowledgement goes to; undefined when the message is not from a consumer. */
export function parseAckSubject(
  reply: string,
): { deliveryCount: number; sequence: number; storedAt: number } | undefined {
  const tokens = reply.split(".");
  // Nine tokens, or eleven and more in servers that put a domain and the account's hash in front.
  const at = tokens.length === 9 ? 4 : tokens.length >= 11 ? 6 : undefined;
  if (at === undefined || tokens[0] !== "$JS" || tokens[1] !== "ACK") return undefined;
  const [deliveryCount, sequence] = [Number(tokens[at]), Number(tokens[at + 1])];
  // Behind the consumer's own sequence, in nanoseconds: past what a number holds exactly, and exact enough.
  const storedAt = Math.floor(Number(tokens[at + 3]) / NANOS_PER_MS);
  return Number.isSafeInteger(deliveryCount) &&
    Number.isSafeInteger(sequence) &&
    Number.isSafeInteger(storedAt)
    ? { deliveryCount, sequence, storedAt }
    : undefined;
}

export interface PullOptions {
  stream: string;
  consumer: string;
  /** Called for each message, in the order of the stream within one request. Must not throw. */
  onDelivery(delivery: Delivery): void;
}

/** Takes messages until the session ends. */
export function pullMessages(session: LiveSession, options: PullOptions): void {
  new Puller(session, options).pull();
}

class Puller {
  readonly #session: LiveSession;
  readonly #options: PullOptions;
  /** Sequences taken and not settled, and how large they are. */
  readonly #held = new Map<number, number>();
  #heldBytes = 0;
  /** Tells a request's late answers from those to the one that is open. */
  #request = 0;
  /** Messages the open request may still bring; 0 when none is open. */
  #due = 0;
  /** Until an open request is overdue, or until the next one after a refusal. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refusals = 0;
  readonly #inbox: string;

  constructor(session: LiveSession, options: PullOptions) {
    this.#session = session;
    this.#options = options;
    // Each request answers below its own token: the status that ends one is not taken for another's.
    this.#inbox = openInbox(session, (message) => this.#onMessage(message));
    session.signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** Opens a request, if none is open and there is room for one that is worth it. */
  pull(): void {
    if (this.#due > 0 || this.#session.signal.aborted) return;
    const messages = Math.min(MAX_PULL_MESSAGES, MAX_HELD_MESSAGES - this.#held.size);
    const bytes = MAX_HELD_BYTES - this.#heldBytes;
    // The largest message has to fit, or the server would refuse it again and again.
    if (messages < MAX_PULL_MESSAGES / 2 || bytes < 2 * MAX_MESSAGE_BYTES) return;
    clearTimeout(this.#timer);
    this.#request += 1;
    this.#due = messages;
    const { stream, consumer } = this.#options;
    const request = { batch: messages, max_bytes: bytes, expires: nanos(PULL_EXPIRES_MS) };
    this.#session.connection.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
      utf8(JSON.stringify(request)),
      {
        reply: `${this.#inbox}.${this.#request}`,
      },
    );
    this.#timer = setTimeout(
      () => this.#refused("the pull request got no answer"),
      PULL_EXPIRES_MS + PULL_OVERDUE_MS,
    );
  }

  #onMessage(message: Msg): void {
    // A delivery keeps the subject it was published under; a status comes to the request's own.
    if (message.subject.startsWith(`${this.#inbox}.`)) {
      if (message.subject === `${this.#inbox}.${this.#request}`) this.#onStatus(message);
      return;
    }
    const place = parseAckSubject(message.reply ?? "");
    if (place === undefined) return;
    this.#refusals = 0;
    if (this.#due > 0) {
      this.#due -= 1;
      if (this.#due === 0) clearTimeout(this.#timer);
    }
    // Delivered again while we still have it: the answer to the first copy settles both.
    if (!this.#held.has(place.sequence)) this.#options.onDelivery(this.#take(message, place));
    this.pull();
  }

  #onStatus(message: Msg): void {
    const code = message.headers?.code ?? 0;
    const description = message.headers?.description ?? "";
    // An idle heartbeat, which we do not ask for; or the end of a request that is closed already.
    if (code === STATUS.heartbeat || this.#due === 0) return;
    this.#close();
    const ended =
      code === STATUS.nothingThere ||
      code === STATUS.timeIsUp ||
      // The bytes asked for are used up: the request has done what it could.
      (code === STATUS.conflict && /maxbytes/i.test(description) && this.#heldBytes > 0);
    // Anything else is a refusal. 503 is nobody's answer: the consumer or its stream is gone.
    if (!ended) this.#refused(`the pull request was refused: ${code} ${description}`.trim());
    else {
      this.#refusals = 0;
      this.pull();
    }
  }

  #close(): void {
    this.#due = 0;
    clearTimeout(this.#timer);
  }

  #refused(reason: string): void {
    this.#close();
    this.#refusals += 1;
    if (this.#refusals >= MAX_REFUSALS) this.#session.fail(reason);
    else this.#timer = setTimeout(() => this.pull(), REFUSED_PAUSE_MS);
  }

  #take(
    message: Msg,
    { sequence, deliveryCount, storedAt }: NonNullable<ReturnType<typeof parseAckSubject>>,
  ): Delivery {
    // A copy: the payload is a window on the frame it came in, other users' messages beside it, and sending a
    // window through RPC sends what lies behind it.
    const bytes = message.data.slice();
    this.#held.set(sequence, bytes.length);
    this.#heldBytes += bytes.length;
    const settle = (answer: Uint8Array) => {
      if (!this.#held.delete(sequence)) return;
      this.#heldBytes -= bytes.length;
      if (this.#session.signal.aborted) return;
      atPoint("bridge.settle", () => message.respond(answer));
      this.pull();
    };
    return {
      subject: message.subject,
      bytes,
      sequence,
      deliveryCount,
      storedAt,
      ack: () => settle(ACK),
      retryAfter: (delayMs) => settle(utf8(`-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`)),
      terminate: () => settle(TERMINATE),
    };
  }
}
