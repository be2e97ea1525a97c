// Publishers and streams live in different accounts (PROTOCOL §3): a user of the service's cluster, or a
// service on the platform's, cannot turn the acknowledgement of its own publish against a stream.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AckPolicy, createInbox, type JetStreamManager, type NatsConnection } from "nats.ws";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, startMessageSpace, startServiceSpace } from "../../scripts/stack/cluster.ts";
import { makeIdentity } from "../../scripts/stack/identity.ts";
import { connectWithCreds, ensureStream, fromUserStreamConfig } from "../../scripts/stack/nats-client.ts";
import {
  BRIDGE_CONSUMER,
  FROM_USER_STREAM,
  MESSAGESPACE_STREAM,
  type MessageSpaceMaterial,
  makeUserCreds,
  type ServiceSpaceMaterial,
} from "../../scripts/stack/operator.ts";
import { serviceInboxPrefix } from "../../src/protocol/subjects.ts";

/** Long enough for a server on this machine to have done what it was going to do. */
const SETTLE_MS = 300;

const dir = mkdtempSync(join(tmpdir(), "service-vault-accounts-"));
const serviceId = makeIdentity("dev").service_id;
const open: NatsConnection[] = [];
let serviceSpace: Cluster<ServiceSpaceMaterial>;
let messageSpace: Cluster<MessageSpaceMaterial>;

beforeAll(async () => {
  serviceSpace = await startServiceSpace({ dir: join(dir, "servicespace"), serviceId });
  messageSpace = await startMessageSpace({ dir: join(dir, "messagespace"), serviceId });
});

afterEach(async () => {
  for (const nc of open.splice(0)) await nc.close();
});

