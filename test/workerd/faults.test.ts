// Every place of src/fault-points.ts fails once, before and after it took effect, under a login that goes all the way:
// invite, contract, ask, answer, event, webhook, audit log. What is called from outside behaves as a backend and a
// user's vault must: it repeats until it has an answer. Then all who know of the login must say the same.
//
// With FAULTS=all each place fails in both manners, which takes twice as long. The clusters are this file's own
// (vitest.config.ts): the person's messages go through the real bridge.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { connect, type NatsConnection } from "nats.ws";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { AUDIT_LOG_NAME } from "../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME } from "../../durable-objects/directory/directory.ts";
import { Journal } from "../../durable-objects/journal/journal.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { configOf } from "../../src/config.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { FAULT_POINTS, type FaultPoint } from "../../src/fault-points.ts";
import { credsAuthenticator, credsText } from "../../src/nats/creds.ts";
import { encodeNkey, encodeSeed } from "../../src/nats/nkey.ts";
import { shardName } from "../../src/nats/shards.ts";
import { mintUserJwt } from "../../src/nats/user-jwt.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import type { ContractAccepted } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import type { Offer } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserWildcard, userInboxPrefix } from "../../src/protocol/subjects.ts";
import { attempt } from "../../src/webhooks/attempt.ts";
import { Fault, type Manner } from "../support/faults.ts";
import { fireAlarm, Receiver, shiftClock, sleep } from "../support/journal.ts";
import { offeringContent } from "../support/offer.ts";
import { Peer } from "../support/peer.ts";
import { type Answer, type CallOptions, call } from "../support/worker.ts";

const serviceId = inject("serviceId");
/** Whether every place also fails without anything dying; the run of every day is content with deaths. */
const MANNERS: readonly Manner[] = inject("allFaults") ? ["dies", "fails"] : ["dies"];
/** How long a login may take through its fault; what it takes is far below a second. */
const SETTLE_TIMEOUT_MS = 15_000;
const POLL_MS = 20;
/** A vault sends again after 20 s, this one at once. */
const RESEND_AFTER_MS = 100;
/** How often time passes for the objects: whatever is set for later is due now. */
const NUDGE_EVERY_MS = 80;
const EXPIRY_SECONDS = 1_800;
/** Past every pause of the journal's that a login can come upon. */
const JOURNAL_STEP_MS = 20_000;

let fault: Fault | undefined;
let vaults: NatsConnection;
let platform: NatsConnection;
let receiver: Receiver;
let offer: Offer;
let invite: string;

/** Vaults by their MessageSpace. */
const people = new Map<string, Person>();

