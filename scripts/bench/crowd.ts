// Many people in one process of their own, on one session to each cluster: they connect, take what they are asked, and
// answer at once, later, or in one burst prepared beforehand. They do what a user's vault does on the wire and keep
// nothing. Started by crowd-handle.ts, told by messages what to do.

import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  type NatsConnection,
  headers as natsHeaders,
  RetentionPolicy,
  StorageType,
} from "nats.ws";
import { within } from "../../src/nats/session.ts";
import { CHALLENGE_BYTES, type RequestPayload } from "../../src/protocol/asking.ts";
import type { ContractAccepted } from "../../src/protocol/contract.ts";
import { fromBase64, toBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import type { Offer } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { Peer } from "../../test/support/peer.ts";
import { connectWithCreds } from "../stack/nats-client.ts";
import { FLOOR_CONSUMER, FLOOR_STREAM, FLOOR_SUBJECTS, FLOOR_TO_USER, floorSubject } from "./floors/names.ts";
import { each } from "./http.ts";
import { until } from "./measure.ts";

export interface CrowdSettings {
  serviceId: string;
  /** May publish whatever a user may, for any user. */
  users: { url: string; creds: string };
  /** May read all of MessageSpace. */
  messageSpace: { url: string; creds: string };
  /** In the account that owns the service's streams, for the floor's own stream. */
  owner: { url: string; creds: string };
}

/** What the crowd does with an ask. */
export type Manner =
  /** Kept until `prepare`. */
  | { kind: "hold" }
  /** Receipt and answer as soon as it is read. */
  | { kind: "instant" }
  /** Receipt at once, the answer after a pause. */
  | { kind: "slow"; ms: number };

/** What can be asked of it; each resolves when done. */
export interface CrowdApi {
  /** People who connect by an invite; their user ids, and how many submissions had to be sent more than once. */
  connect(offer: Offer, inviteCode: string, people: number): Promise<{ userIds: string[]; repeated: number }>;
  manner(manner: Manner): Promise<void>;
  /** Seals answers to everything held, once there are so many asks; the bytes of one answer, on average. */
  prepare(count: number): Promise<number>;
  /** Publishes what was prepared; resolves with the seconds until every receipt has come. */
  burst(): Promise<number>;
  /** Publishes the same number of bare messages; the seconds until the floor has acknowledged all. */
  floorBurst(users: string[], messages: number, bytes: number): Promise<number>;
  /** Answers of asks so far that were receipted. */
  settled(): Promise<number>;
}

const CONNECT_IN_FLIGHT = 32;
const SEAL_IN_FLIGHT = 16;
const TIMEOUT_MS = 120_000;
const LOGIN_MS = 300_000;
/** A submission that nothing came of is sent again after this, as a user's vault does. */
const REPEAT_MS = 20_000;

/** For the floor, which seals nothing: somebody, and an ask sealed to them. */
interface StandIn {
  person: Peer;
  ask: Uint8Array;
  eventId: string;
}

async function makeStandIn(): Promise<StandIn> {
  const [person, service] = await Promise.all([Peer.make(), Peer.make()]);
  person.contractId = service.contractId = service.id;
  person.serviceKey = service.connection.publicKey;
  const now = Date.now();
  const payload: RequestPayload = {
    request_id: newEventId(),
    kind: "auth",
    purpose: "Log in to the shop",
    challenge: toBase64(randomBytes(CHALLENGE_BYTES)),
    expires_at: toTimestamp(now + LOGIN_MS),
    offline_grace_seconds: 0,
  };
  const to = person.connection.publicKey;
  const { bytes, eventId } = await service.message(person.id, "auth.request", payload, { to });
  return { person, ask: bytes, eventId };
}

class Crowd implements CrowdApi {
  readonly #settings: CrowdSettings;
  readonly #users: NatsConnection;
  readonly #owner: NatsConnection;
  readonly #standIn: StandIn;
  readonly #bySpace = new Map<string, Peer>();
  /** By message space: what a connect waits for. */
  readonly #connecting = new Map<string, { resolve(): void; reject(error: Error): void }>();
  #manner: Manner = { kind: "hold" };
  #held: { peer: Peer; payload: RequestPayload; eventId: string }[] = [];
  #prepared: { subject: string; bytes: Uint8Array; eventId: string }[] = [];
  /** Event ids of answers whose receipt has not come. */
  readonly #unreceipted = new Set<string>();
  #settled = 0;
  #onEmpty: () => void = () => {};

  private constructor(
    settings: CrowdSettings,
    users: NatsConnection,
    messageSpace: NatsConnection,
    owner: NatsConnection,
    standIn: StandIn,
  ) {
    this.#settings = settings;
    this.#users = users;
    this.#owner = owner;
    this.#standIn = standIn;
    messageSpace.subscribe("MessageSpace.*.fromService.>", {
      callback: (_, { subject, data }) => void this.#read(subject.split(".")[1]!, data.slice()),
    });
    messageSpace.subscribe(`${FLOOR_TO_USER}.>`, {
      callback: (_, { subject }) => {
        const [, , user, row] = subject.split(".");
        void this.#answerFloor(floorSubject(user!, row!));
      },
    });
  }

  static async start(settings: CrowdSettings): Promise<Crowd> {
    const [users, messageSpace, owner] = await Promise.all([
      connectWithCreds(settings.users.url, settings.users.creds),
      connectWithCreds(settings.messageSpace.url, settings.messageSpace.creds),
      connectWithCreds(settings.owner.url, settings.owner.creds),
    ]);
    const manager = await owner.jetstreamManager({ checkAPI: false });
    await manager.streams.add({
      name: FLOOR_STREAM,
      subjects: [FLOOR_SUBJECTS],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
    });
    await manager.consumers.add(FLOOR_STREAM, {
      durable_name: FLOOR_CONSUMER,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      max_ack_pending: 10_000,
    });
    return new Crowd(settings, users, messageSpace, owner, await makeStandIn());
  }

  async connect(offer: Offer, inviteCode: string, people: number) {
    let repeated = 0;
    const userIds = await each(Array.from({ length: people }), CONNECT_IN_FLIGHT, async () => {
      const peer = await Peer.make();
      const submission = await peer.submission(peer.contract(offer), inviteCode, {
        profile: { email: "someone@example.com" },
      });
      const { contractId } = peer;
      peer.contractId = undefined;
      const message = await peer.submit(offer, submission);
      peer.contractId = contractId;
      this.#bySpace.set(peer.messageSpace, peer);
      const accepted = new Promise<void>((resolve, reject) =>
        this.#connecting.set(peer.messageSpace, { resolve, reject }),
      );
      let sendings = 0;
      const send = () => this.#publish(message, ++sendings);
      send();
      const repeats = setInterval(send, REPEAT_MS);
      try {
        await within(accepted, TIMEOUT_MS, `the acceptance of ${peer.id}`);
      } finally {
        clearInterval(repeats);
      }
      if (sendings > 1) repeated += 1;
      return peer.id;
    });
    return { userIds, repeated };
  }

  async manner(manner: Manner): Promise<void> {
    this.#manner = manner;
  }

  async prepare(count: number): Promise<number> {
    await until(`${count} asks at the users' vaults`, TIMEOUT_MS, () => this.#held.length >= count);
    const held = this.#held.splice(0);
    this.#prepared = await each(held, SEAL_IN_FLIGHT, ({ peer, payload }) => this.#answerTo(peer, payload));
    return this.#prepared.reduce((sum, { bytes }) => sum + bytes.length, 0) / this.#prepared.length;
  }

  async burst(): Promise<number> {
    const messages = this.#prepared.splice(0);
    for (const { eventId } of messages) this.#unreceipted.add(eventId);
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    const started = performance.now();
    for (const message of messages) this.#publish(message);
    await this.#users.flush();
    await within(empty, TIMEOUT_MS, `receipts of ${messages.length} answers`);
    return (performance.now() - started) / 1_000;
  }

  async floorBurst(users: string[], messages: number, bytes: number): Promise<number> {
    const manager: JetStreamManager = await this.#owner.jetstreamManager({ checkAPI: false });
    const body = new Uint8Array(bytes).fill(0x61);
    const started = performance.now();
    this.#floorRow += messages;
    for (let at = 0; at < messages; at++)
      this.#owner.publish(floorSubject(users[at % users.length]!, this.#floorRow + at), body);
    await this.#owner.flush();
    await until("the floor's stream is empty", TIMEOUT_MS, async () => {
      const { state } = await manager.streams.info(FLOOR_STREAM);
      return state.messages === 0;
    });
    return (performance.now() - started) / 1_000;
  }

  /** Rows far from those that asks were given. */
  #floorRow = 1_000_000;

  async settled(): Promise<number> {
    return this.#settled;
  }

  #publish(
    { subject, bytes, eventId }: { subject: string; bytes: Uint8Array; eventId: string },
    sending = 1,
  ): void {
    const headers = natsHeaders();
    headers.set("Nats-Msg-Id", `${eventId}-${sending}`);
    this.#users.publish(subject, bytes, { headers });
  }

  async #read(space: string, bytes: Uint8Array): Promise<void> {
    const peer = this.#bySpace.get(space);
    if (peer === undefined) return;
    const { header, payload } = await peer.open(bytes);
    switch (header.event_type) {
      case "contract.accepted":
        peer.serviceKey = fromBase64((payload as unknown as ContractAccepted).service_connection_key)!;
        await this.#receipt(peer, header.event_id);
        this.#connecting.get(space)?.resolve();
        break;
      case "contract.rejected":
        this.#connecting.get(space)?.reject(new Error(`${peer.id} was rejected: ${JSON.stringify(payload)}`));
        break;
      case "receipt": {
        const { event_id } = payload as { event_id: string };
        if (!this.#unreceipted.delete(event_id)) return;
        this.#settled += 1;
        if (this.#unreceipted.size === 0) this.#onEmpty();
        break;
      }
      case "auth.request":
        await this.#asked(peer, header.event_id, payload as unknown as RequestPayload);
        break;
    }
  }

  async #asked(peer: Peer, eventId: string, payload: RequestPayload): Promise<void> {
    const manner = this.#manner;
    if (manner.kind === "hold") {
      this.#held.push({ peer, payload, eventId });
      return;
    }
    const answer = async () => {
      const message = await this.#answerTo(peer, payload);
      this.#unreceipted.add(message.eventId);
      return message;
    };
    if (manner.kind === "slow") {
      await this.#receipt(peer, eventId);
      setTimeout(async () => this.#publish(await answer()), manner.ms);
      return;
    }
    // Decided at once: both leave together.
    const [receipt, answered] = await Promise.all([this.#receiptFor(peer, eventId), answer()]);
    this.#publish(receipt);
    this.#publish(answered);
  }

  /**
   * What a person does is not the vault's: the floor's opens an ask, signs and seals as the vault's does, so that the
   * two trips differ by the vault alone.
   */
  async #answerFloor(subject: string): Promise<void> {
    const { person, ask, eventId } = this.#standIn;
    const { payload } = await person.open(ask);
    const [, answered] = await Promise.all([
      this.#receiptFor(person, eventId),
      this.#answerTo(person, payload as unknown as RequestPayload),
    ]);
    this.#owner.publish(subject, answered.bytes);
  }

  #receiptFor(peer: Peer, eventId: string) {
    const receipt = { event_id: eventId, received_at: toTimestamp(Date.now()), outcome: "stored" };
    return peer.message(this.#settings.serviceId, "receipt", receipt, { ref: eventId });
  }

  async #receipt(peer: Peer, eventId: string): Promise<void> {
    this.#publish(await this.#receiptFor(peer, eventId));
  }

  async #answerTo(peer: Peer, payload: RequestPayload) {
    const { serviceId } = this.#settings;
    const answer = await peer.answer(payload, serviceId);
    return peer.message(serviceId, "auth.response", answer, { ref: payload.request_id });
  }
}

process.once("message", (settings) => {
  const crowd = Crowd.start(settings as CrowdSettings);
  process.on("message", (message) => {
    const { id, method, args } = message as { id: number; method: keyof CrowdApi; args: unknown[] };
    crowd
      .then((started) => (started[method] as (...args: unknown[]) => Promise<unknown>)(...args))
      .then(
        (result) => process.send?.({ id, result }),
        (error: unknown) => process.send?.({ id, error: String(error) }),
      );
  });
});
