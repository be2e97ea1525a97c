// Which numbers of the user's have been taken in (PROTOCOL §4), whatever happens to the object between them. An answer's
// number is in its request's row, the others' in the contract's: together they are held against a plain set.

import { abortAllDurableObjects, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { MAX_ANSWERS_BESIDE, Store } from "../../durable-objects/user-connection/store.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import type { InboundMessage, InboundOutcome } from "../../src/rpc.ts";
import { Fault, type Manner } from "../support/faults.ts";
import type { Peer } from "../support/peer.ts";
import { connectedPeer } from "../support/worker.ts";

const serviceId = inject("serviceId");
const keyId = "testkey00001";

/** For all courses; they take a few seconds. */
const COURSES_TIMEOUT_MS = 60_000;

type Message = InboundMessage & { eventId: string };

beforeEach(() => {
  // Objects that die on purpose say so.
  console.error = () => {};
});
afterEach(() => reset());

const object = (peer: Peer) => userConnectionOf(env, peer.id);

/** The contract's row as it is stored, without what answers have left beside it. */
const storedRow = (peer: Peer, contractId = peer.contractId!) =>
  runInDurableObject(
    env.USER_CONNECTION.getByName(peer.id),
    (_: UserConnection, { storage }) =>
      storage.sql
        .exec("SELECT received_seq, last_activity_at FROM contracts WHERE contract_id = ?", contractId)
        .one() as { received_seq: number; last_activity_at: number },
  );

async function connection(peer: Peer) {
  const detail = await object(peer).contract(peer.contractId!);
  if (!detail.ok) throw new Error(detail.error.detail);
  return detail.value.connection;
}

let asks = 0;
async function ask(peer: Peer): Promise<RequestPayload> {
  asks += 1;
  const asked = await object(peer).ask({
    userId: peer.id,
    kind: "auth",
    operation: "authenticate",
    input: {},
    purpose: `Log in, the ${asks}th time`,
    expiresInSeconds: 300,
    offlineGraceSeconds: 0,
    keyId,
  });
  if (!asked.ok) throw new Error(`${asked.error.code}: ${asked.error.detail}`);
  return asked.value.request_payload as RequestPayload;
}

const answerTo = async (
  peer: Peer,
  payload: RequestPayload,
  options: { decision?: "denied"; seq?: number } = {},
): Promise<Message> => {
  const { seq, ...decision } = options;
  return peer.message(serviceId, "auth.response", await peer.answer(payload, serviceId, decision), {
    ref: payload.request_id,
    ...(seq === undefined ? {} : { header: { seq } }),
  });
};

const update = (peer: Peer, seq?: number): Promise<Message> =>
  peer.message(
    serviceId,
    "profile.update",
    { profile: { email: "b@example.com" } },
    seq === undefined ? {} : { header: { seq } },
  );

const deliver = async (peer: Peer, { subject, bytes }: Message): Promise<InboundOutcome> =>
  (await object(peer).receive([{ subject, bytes }]))[0]!;

async function receiptIn(peer: Peer, { replies }: InboundOutcome): Promise<Receipt> {
  const stored = replies.find(({ cluster }) => cluster === "messagespace")!;
  return (await peer.open(new Uint8Array(stored.bytes))).payload as unknown as Receipt;
}

/** Delivered until there is a receipt, as a vault and the bridge do. */
async function take(peer: Peer, message: Message): Promise<Receipt> {
  const outcome = await deliver(peer, message);
  expect(outcome).toMatchObject({ handled: "done" });
  return receiptIn(peer, outcome);
}

async function login(peer: Peer): Promise<Receipt> {
  return take(peer, await answerTo(peer, await ask(peer)));
}

/** What a set of numbers says, the plain way. */
class Model {
  readonly taken = new Map<number, { message: Message; receipt: Receipt }>();
  lastActivity: string | undefined;

  get highest(): number {
    return Math.max(0, ...this.taken.keys());
  }

  get missing(): number[] {
    return Array.from({ length: this.highest }, (_, at) => at + 1).filter((seq) => !this.taken.has(seq));
  }

  add(seq: number, message: Message, receipt: Receipt): void {
    this.taken.set(seq, { message, receipt });
    this.lastActivity = receipt.received_at;
    expect(receipt.missing_seq ?? []).toEqual(this.missing);
  }

  async agreesWith(peer: Peer): Promise<void> {
    const { received_seq, missing_seq, last_activity_at } = await connection(peer);
    expect({ received_seq, missing_seq }).toEqual({
      received_seq: this.highest,
      missing_seq: this.missing,
    });
    if (this.lastActivity !== undefined) expect(last_activity_at).toBe(this.lastActivity);
  }
}

/** Asks left open at once; a user has at most five open, and answers may be held back to two more. */
const OPEN_ASKS = 2;
const HELD_ANSWERS = 2;

/** A user's vault that holds messages back, repeats them, uses numbers twice; and an object that dies. */
class Course {
  readonly model = new Model();
  readonly peer: Peer;
  readonly #open: RequestPayload[] = [];
  readonly #held: { seq: number; message: Message; isAnswer: boolean }[] = [];

  constructor(peer: Peer) {
    this.peer = peer;
  }

  async #pending(pick: number): Promise<RequestPayload> {
    // Some stay open for a while: the row that answers are looked for from stays behind.
    while (this.#open.length < OPEN_ASKS) this.#open.push(await ask(this.peer));
    return this.#open.splice(pick % this.#open.length, 1)[0]!;
  }

  async #taken(message: Message, seq = this.peer.seq): Promise<void> {
    this.model.add(seq, message, await take(this.peer, message));
  }

  #any(pick: number) {
    const all = [...this.model.taken];
    return all[pick % all.length];
  }

  readonly steps: Record<string, (pick: number) => Promise<void>> = {
    answer: async (pick) => this.#taken(await answerTo(this.peer, await this.#pending(pick))),
    denial: async (pick) =>
      this.#taken(await answerTo(this.peer, await this.#pending(pick), { decision: "denied" })),
    update: async () => this.#taken(await update(this.peer)),
    hold: async (pick) => {
      const isAnswer = pick % 2 === 0 && this.#held.filter((held) => held.isAnswer).length < HELD_ANSWERS;
      const message = isAnswer
        ? await answerTo(this.peer, await this.#pending(pick))
        : await update(this.peer);
      this.#held.push({ seq: this.peer.seq, message, isAnswer });
    },
    release: async (pick) => {
      const held = this.#held.splice(pick % Math.max(1, this.#held.length), 1)[0];
      if (held !== undefined) await this.#taken(held.message, held.seq);
    },
    repeat: async (pick) => {
      const known = this.#any(pick);
      if (known === undefined) return;
      const [, { message, receipt }] = known;
      const { missing_seq: _then, ...said } = receipt;
      const { missing_seq: now, ...saidAgain } = await take(this.peer, message);
      expect(saidAgain).toEqual(said);
      expect(now ?? []).toEqual(this.model.missing);
    },
    reuse: async (pick) => {
      const known = this.#any(pick);
      if (known === undefined) return;
      const [seq] = known;
      const payload = await this.#pending(pick);
      for (const message of [await update(this.peer, seq), await answerTo(this.peer, payload, { seq })])
        expect(await deliver(this.peer, message)).toMatchObject({ rejected: { reason: "seq_reused" } });
      this.#open.push(payload);
    },
    evict: async () => abortAllDurableObjects(),
    "rolled back": async (pick) => {
      const message = await answerTo(this.peer, await this.#pending(pick));
      await runInDurableObject(env.USER_CONNECTION.getByName(this.peer.id), (_, { storage: { sql } }) => {
        const exec = sql.exec.bind(sql);
        sql.exec = ((query: string, ...bindings: SqlStorageValue[]) => {
          if (!query.startsWith("INSERT INTO audit")) return exec(query, ...bindings);
          sql.exec = exec;
          throw new Error("the disk is full");
        }) as typeof exec;
      });
      const seq = this.peer.seq;
      expect(await deliver(this.peer, message)).toMatchObject({ handled: "retry" });
      await this.model.agreesWith(this.peer);
      await this.#taken(message, seq);
    },
    ...Object.fromEntries(
      (["fails", "dies"] as const).map((manner: Manner) => [
        `commit ${manner}`,
        async (pick: number) => {
          const message = await answerTo(this.peer, await this.#pending(pick));
          const seq = this.peer.seq;
          const fault = new Fault("user.commit", manner);
          try {
            // Before the commit, and once more after it.
            for (const _ of [1, 2]) {
              expect(await deliver(this.peer, message)).toMatchObject({ handled: "retry" });
              await fault.restart();
            }
            expect(fault.fired).toBe(2);
          } finally {
            fault.disarm();
          }
          await this.#taken(message, seq);
        },
      ]),
    ),
  };
}

const STEPS = [
  ...Array<string>(8).fill("answer"),
  "denial",
  "update",
  "hold",
  "hold",
  "release",
  "release",
  "repeat",
  "reuse",
  "evict",
  "rolled back",
  "commit fails",
  "commit dies",
];

describe("the numbers taken in", () => {
  it(
    "are those of a plain set, in any course of answers, gaps, repeats, deaths and failing commits",
    async () => {
      const step = fc.record({ name: fc.constantFrom(...STEPS), pick: fc.nat(1_000) });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 45 }), async (steps) => {
          const course = new Course(await connectedPeer());
          for (const { name, pick } of steps) {
            await course.steps[name]!(pick);
            await course.model.agreesWith(course.peer);
          }
          await abortAllDurableObjects();
          await course.model.agreesWith(course.peer);
        }),
        { numRuns: 5, endOnFailure: true },
      );
    },
    COURSES_TIMEOUT_MS,
  );

  it("cost the contract's row a write only with each so many answers, and are the same to an object that wakes", async () => {
    const peer = await connectedPeer();
    const before = await storedRow(peer);
    for (let seq = 1; seq < MAX_ANSWERS_BESIDE; seq++) {
      await login(peer);
      expect(await storedRow(peer)).toEqual(before);
      expect(await connection(peer)).toMatchObject({ received_seq: seq, missing_seq: [] });
    }
    const last = await login(peer);
    const written = await storedRow(peer);
    expect(written.received_seq).toBe(MAX_ANSWERS_BESIDE);
    expect(written.last_activity_at).toBe(Date.parse(last.received_at));
    await login(peer);
    await abortAllDurableObjects();
    expect((await storedRow(peer)).received_seq).toBe(MAX_ANSWERS_BESIDE);
    expect((await connection(peer)).received_seq).toBe(MAX_ANSWERS_BESIDE + 1);
  });

  it("are in the contract's row where an answer leaves a gap or fills one", async () => {
    const peer = await connectedPeer();
    await login(peer);
    const late = await answerTo(peer, await ask(peer));
    expect((await login(peer)).missing_seq).toEqual([2]);
    expect((await storedRow(peer)).received_seq).toBe(3);
    await login(peer);
    expect((await take(peer, late)).missing_seq).toBeUndefined();
    expect((await storedRow(peer)).received_seq).toBe(4);
    await abortAllDurableObjects();
    expect(await connection(peer)).toMatchObject({ received_seq: 4, missing_seq: [] });
  });

  it.each([
    ["cancelled", (peer: Peer) => object(peer).cancelContract(peer.contractId!, undefined, keyId)],
    ["paused", (peer: Peer) => object(peer).pauseContract(peer.contractId!, undefined, keyId)],
    ["rotating", (peer: Peer) => object(peer).rotateConnectionKey(peer.contractId!, keyId)],
  ])("are in the contract's row whatever else it is written for: %s", async (_, act) => {
    const peer = await connectedPeer();
    await login(peer);
    const last = await login(peer);
    expect((await storedRow(peer)).received_seq).toBe(0);
    expect(await act(peer)).toMatchObject({ ok: true });
    expect(await storedRow(peer)).toMatchObject({
      received_seq: 2,
      last_activity_at: Date.parse(last.received_at),
    });
    await abortAllDurableObjects();
    expect((await connection(peer)).received_seq).toBe(2);
    const reused = await update(peer, 2);
    expect(await deliver(peer, reused)).toMatchObject({ rejected: { reason: "seq_reused" } });
  });

  it("are read anew after a transaction that had seen its own writes is rolled back", async () => {
    const peer = await connectedPeer();
    const { request_id } = await ask(peer);
    await runInDurableObject(env.USER_CONNECTION.getByName(peer.id), (_, { storage }) => {
      const store = new Store(storage);
      const received = () => store.contract(peer.contractId!)!.received_seq;
      const asked = storage.sql.exec("SELECT n FROM outgoing WHERE event_id = ?", request_id).one();
      const write = (end: () => void) =>
        store.transaction(() => {
          store.updateOutgoing(asked.n as number, { answer_seq: 1 });
          store.noteBeside(peer.contractId!, 1, Date.now());
          expect(received()).toBe(1);
          end();
        });
      expect(() =>
        write(() => {
          throw new Error("the disk is full");
        }),
      ).toThrow("the disk is full");
      expect(received()).toBe(0);
      write(() => {});
      expect(received()).toBe(1);
    });
  });

  it("stay refused under an ended contract, where nothing is counted any more", async () => {
    const peer = await connectedPeer();
    await login(peer);
    await object(peer).cancelContract(peer.contractId!, undefined, keyId);
    expect((await take(peer, await update(peer))).reason).toBe("contract_ended");
    expect((await connection(peer)).received_seq).toBe(2);
    expect(await deliver(peer, await update(peer, 1))).toMatchObject({
      rejected: { reason: "seq_reused" },
    });
  });
});