/** What `look` finds, through whatever happens meanwhile; `round` is what goes on in the world while it is looked for. */
async function eventually<T>(what: string, round: () => Promise<void>, look: () => Promise<T | undefined>) {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    await fault?.restart();
    await round();
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${SETTLE_TIMEOUT_MS} ms`);
    await sleep(POLL_MS);
  }
}

/** A call as a backend makes it: repeated, with its Idempotency-Key, until there is an answer that is one. */
async function insist(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const nothing = async () => {};
  return eventually(`${method} ${path}`, nothing, async () => {
    const answer = await call(method, path, options);
    return answer.status >= 500 ? undefined : answer;
  });
}

const get = async (path: string) => (await insist("GET", `/api/v1/${path}`)).body;

/** A person's vault as far as a login needs one: sends until there is a receipt, answers once, knows what it has. */
class Person {
  readonly peer: Peer;
  /** Said and not yet receipted, by event id. */
  readonly #outbox = new Map<string, { subject: string; bytes: Uint8Array; sentAt: number }>();
  readonly #answered = new Set<string>();
  /** How the service counted the answer, as the receipt says, and the entry it names. */
  readonly outcomes = new Map<string, { status: string | undefined; hash: string | undefined }>();
  rejected = false;
  #accepted = false;
  #handling: Promise<void> = Promise.resolve();

  constructor(peer: Peer) {
    this.peer = peer;
  }

  get id(): string {
    return this.peer.id;
  }

  /** Whether the service has confirmed all that was said. */
  get isSettled(): boolean {
    return this.#outbox.size === 0;
  }

  #say(message: { eventId: string; subject: string; bytes: Uint8Array }, isReceipted = true): void {
    vaults.publish(message.subject, message.bytes);
    if (isReceipted) this.#outbox.set(message.eventId, { ...message, sentAt: Date.now() });
  }

  async submit(): Promise<void> {
    const submission = await this.peer.submission(this.peer.contract(offer), invite, {
      profile: { email: "ada@example.com" },
    });
    this.#say(await this.peer.submit(offer, submission));
  }

  /** Sends again what has no receipt yet. */
  resend(): void {
    const now = Date.now();
    for (const message of this.#outbox.values()) {
      if (now - message.sentAt < RESEND_AFTER_MS) continue;
      message.sentAt = now;
      vaults.publish(message.subject, message.bytes);
    }
  }

  /** Messages one after the other, as they came. */
  take(bytes: Uint8Array): void {
    this.#handling = this.#handling.then(() => this.#take(bytes));
  }

  async #take(bytes: Uint8Array): Promise<void> {
    const { header, payload } = await this.peer.open(bytes);
    switch (header.event_type) {
      case "receipt": {
        const receipt = payload as unknown as Receipt;
        expect(receipt.outcome).toBe("stored");
        this.#outbox.delete(receipt.event_id);
        this.outcomes.set(receipt.event_id, { status: receipt.request_status, hash: receipt.event_hash });
        return;
      }
      case "contract.rejected":
        this.rejected = true;
        return;
      case "contract.accepted": {
        const accepted = payload as unknown as ContractAccepted;
        if (!this.#accepted) this.peer.serviceKey = fromBase64(accepted.service_connection_key)!;
        this.#accepted = true;
        break;
      }
      default: {
        expect(header.event_type).toBe("auth.request");
        if (this.#answered.has(header.event_id)) break;
        this.#answered.add(header.event_id);
        const answer = await this.peer.answer(payload as unknown as RequestPayload, serviceId);
        this.#say(await this.peer.message(serviceId, "auth.response", answer, { ref: header.event_id }));
      }
    }
    const receipt = { event_id: header.event_id, received_at: toTimestamp(Date.now()), outcome: "stored" };
    this.#say(await this.peer.message(serviceId, "receipt", receipt, { ref: header.event_id }), false);
  }
}

const closeSessions = async (): Promise<void> => {
  await Promise.all([vaults?.close(), platform?.close()]);
};

/** Everyone's vault on the service's cluster, and what the platform has for them. */
async function openSessions(): Promise<void> {
  // Left open, a session would go on trying for ever: what a reset has closed does not come back.
  await closeSessions();
  const seed = randomBytes(32);
  const config = await configOf(env);
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const jwt = await mintUserJwt({
    signingKey: config.usersAccountKey,
    account: config.SERVICESPACE_USERS_ACCOUNT,
    userNatsKey: encodeNkey("user", (await importSigningKey(seed)).publicKey),
    name: "everyone",
    permissions: {
      publish: [fromUserWildcard(serviceId)],
      subscribe: [`${userInboxPrefix(serviceId, "everyone")}.>`],
    },
    maxSubscriptions: 1,
    expiresAtSeconds: nowSeconds + 3_600,
    nowSeconds,
  });
  const creds = credsText(jwt, encodeSeed("user", seed));
  vaults = await connect({
    servers: inject("serviceSpace").ws,
    authenticator: credsAuthenticator(creds),
    inboxPrefix: userInboxPrefix(serviceId, "everyone"),
  });
  platform = await connect({
    servers: inject("messageSpace").ws,
    authenticator: credsAuthenticator(inject("messageSpace").userVaultCreds),
  });
  platform.subscribe("MessageSpace.>", {
    callback: (_error, message) => people.get(message.subject.split(".")[1]!)?.take(message.data.slice()),
  });
  await Promise.all([vaults.flush(), platform.flush()]);
}

let journalSkewMs = 0;

/** Time passes: what is set for later is due, and alarms fire. What they run into is theirs to survive. */
async function nudge(person: Person): Promise<void> {
  const user = env.USER_CONNECTION.getByName(person.id);
  const bridge = env.NATS_BRIDGE.getByName(shardName(0));
  journalSkewMs += JOURNAL_STEP_MS;
  // Takes a second where leaves came a moment ago: nobody waits for it.
  runDurableObjectAlarm(env.AUDIT_LOG.getByName(AUDIT_LOG_NAME)).catch(() => {});
  await Promise.allSettled([
    runInDurableObject(user, (_: UserConnection, { storage }) => {
      if (storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'outgoing'").toArray().length > 0)
        storage.sql.exec("UPDATE outgoing SET next_send_at = 0 WHERE next_send_at IS NOT NULL");
    }).then(() => runDurableObjectAlarm(user)),
    shiftClock(journalSkewMs).then(() => fireAlarm()),
    runDurableObjectAlarm(env.DIRECTORY.getByName(DIRECTORY_NAME)),
    // An alarm that fails is repeated by the platform; one that a test has fired is not.
    runInDurableObject(bridge, async (_, { storage }) => {
      if ((await storage.getAlarm()) === null) await storage.setAlarm(Date.now());
    }).then(() => runDurableObjectAlarm(bridge)),
  ]);
}

interface Login {
  person: Person;
  /** Absent where the contract was rejected. */
  requestId?: string;
}

async function newPerson(): Promise<Person> {
  const person = new Person(await Peer.make());
  people.set(person.peer.messageSpace, person);
  return person;
}

/** What goes on beside the call that is waited for. */
function world(person: Person): () => Promise<void> {
  let nudgedAt = Date.now();
  return async () => {
    person.resend();
    if (Date.now() - nudgedAt < NUDGE_EVERY_MS) return;
    await nudge(person);
    nudgedAt = Date.now();
  };
}

/** From the invite to the answer that both sides have. */
async function logIn(person: Person, key?: string): Promise<Login> {
  const round = world(person);
  await person.submit();
  await eventually("the contract", round, async () => {
    const { contracts } = await get(`contracts?user_id=${person.id}`);
    return contracts[0]?.status === "active" && person.peer.serviceKey !== undefined ? true : undefined;
  });
  const headers = { "idempotency-key": newEventId() };
  const body = { user_id: person.id, purpose: "Log in", expires_in_seconds: EXPIRY_SECONDS };
  const asked = await insist("POST", "/api/v1/auth/request", {
    body,
    headers,
    ...(key === undefined ? {} : { key }),
  });
  expect(asked.status).toBe(201);
  const requestId = asked.body.request_id as string;
  await eventually("the answer", round, async () => {
    const { status } = await get(`requests/${requestId}`);
    return status === "approved" && person.isSettled ? true : undefined;
  });
  return { person, requestId };
}

/** A contract that the backend does not accept: its refusal is the one message that is never receipted. */
async function beRejected(person: Person): Promise<Login> {
  const round = world(person);
  await person.submit();
  const contractId = await eventually("the submission", round, async () => {
    const { contracts } = await get(`contracts?user_id=${person.id}`);
    return contracts[0]?.contract_id as string | undefined;
  });
  expect((await insist("POST", `/api/v1/contracts/${contractId}/reject`, { body: {} })).status).toBe(200);
  await eventually("the rejection", round, async () =>
    person.rejected && person.isSettled ? true : undefined,
  );
  return { person };
}

const eventsOf = async (userId: string): Promise<{ type: string; event_id: string }[]> =>
  (await get(`events?user_id=${userId}&limit=100`)).events;

/** The user, the backend, the feed, the receiver and the chain say the same, once. */
async function agrees({ person, requestId }: Login): Promise<void> {
  const round = world(person);
  const { entries } = await get(`audit?user_id=${person.id}&limit=100`);
  const { signingKey } = await configOf(env);
  const checked = await verifyChain(entries as AuditEntry[], {
    serviceId,
    publicKey: signingKey.publicKeyText,
  });
  expect(checked).toMatchObject({ valid: true });
  const operations = (entries as AuditEntry[]).map(({ operation, status }) => `${operation} ${status}`);
  const wanted =
    requestId === undefined
      ? ["contract.submit success", "contract.reject success"]
      : [
          "contract.submit success",
          "contract.accept success",
          "auth.request success",
          "auth.response success",
        ];
  expect(operations).toEqual(wanted);
  const hashes = new Set((entries as AuditEntry[]).map(({ event_hash }) => event_hash));
  for (const { hash, status } of person.outcomes.values()) {
    expect(hashes).toContain(hash);
    if (status !== undefined) expect(status).toBe("approved");
  }

  const types =
    requestId === undefined
      ? ["contract.created"]
      : ["contract.created", "contract.activated", "auth.response"];
  const events = await eventually("the events", round, async () => {
    const found = await eventsOf(person.id);
    return found.length >= types.length ? found : undefined;
  });
  expect(events.map(({ type }) => type)).toEqual(types);
  await eventually("the deliveries", round, async () => {
    const told = new Set(await receiver.ids());
    return events.every(({ event_id }) => told.has(event_id)) ? true : undefined;
  });
  const { contracts } = await get(`contracts?user_id=${person.id}`);
  expect(contracts.map(({ status }: { status: string }) => status)).toEqual([
    requestId === undefined ? "rejected" : "active",
  ]);
}

/** Under a published checkpoint. */
const isLogged = async (userId: string): Promise<true | undefined> => {
  const { entries } = await get(`audit?user_id=${userId}&limit=100`);
  const proof = await call("GET", `/api/v1/audit/${entries.at(-1).event_id}/proof?user_id=${userId}`);
  return proof.status === 200 ? true : undefined;
};

async function offerTo(acceptance: "automatic" | "manual"): Promise<void> {
  await insist("PUT", "/api/v1/offerings/login", { body: { ...offeringContent, acceptance } });
  const made = await insist("POST", "/api/v1/contracts/invite", {
    body: { offering_id: "login", max_uses: 1_000 },
  });
  invite = made.body.invite_code;
  offer = (await insist("GET", `/connect/${invite}`, { headers: { accept: "application/json" } })).body;
}

async function prepare(): Promise<void> {
  receiver = new Receiver();
  expect((await insist("POST", "/api/v1/webhooks", { body: { url: receiver.url } })).status).toBe(201);
  await offerTo("automatic");
}

/** What failed in work that nobody waits for. What was made to fail may; nothing else. */
const strays: string[] = [];
const unhandled = (error: unknown) => {
  const text = String(error);
  if (!text.startsWith("Injected: ") && !text.includes("abortAllDurableObjects")) strays.push(text);
};

beforeAll(async () => {
  // The runner is told of every line of log and every unhandled error, and waits until it has heard. What an object
  // says as it dies is told from a context that is gone before it arrives: the runner would wait for ever.
  for (const level of ["debug", "info", "log", "warn", "error"] as const) console[level] = () => {};
  process.on("unhandledRejection", unhandled);
  // As in journal.test.ts: the test runner's wrapper around entrypoints slows down with each call.
  Journal.send = (_ctx, request) => attempt(request);
  await openSessions();
  await prepare();
});

// What is left running, the bridge's sessions above all, would keep the runner waiting.
afterAll(async () => {
  await closeSessions();
  await abortAllDurableObjects();
  await reset();
  process.off("unhandledRejection", unhandled);
  expect(strays).toEqual([]);
});

afterEach(() => {
  fault?.disarm();
  fault = undefined;
});

/** Points that a login comes to only in some circumstance, and the circumstance. */
type Scenario = (arm: () => void) => Promise<void>;

const aLogin: Scenario = async (arm) => {
  const person = await newPerson();
  arm();
  await agrees(await logIn(person));
};

const untilLogged: Scenario = async (arm) => {
  const person = await newPerson();
  arm();
  const login = await logIn(person);
  await agrees(login);
  await eventually("the head in the log", world(person), () => isLogged(person.id));
};

const SCENARIOS: Partial<Record<FaultPoint, Scenario>> = {
  "head.offer": async (arm) => {
    const person = await newPerson();
    await agrees(await logIn(person));
    arm();
    // Entries that no event goes along with.
    for (let read = 0; read < 2; read++) await get(`users/${person.id}/profile`);
    await eventually("the head in the log", world(person), () => isLogged(person.id));
  },
  "head.ask": untilLogged,
  "head.noted": untilLogged,
  "carrier.offer": untilLogged,
  "log.commit": untilLogged,
  "log.tile": untilLogged,
  "log.checkpoint": untilLogged,
  "log.published": untilLogged,
  "directory.key_used": async (arm) => {
    const made = await insist("POST", "/api/v1/api-keys", {
      body: { name: "shop", scopes: ["requests:write"] },
    });
    const person = await newPerson();
    arm();
    await agrees(await logIn(person, made.body.api_key));
  },
  "user.publish_noted": async (arm) => {
    await offerTo("manual");
    try {
      const person = await newPerson();
      arm();
      await agrees(await beRejected(person));
    } finally {
      await offerTo("automatic");
    }
  },
  "bridge.set_up": async (arm) => {
    const person = await newPerson();
    // Its sessions stand since the first login.
    await abortAllDurableObjects();
    arm();
    await agrees(await logIn(person));
  },
  "object.migrate": async (arm) => {
    await abortAllDurableObjects();
    await closeSessions();
    await reset();
    await openSessions();
    arm();
    await prepare();
    await agrees(await logIn(await newPerson()));
  },
  ...Object.fromEntries(
    (["journal.disable", "journal.tell_disabled"] as const).map((point): [FaultPoint, Scenario] => [
      point,
      async (arm) => {
        const gone = new Receiver();
        await gone.answer({ status: 410 });
        const { webhook_id } = (await insist("POST", "/api/v1/webhooks", { body: { url: gone.url } })).body;
        const person = await newPerson();
        arm();
        await agrees(await logIn(person));
        await eventually("the endpoint disabled", world(person), async () => {
          const { webhooks } = await get("webhooks");
          const { events } = await get("events?type=webhook.disabled&limit=100");
          const mine = events.filter(
            (event: { data: { webhook_id: string } }) => event.data.webhook_id === webhook_id,
          );
          const listed = webhooks.find(
            (webhook: { webhook_id: string }) => webhook.webhook_id === webhook_id,
          );
          expect(mine.length).toBeLessThanOrEqual(1);
          return listed.status === "disabled" && mine.length === 1 ? true : undefined;
        });
      },
    ]),
  ),
};

describe.each(Object.keys(FAULT_POINTS) as FaultPoint[])("%s", (point) => {
  it.each(MANNERS)(
    "%s: a login ends as if it had not, for everyone who knows of it",
    async (manner: Manner) => {
      const scenario = SCENARIOS[point] ?? aLogin;
      await scenario(() => {
        fault = new Fault(point, manner);
      });
      // What is repeated only by an alarm may come after everyone agrees.
      await eventually(
        "a second time at this place",
        async () => nudge([...people.values()].at(-1)!),
        async () => (fault?.fired === 2 ? true : undefined),
      );
    },
  );
});
