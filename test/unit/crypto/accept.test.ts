import { beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { type Acceptance, accept, type Recipient } from "../../../src/crypto/accept.ts";
import { type MessageHeader, seal } from "../../../src/crypto/seal.ts";
import { utf8 } from "../../../src/protocol/json.ts";
import { messageSpaceSubject } from "../../../src/protocol/subjects.ts";
import {
  eventIdOf,
  flipped,
  HEAVY_TEST_TIMEOUT_MS,
  hashIdOf,
  message,
  type Person,
  person,
} from "./people.ts";
import { sealSteps } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const NOW = Date.parse("2026-03-03T12:01:00.000Z");
const SPACE = eventIdOf("message space");

let service: Person;
let user: Person;
let stranger: Person;
let bytes: Uint8Array;
beforeAll(async () => {
  service = await person("service");
  user = await person("user");
  stranger = await person("stranger");
  bytes = await sealed();
});

const payload = { text: "Grüße", nested: { list: [1] } };
const schema = z.strictObject({ text: z.string(), nested: z.strictObject({ list: z.array(z.int()) }) });
const sealed = (more: Partial<MessageHeader> = {}, value: unknown = payload, sender = service, to = user) =>
  seal(sender.signing, to.agreement.publicKey, message(user.signing.id, more), value);
const subject = () => messageSpaceSubject(SPACE, service.signing.id, "auth.request");

/** What the user's side knows, with a note of what it was asked, in order. */
function recipient(changes: Partial<Recipient> = {}): { recipient: Recipient; asked: string[] } {
  const asked: string[] = [];
  const noted =
    <Arguments extends unknown[], Answer>(name: string, answer: (...args: Arguments) => Answer) =>
    (...args: Arguments) => {
      asked.push(name);
      return answer(...args);
    };
  const knows: Recipient = {
    now: NOW,
    id: user.signing.id,
    subjectsOf: (header) => [messageSpaceSubject(SPACE, service.signing.id, header.event_type, header.ref)],
    signingKeyOf: (header) =>
      header.from === service.signing.id && header.contract_id === hashIdOf("contract")
        ? service.signing.publicKey
        : undefined,
    seen: () => "new",
    keyOf: (header) => (header.key_id === user.agreement.keyId ? user.agreement : undefined),
    schemaOf: (type) => (type === "auth.request" ? schema : undefined),
    ...changes,
  };
  return {
    asked,
    recipient: {
      now: knows.now,
      id: knows.id,
      subjectsOf: noted("subjects", knows.subjectsOf),
      signingKeyOf: noted("signing key", knows.signingKeyOf),
      seen: noted("seen", knows.seen),
      keyOf: noted("key", knows.keyOf),
      schemaOf: noted("schema", knows.schemaOf),
    },
  };
}

const outcome = async (
  from: Uint8Array,
  changes: Partial<Recipient> = {},
  on: string = subject(),
): Promise<{ result: Acceptance; asked: string[] }> => {
  const { recipient: knows, asked } = recipient(changes);
  return { result: await accept(from, on, knows), asked };
};
const reason = async (from: Uint8Array, changes: Partial<Recipient> = {}, on: string = subject()) => {
  const { result } = await outcome(from, changes, on);
  return result.outcome === "rejected" ? result.reason : result.outcome;
};

describe("a message as it should be", () => {
  test("is verified, with its header and the very payload that was sealed", async () => {
    const { result, asked } = await outcome(bytes);
    if (result.outcome !== "verified") throw new Error(result.outcome);
    expect(result.message.payload).toEqual(payload);
    expect(result.message.header).toMatchObject(message(user.signing.id));
    expect(asked).toEqual(["subjects", "signing key", "seen", "key", "schema"]);
  });

  test("may arrive on any of the subjects its header allows", async () => {
    const subjectsOf = () => ["one", "other"];
    expect(await reason(bytes, { subjectsOf }, "other")).toBe("verified");
    expect(await reason(bytes, { subjectsOf }, "third")).toBe("subject_mismatch");
  });

  test("has its payload handed on unchanged, not as the schema would make it", async () => {
    const schemaOf = () =>
      z.object({
        text: z
          .string()
          .default("x")
          .transform(() => "other"),
      });
    const { result } = await outcome(bytes, { schemaOf });
    expect(result.outcome === "verified" && result.message.payload).toEqual(payload);
  });
});

describe("each check refuses with its own reason, before anything that comes after it is asked", () => {
  test("the size", async () => {
    const { result, asked } = await outcome(new Uint8Array(1_000_001));
    expect(result).toEqual({ outcome: "rejected", reason: "too_large" });
    expect(asked).toEqual([]);
  });

  test.each([
    ["no JSON", "x", "not_json"],
    ["no envelope", "{}", "schema"],
    ["a name twice", '{"v":1,"v":1}', "duplicate_name"],
  ])("the schema: %s", async (_name, text, expected) => {
    const { result, asked } = await outcome(utf8(text));
    expect(result).toEqual({ outcome: "rejected", reason: expected });
    expect(asked).toEqual([]);
  });

  test("the recipient", async () => {
    const { result, asked } = await outcome(bytes, { id: stranger.signing.id });
    expect(result).toEqual({
      outcome: "rejected",
      reason: "wrong_recipient",
      eventId: eventIdOf("message"),
    });
    expect(asked).toEqual([]);
  });

  test.each([
    ["another type", () => messageSpaceSubject(SPACE, service.signing.id, "authz.request")],
    ["a ref the header lacks", () => `${subject()}.${eventIdOf("ref")}`],
    ["another service", () => messageSpaceSubject(SPACE, stranger.signing.id, "auth.request")],
    ["another space", () => messageSpaceSubject(eventIdOf("other"), service.signing.id, "auth.request")],
    ["a longer subject", () => `${subject()}.x`],
    ["a space behind", () => `${subject()} `],
    ["nothing", () => ""],
  ])("the subject: %s", async (_name, on) => {
    const { result, asked } = await outcome(bytes, {}, on());
    expect(result).toMatchObject({ outcome: "rejected", reason: "subject_mismatch" });
    expect(asked).toEqual(["subjects"]);
  });

  test("sender and contract", async () => {
    const foreign = await sealed({ contract_id: hashIdOf("another contract") });
    const { result, asked } = await outcome(foreign);
    expect(result).toMatchObject({ outcome: "rejected", reason: "unknown_contract" });
    expect(asked).toEqual(["subjects", "signing key"]);
    expect(await reason(await sealed({}, payload, stranger))).toBe("unknown_contract");
  });

  test.each([
    ["2026-03-03T12:01:00.000Z", "expired"],
    ["2026-03-03T12:00:59.999Z", "expired"],
    ["2026-03-03T12:01:00.001Z", "verified"],
  ])("the end: at 12:01 a message that expires at %s is %s", async (expires_at, expected) => {
    expect(await reason(await sealed({ expires_at }))).toBe(expected);
  });

  test.each([
    ["2026-03-03T12:02:00.000Z", "verified"],
    ["2026-03-03T12:02:00.001Z", "from_the_future"],
  ])("the clock: at 12:01 a message of %s is %s", async (timestamp, expected) => {
    expect(await reason(await sealed({ timestamp }))).toBe(expected);
  });

  test("the signature, before anyone is asked whether the message was seen", async () => {
    const text = new TextDecoder().decode(bytes);
    const { seq: _seq, ...rest } = JSON.parse(text);
    const { result, asked } = await outcome(utf8(JSON.stringify({ ...rest, seq: 2 })));
    expect(result).toMatchObject({ outcome: "rejected", reason: "signature_invalid" });
    expect(asked).toEqual(["subjects", "signing key"]);
    expect(await reason(bytes, { signingKeyOf: () => stranger.signing.publicKey })).toBe("signature_invalid");
    expect(await reason(bytes, { signingKeyOf: () => new Uint8Array(0) })).toBe("signature_invalid");
  });

  test("a message seen before is known again, without its key being needed", async () => {
    const { result, asked } = await outcome(bytes, { seen: () => "seen", keyOf: () => undefined });
    expect(result).toMatchObject({ outcome: "seen", header: { event_id: eventIdOf("message") } });
    expect(asked).toEqual(["subjects", "signing key", "seen"]);
  });

  test("a number used under another id", async () => {
    const { result, asked } = await outcome(bytes, { seen: () => "seq_reused" });
    expect(result).toMatchObject({ outcome: "rejected", reason: "seq_reused" });
    expect(asked).toEqual(["subjects", "signing key", "seen"]);
  });

  test("the key it was sealed to", async () => {
    const { result, asked } = await outcome(await sealed({}, payload, service, stranger));
    expect(result).toMatchObject({ outcome: "rejected", reason: "unknown_key" });
    expect(asked).toEqual(["subjects", "signing key", "seen", "key"]);
  });

  test("the seal", async () => {
    const { result, asked } = await outcome(bytes, { keyOf: async () => stranger.agreement });
    expect(result).toMatchObject({ outcome: "rejected", reason: "undecryptable" });
    expect(asked).toEqual(["subjects", "signing key", "seen", "key"]);
  });
});

describe("an authentic message of the wrong form is malformed, so that it can be receipted as refused", () => {
  test("of a type nobody sends", async () => {
    const odd = await sealed({ event_type: "odd.thing" });
    const on = messageSpaceSubject(SPACE, service.signing.id, "odd.thing");
    expect((await outcome(odd, {}, on)).result).toMatchObject({ outcome: "malformed", payload: undefined });
  });

  test.each<[string, unknown]>([
    ["a field more", { ...payload, extra: 1 }],
    ["a field more, further down", { ...payload, nested: { list: [1], extra: 1 } }],
    ["a field less", { text: "x" }],
    ["a wrong type", { ...payload, text: 1 }],
    ["null for what is absent", { ...payload, nested: null }],
    ["no object", []],
  ])("with %s; the payload is there to be answered", async (_name, value) => {
    const { result } = await outcome(await sealed({}, value));
    expect(result).toMatchObject({ outcome: "malformed", payload: value });
  });

  // Our own seal makes no such payload; another implementation might.
  test.each([
    ["a name twice", '{"text":"a","text":"b","nested":{"list":[]}}'],
    ["no JSON", "{"],
    ["nothing but padding", ""],
    ["a lone surrogate", '{"text":"\\ud800","nested":{"list":[]}}'],
    ["two values", "{} {}"],
    ["an integer beyond 2^53", '{"text":"a","nested":{"list":[9007199254740993]}}'],
  ])("with a plaintext that is no JSON of the protocol: %s", async (_name, payloadText) => {
    const { envelope } = sealSteps({
      senderSeed: service.seed,
      ephemeralSecret: stranger.secret,
      recipientPublicKey: user.agreement.publicKey,
      nonce: stranger.seed.subarray(0, 24),
      header: { ...message(user.signing.id), from: service.signing.id },
      payloadText,
      minimumBytes: 1_024,
    });
    const { result } = await outcome(utf8(JSON.stringify(envelope)));
    expect(result).toMatchObject({ outcome: "malformed", payload: undefined });
  });
});

test("with any one bit of its bytes flipped, a message is never verified", async () => {
  for (let at = 0; at < bytes.length; at++) {
    const { result } = await outcome(flipped(bytes, at * 8 + (at % 8)));
    if (result.outcome !== "rejected") expect.fail(`byte ${at}: ${result.outcome}`);
  }
});
