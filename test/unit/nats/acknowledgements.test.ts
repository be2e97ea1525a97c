// What a stream says of a message, and what becomes of a message of which nothing is said. The bodies are nats-server's.

import { Events, headers, type Msg, type NatsConnection, type Status } from "nats.ws";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Acknowledgements, readWord } from "../../../src/nats/acknowledgements.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const answer = (text: string, code?: number): Pick<Msg, "data" | "headers" | "string"> => ({
  data: utf8(text),
  string: () => text,
  ...(code !== undefined && { headers: headers(code, "no responders") }),
});

describe("a stream's word", () => {
  test.each([
    ["a message it holds", '{"stream":"S", "seq":1}'],
    ["a repeat it knows", '{"stream":"S", "seq":1,"duplicate": true}'],
    ["a message of a domain's stream", '{"stream":"S", "domain":"edge", "seq":7}'],
  ])("is that it is stored: %s", (_, body) => {
    expect(readWord(answer(body))).toEqual({ stored: true });
  });

  test.each([
    [
      "a full stream",
      '{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}',
      "503: maximum messages exceeded",
    ],
    [
      "another stream than was meant",
      '{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"S","seq":0}',
      "400: expected stream does not match",
    ],
    ["a stream without a name", '{"stream":"","seq":1}', "the answer was not a stream's"],
    ["no place in the stream", '{"stream":"S","seq":0}', "the answer was not a stream's"],
    ["a listener's own answer", "+OK", "the answer was not a stream's"],
    ["a listener's JSON", "null", "the answer was not a stream's"],
    ["an empty answer", "", "the answer was empty"],
  ])("is that it is not: %s", (_, body, reason) => {
    expect(readWord(answer(body))).toEqual({ stored: false, reason });
  });

  test("is the broker's where no stream takes the subject", () => {
    expect(readWord(answer("", 503))).toEqual({ stored: false, reason: expect.stringContaining("503") });
  });
});

/** A connection that writes down what is published, and answers when told to. */
function line() {
  const published: { subject: string; reply: string; msgId: string }[] = [];
  const statuses: ((status: Status) => void)[] = [];
  let deliver: (error: Error | null, message: Msg) => void = () => {};
  const ended = new AbortController();
  const failed: string[] = [];
  const connection = {
    subscribe: (_: string, { callback }: { callback: typeof deliver }) => {
      deliver = callback;
    },
    publish: (subject: string, _: Uint8Array, options: { reply: string; headers: Msg["headers"] }) =>
      published.push({ subject, reply: options.reply, msgId: options.headers!.get("Nats-Msg-Id") }),
    async *status() {
      for (;;) yield await new Promise<Status>((resolve) => statuses.push(resolve));
    },
  } as unknown as NatsConnection;
  const session = {
    connection,
    signal: ended.signal,
    inboxPrefix: "_INBOX_test",
    fail: (reason: string) => void failed.push(reason),
  };
  return {
    session,
    published,
    failed,
    end: () => ended.abort(),
    say: (reply: string, body: string) => deliver(null, { subject: reply, ...answer(body) } as Msg),
    refuseInbox: () => deliver(new Error("no"), {} as Msg),
    refuse: async (subject: string) => {
      const data = "PERMISSIONS_VIOLATION";
      for (const tell of statuses.splice(0))
        tell({ type: Events.Error, data, permissionContext: { operation: "publish", subject } });
      await vi.advanceTimersByTimeAsync(0);
    },
  };
}

const TIMEOUT_MS = 4_000;
const STORED = '{"stream":"S", "seq":1}';

describe("messages in flight", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const start = async () => {
    const broker = line();
    const words = new Acknowledgements(broker.session, TIMEOUT_MS);
    await vi.advanceTimersByTimeAsync(0);
    return { broker, send: (subject: string) => words.publish(subject, utf8("x"), `${subject}-1`) };
  };

  test("go out under their message ids and get each the word that is its own", async () => {
    const { broker, send } = await start();
    const [first, second] = [send("a"), send("b")];
    expect(broker.published).toMatchObject([
      { subject: "a", msgId: "a-1" },
      { subject: "b", msgId: "b-1" },
    ]);
    broker.say(broker.published[1]!.reply, STORED);
    broker.say(broker.published[0]!.reply, "");
    expect(await second).toEqual({ stored: true });
    expect(await first).toMatchObject({ stored: false });
  });

  test("count as failed when their time is over, each at its own, and a word that comes later changes nothing", async () => {
    const { broker, send } = await start();
    const first = send("a");
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS / 2);
    const second = send("b");
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS / 2);
    expect(await first).toEqual({ stored: false, reason: "no answer within 4000 ms" });
    broker.say(broker.published[0]!.reply, STORED);
    broker.say(broker.published[1]!.reply, STORED);
    expect(await second).toEqual({ stored: true });
    const third = send("c");
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS);
    expect(await third).toMatchObject({ stored: false });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("have failed when the session ends, and so has what is published after", async () => {
    const { broker, send } = await start();
    const waiting = [send("a"), send("b")];
    broker.end();
    const ended = { stored: false, reason: "the session ended" };
    expect(await Promise.all(waiting)).toEqual([ended, ended]);
    expect(await send("c")).toEqual(ended);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("that the credentials do not allow fail at once, the others are not touched", async () => {
    const { broker, send } = await start();
    const [other, refused, later] = [send("a"), send("b"), send("b")];
    await broker.refuse("b");
    expect(await refused).toEqual({ stored: false, reason: "PERMISSIONS_VIOLATION: publish b" });
    broker.say(broker.published[0]!.reply, STORED);
    broker.say(broker.published[2]!.reply, STORED);
    expect(await Promise.all([other, later])).toEqual([{ stored: true }, { stored: true }]);
  });

  test("cannot be answered where the inbox is refused: the session is given up", async () => {
    const { broker, send } = await start();
    void send("a");
    broker.refuseInbox();
    expect(broker.failed).toEqual([expect.stringContaining("inbox")]);
  });
});