afterAll(async () => {
  await messageSpace?.server.stop();
  await serviceSpace?.server.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function session(url: string, creds: string, inboxPrefix?: string): Promise<NatsConnection> {
  const nc = await connectWithCreds(url, creds, inboxPrefix);
  open.push(nc);
  return nc;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

/** Status events of a session that report a refusal, as they come. */
function violations(nc: NatsConnection): string[] {
  const seen: string[] = [];
  (async () => {
    for await (const status of nc.status()) if (status.type === "error") seen.push(String(status.data));
  })();
  return seen;
}

describe("the service's cluster", () => {
  const fromUser = (user: string, rest: string) => `ServiceSpace.${serviceId}.fromUser.${user}.${rest}`;
  const toUser = (user: string) => `ServiceSpace.${serviceId}.toUser.${user}`;

  async function userSession(user: string): Promise<NatsConnection> {
    const { users_account } = serviceSpace.material;
    const creds = await makeUserCreds({
      name: user,
      accountPublicKey: users_account.public_key,
      issuerSeed: users_account.signing_seed as string,
      publish: [`ServiceSpace.${serviceId}.fromUser.${user}.>`],
      subscribe: [`${toUser(user)}.>`],
    });
    return session(serviceSpace.server.wsUrl, creds, toUser(user));
  }

  async function bridgeSession(): Promise<{ nc: NatsConnection; manager: JetStreamManager }> {
    const nc = await session(
      serviceSpace.server.wsUrl,
      serviceSpace.material.creds.bridge,
      serviceInboxPrefix(serviceId),
    );
    await ensureStream(nc, fromUserStreamConfig(serviceId));
    return { nc, manager: await nc.jetstreamManager({ checkAPI: false }) };
  }

  async function storedMessages(manager: JetStreamManager): Promise<{ messages: number; lastSeq: number }> {
    const { state } = await manager.streams.info(FROM_USER_STREAM);
    return { messages: state.messages, lastSeq: state.last_seq };
  }

  test("a user's publish is stored and acknowledged to the user", async () => {
    const { manager } = await bridgeSession();
    const before = await storedMessages(manager);
    const alice = await userSession("alice");
    const ack = await alice.jetstream().publish(fromUser("alice", "events.ping"), "hello", { msgID: "e1-1" });
    expect(ack).toMatchObject({ stream: FROM_USER_STREAM, seq: before.lastSeq + 1, duplicate: false });
    const again = await alice
      .jetstream()
      .publish(fromUser("alice", "events.ping"), "hello", { msgID: "e1-1" });
    expect(again.duplicate).toBe(true);
    expect(await storedMessages(manager)).toEqual({
      messages: before.messages + 1,
      lastSeq: before.lastSeq + 1,
    });
  });

  test.each([
    "$JS.API.STREAM.PURGE.FROM_USER",
    "$JS.API.STREAM.DELETE.FROM_USER",
    "$JS.API.STREAM.MSG.DELETE.FROM_USER",
    "$JS.API.CONSUMER.DELETE.FROM_USER.BRIDGE",
  ])("a user's publish with reply subject %s changes nothing but the message stored", async (reply) => {
    const { nc, manager } = await bridgeSession();
    await manager.consumers.add(FROM_USER_STREAM, {
      durable_name: BRIDGE_CONSUMER,
      ack_policy: AckPolicy.Explicit,
    });
    const before = await storedMessages(manager);
    const mallory = await userSession("mallory");
    for (let n = 0; n < 3; n++) mallory.publish(fromUser("mallory", "events.ping"), "x", { reply });
    await mallory.flush();
    await settle();
    expect(await storedMessages(manager)).toEqual({
      messages: before.messages + 3,
      lastSeq: before.lastSeq + 3,
    });
    expect((await manager.consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER)).name).toBe(BRIDGE_CONSUMER);
    expect(nc.isClosed()).toBe(false);
  });

  test("a user's publish with another user's subject as reply puts nothing into that user's stream subject", async () => {
    const { nc, manager } = await bridgeSession();
    await manager.consumers.add(FROM_USER_STREAM, {
      durable_name: BRIDGE_CONSUMER,
      ack_policy: AckPolicy.Explicit,
    });
    const before = await storedMessages(manager);
    const mallory = await userSession("mallory");
    for (let n = 0; n < 3; n++) {
      mallory.publish(fromUser("mallory", "events.ping"), "x", { reply: fromUser("alice", "events.ping") });
    }
    await mallory.flush();
    await settle();
    expect(await storedMessages(manager)).toEqual({
      messages: before.messages + 3,
      lastSeq: before.lastSeq + 3,
    });

    // What the bridge gets: everything stored here came under the publisher's own subject.
    const consumer = await nc.jetstream().consumers.get(FROM_USER_STREAM, BRIDGE_CONSUMER);
    const subjects: string[] = [];
    for await (const message of await consumer.fetch({ max_messages: 100, expires: 1_000 })) {
      if (message.seq > before.lastSeq) subjects.push(message.subject);
      message.ack();
    }
    expect(subjects).toEqual(Array(3).fill(fromUser("mallory", "events.ping")));
  });

  test("a user may not publish under another user's subject, to a stream's API, or to users", async () => {
    const { manager } = await bridgeSession();
    const before = await storedMessages(manager);
    const mallory = await userSession("mallory");
    const refused = violations(mallory);
    for (const subject of [
      fromUser("alice", "events.ping"),
      "$JS.API.STREAM.PURGE.FROM_USER",
      `${toUser("alice")}.contract.accepted.x`,
      `ServiceSpace.${serviceId}.internal.health`,
    ]) {
      mallory.publish(subject, "x");
    }
    await mallory.flush();
    await settle();
    expect(refused).toEqual(Array(4).fill("PERMISSIONS_VIOLATION"));
    expect(await storedMessages(manager)).toEqual(before);
  });

  test("a user receives only what is addressed to it", async () => {
    const { nc } = await bridgeSession();
    const alice = await userSession("alice");
    const bob = await userSession("bob");
    const got = { alice: [] as string[], bob: [] as string[] };
    alice.subscribe(`${toUser("alice")}.>`, { callback: (_, message) => got.alice.push(message.subject) });
    bob.subscribe(`${toUser("bob")}.>`, { callback: (_, message) => got.bob.push(message.subject) });
    const eavesdropping = violations(bob);
    bob.subscribe(`${toUser("alice")}.>`, { callback: () => {} });
    await Promise.all([alice.flush(), bob.flush()]);
    nc.publish(`${toUser("alice")}.contract.accepted.ref1`, "for alice");
    await nc.flush();
    await settle();
    expect(got).toEqual({ alice: [`${toUser("alice")}.contract.accepted.ref1`], bob: [] });
    expect(eavesdropping).toEqual(["PERMISSIONS_VIOLATION"]);
  });

  test("naming another user's inbox as reply sends it the broker's acknowledgement, nothing the sender wrote", async () => {
    // Accounts cannot prevent this: both users are in one. The vault that gets it drops it, as no envelope.
    await bridgeSession();
    const mallory = await userSession("mallory");
    const bob = await userSession("bob");
    const got: object[] = [];
    bob.subscribe(`${toUser("bob")}.>`, { callback: (_, message) => got.push(message.json()) });
    await bob.flush();
    mallory.publish(fromUser("mallory", "events.ping"), "x", {
      reply: `${toUser("bob")}.contract.accepted.x`,
    });
    await mallory.flush();
    await settle();
    expect(got).toEqual([{ stream: FROM_USER_STREAM, seq: expect.any(Number) }]);
  });

  test("the bridge itself may not purge or delete its stream, nor listen to users without it", async () => {
    const { nc, manager } = await bridgeSession();
    const before = await storedMessages(manager);
    const refused = violations(nc);
    nc.publish(`$JS.API.STREAM.PURGE.${FROM_USER_STREAM}`);
    nc.publish(`$JS.API.STREAM.DELETE.${FROM_USER_STREAM}`);
    nc.subscribe(`ServiceSpace.${serviceId}.fromUser.>`, { callback: () => {} });
    await nc.flush();
    await settle();
    expect(refused).toEqual(Array(3).fill("PERMISSIONS_VIOLATION"));
    expect(await storedMessages(manager)).toEqual(before);
  });

  test("the system credential looks up an account and may do nothing else", async () => {
    const { users_account, creds } = serviceSpace.material;
    const nc = await session(serviceSpace.server.wsUrl, creds.system, serviceInboxPrefix(serviceId));
    const found = await nc.request(`$SYS.REQ.ACCOUNT.${users_account.public_key}.CLAIMS.LOOKUP`);
    expect(found.string()).toBe(users_account.jwt);
    const refused = violations(nc);
    nc.publish("$SYS.REQ.SERVER.PING");
    nc.publish("$SYS.REQ.CLAIMS.DELETE");
    await nc.flush();
    await settle();
    expect(refused).toEqual(Array(2).fill("PERMISSIONS_VIOLATION"));
  });
});

describe("the accounts alone, over a stream that could be purged", () => {
  // The control: what the layout prevents does happen to a publisher inside the account of the streams.
  const fromUser = (user: string) => `ServiceSpace.${serviceId}.fromUser.${user}.events.ping`;
  let cluster: Cluster<ServiceSpaceMaterial>;
  let manager: JetStreamManager;
  let control: NatsConnection;

  beforeAll(async () => {
    cluster = await startServiceSpace({ dir: join(dir, "purgeable"), serviceId });
    const { service_account } = cluster.material;
    const creds = await makeUserCreds({
      name: "control",
      accountPublicKey: service_account.public_key,
      issuerSeed: service_account.seed,
      publish: ["$JS.API.>"],
      subscribe: ["_INBOX.>"],
    });
    control = await connectWithCreds(cluster.server.wsUrl, creds);
    manager = await control.jetstreamManager();
    await manager.streams.add({ ...fromUserStreamConfig(serviceId), deny_purge: false });
  });

  afterAll(async () => {
    await control?.close();
    await cluster?.server.stop();
  });

  /** Publishes once as mallory from the given account, naming `reply`; says what the stream holds then. */
  async function attack(accountName: "users_account" | "service_account", reply: string) {
    await manager.streams.purge(FROM_USER_STREAM);
    const account = cluster.material[accountName];
    const creds = await makeUserCreds({
      name: "mallory",
      accountPublicKey: account.public_key,
      issuerSeed: account.signing_seed ?? account.seed,
      publish: [`ServiceSpace.${serviceId}.fromUser.mallory.>`],
      subscribe: ["_INBOX.>"],
    });
    const nc = await session(cluster.server.wsUrl, creds);
    nc.publish(fromUser("mallory"), "x", { reply });
    await nc.flush();
    await settle();
    const { state } = await manager.streams.info(FROM_USER_STREAM, { subjects_filter: ">" });
    return state.subjects ?? {};
  }

  test("a purge by reply works inside the account, and not from the users' account", async () => {
    const reply = `$JS.API.STREAM.PURGE.${FROM_USER_STREAM}`;
    expect(await attack("service_account", reply)).toEqual({});
    expect(await attack("users_account", reply)).toEqual({ [fromUser("mallory")]: 1 });
  });

  test("an injection by reply works inside the account, and not from the users' account", async () => {
    const reply = fromUser("alice");
    expect(await attack("service_account", reply)).toEqual({
      [fromUser("mallory")]: 1,
      [fromUser("alice")]: 1,
    });
    expect(await attack("users_account", reply)).toEqual({ [fromUser("mallory")]: 1 });
  });
});

describe("the platform's cluster", () => {
  const subject = (space: string, rest = "auth.request") =>
    `MessageSpace.${space}.fromService.${serviceId}.${rest}`;

  function service(): Promise<NatsConnection> {
    return session(
      messageSpace.server.wsUrl,
      messageSpace.material.creds.service,
      serviceInboxPrefix(serviceId),
    );
  }

  async function platform(): Promise<{ nc: NatsConnection; manager: JetStreamManager }> {
    const nc = await session(messageSpace.server.wsUrl, messageSpace.material.creds.user_vault);
    return { nc, manager: await nc.jetstreamManager() };
  }

  async function storedMessages(manager: JetStreamManager): Promise<{ messages: number; lastSeq: number }> {
    const { state } = await manager.streams.info(MESSAGESPACE_STREAM);
    return { messages: state.messages, lastSeq: state.last_seq };
  }

  test("the stream keeps messages 31 days and lets nobody purge, delete or roll up", async () => {
    const { manager } = await platform();
    const { config } = await manager.streams.info(MESSAGESPACE_STREAM);
    expect(config).toMatchObject({
      subjects: ["MessageSpace.>"],
      retention: "limits",
      max_age: 31 * 24 * 3_600 * 1e9,
      deny_delete: true,
      deny_purge: true,
      allow_rollup_hdrs: false,
    });
  });

  test("a service's publish is stored and acknowledged, and a vault that was away reads it later", async () => {
    const nc = await service();
    const ack = await nc.jetstream().publish(subject("space1"), "sealed", { msgID: "m1-1" });
    expect(ack.stream).toBe(MESSAGESPACE_STREAM);

    const vault = await platform();
    await vault.manager.consumers.add(MESSAGESPACE_STREAM, {
      durable_name: "vault1",
      filter_subject: "MessageSpace.space1.>",
      ack_policy: AckPolicy.Explicit,
    });
    const consumer = await vault.nc.jetstream().consumers.get(MESSAGESPACE_STREAM, "vault1");
    const message = await consumer.next({ expires: 2_000 });
    expect(message?.subject).toBe(subject("space1"));
    expect(message?.string()).toBe("sealed");
    expect(await message?.ackAck()).toBe(true);
    expect(await vault.manager.consumers.delete(MESSAGESPACE_STREAM, "vault1")).toBe(true);
  });

  test.each([
    "$JS.API.STREAM.PURGE.MESSAGESPACE",
    "$JS.API.STREAM.DELETE.MESSAGESPACE",
    "MessageSpace.space2.fromService.another.auth.request",
    `MessageSpace.space2.fromService.${serviceId}.auth.request`,
  ])("a service's publish with reply subject %s changes nothing but the message stored", async (reply) => {
    const { manager } = await platform();
    const before = await storedMessages(manager);
    const nc = await service();
    for (let n = 0; n < 3; n++) nc.publish(subject("space1"), "x", { reply });
    await nc.flush();
    await settle();
    expect(await storedMessages(manager)).toEqual({
      messages: before.messages + 3,
      lastSeq: before.lastSeq + 3,
    });
    await expect(
      manager.streams.getMessage(MESSAGESPACE_STREAM, { last_by_subj: "MessageSpace.space2.>" }),
    ).rejects.toThrow(/no message found/);
  });

  test("a service may not speak for another, nor listen to anything but its inbox", async () => {
    const { manager } = await platform();
    const before = await storedMessages(manager);
    const nc = await service();
    const refused = violations(nc);
    nc.publish("MessageSpace.space1.fromService.another.auth.request", "x");
    nc.publish("$JS.API.STREAM.PURGE.MESSAGESPACE");
    nc.subscribe("MessageSpace.>", { callback: () => {} });
    nc.subscribe(createInbox(), { callback: () => {} });
    await nc.flush();
    await settle();
    expect(refused).toEqual(Array(4).fill("PERMISSIONS_VIOLATION"));
    expect(await storedMessages(manager)).toEqual(before);
  });

  test("the development vault may read every subject and write none", async () => {
    const { nc, manager } = await platform();
    const before = await storedMessages(manager);
    const refused = violations(nc);
    const seen: string[] = [];
    nc.subscribe("MessageSpace.>", { callback: (_, message) => seen.push(message.subject) });
    nc.publish(subject("space1"), "x");
    await nc.flush();
    await (await service()).jetstream().publish(subject("space9"), "x");
    await settle();
    expect(refused).toEqual(["PERMISSIONS_VIOLATION"]);
    expect(seen).toEqual([subject("space9")]);
    expect((await storedMessages(manager)).messages).toBe(before.messages + 1);
  });
});
