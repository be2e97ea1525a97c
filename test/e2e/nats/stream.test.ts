// The stream of what users send, made and mended with the bridge's own credentials on a real server.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { headers, type JetStreamManager, type NatsConnection, nanos, RetentionPolicy } from "nats.ws";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Cluster, startServiceSpace } from "../../../scripts/stack/cluster.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { connectWithCreds } from "../../../scripts/stack/nats-client.ts";
import { makeUserCreds, type ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import { MAX_MESSAGE_BYTES } from "../../../src/nats/limits.ts";
import {
  ACK_WAIT_MS,
  BRIDGE_CONSUMER,
  backlogOf,
  ensureFromUser,
  FROM_USER_STREAM,
  MAX_ACK_PENDING,
  StreamUnusable,
} from "../../../src/nats/stream.ts";
import { fromUserWildcard, serviceInboxPrefix } from "../../../src/protocol/subjects.ts";

const dir = mkdtempSync(join(tmpdir(), "service-vault-stream-"));
const serviceId = makeIdentity("dev").service_id;
const DAY_MS = 24 * 3_600_000;

let cluster: Cluster<ServiceSpaceMaterial>;
let bridges: NatsConnection[] = [];
let administration: NatsConnection;
let administrator: JetStreamManager;

const bridge = () =>
  connectWithCreds(cluster.server.wsUrl, cluster.material.creds.bridge, serviceInboxPrefix(serviceId));

beforeAll(async () => {
  cluster = await startServiceSpace({ dir, serviceId });
  bridges = await Promise.all(Array.from({ length: 6 }, bridge));
  const { service_account } = cluster.material;
  const creds = await makeUserCreds({
    name: "administrator",
    accountPublicKey: service_account.public_key,
    issuerSeed: service_account.seed,
    publish: [">"],
    subscribe: [">"],
  });
  administration = await connectWithCreds(cluster.server.wsUrl, creds);
  administrator = await administration.jetstreamManager();
});

beforeEach(async () => {
  await administrator.streams.delete(FROM_USER_STREAM).catch(() => {});
});

afterAll(async () => {
  await Promise.all([administration, ...bridges].map((connection) => connection?.close()));
  await cluster?.server.stop();
  rmSync(dir, { recursive: true, force: true });
});

const settings = async () => ({
  stream: (await administrator.streams.info(FROM_USER_STREAM)).config,
  consumer: (await administrator.consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER)).config,
});

const wanted = {
  stream: {
    subjects: [fromUserWildcard(serviceId)],
    retention: "workqueue",
    discard: "new",
    storage: "file",
    max_age: nanos(31 * DAY_MS),
    max_msg_size: MAX_MESSAGE_BYTES,
    duplicate_window: nanos(120_000),
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
  },
  consumer: {
    durable_name: BRIDGE_CONSUMER,
    ack_policy: "explicit",
    ack_wait: nanos(ACK_WAIT_MS),
    max_deliver: -1,
    max_ack_pending: MAX_ACK_PENDING,
  },
};

test("stream and consumer are made as the protocol wants them, with a bound on their size", async () => {
  await ensureFromUser(bridges[0]!, serviceId);
  const made = await settings();
  expect(made).toMatchObject(wanted);
  expect(made.stream.max_bytes).toBeGreaterThan(0);
  expect(await backlogOf(bridges[0]!, 1_000)).toEqual({ pending: 0, unacknowledged: 0, redelivered: 0 });
});

test("several shards make them at once, and again, and it is one", async () => {
  await Promise.all(bridges.map((connection) => ensureFromUser(connection, serviceId)));
  const made = await settings();
  await Promise.all(bridges.map((connection) => ensureFromUser(connection, serviceId)));
  expect(await settings()).toEqual(made);
});

test("what the operator chose is left alone", async () => {
  await ensureFromUser(bridges[0]!, serviceId);
  await administrator.streams.update(FROM_USER_STREAM, { max_bytes: 700_000_000, description: "ours" });
  await administrator.consumers.update(FROM_USER_STREAM, BRIDGE_CONSUMER, { description: "ours" });
  await ensureFromUser(bridges[0]!, serviceId);
  expect(await settings()).toMatchObject({
    stream: { ...wanted.stream, max_bytes: 700_000_000, description: "ours" },
    consumer: { ...wanted.consumer, description: "ours" },
  });
});

test("what we rely on is put right, and messages already there stay", async () => {
  await administrator.streams.add({
    name: FROM_USER_STREAM,
    subjects: [`ServiceSpace.${serviceId}.fromUser.*.receipt`],
    retention: RetentionPolicy.Workqueue,
    allow_rollup_hdrs: true,
    max_age: nanos(DAY_MS),
  });
  await administrator.consumers.add(FROM_USER_STREAM, {
    durable_name: BRIDGE_CONSUMER,
    ack_policy: "explicit" as never,
    max_ack_pending: 5,
  });
  await administrator.jetstream().publish(`ServiceSpace.${serviceId}.fromUser.someone.receipt`);
  await ensureFromUser(bridges[0]!, serviceId);
  const mended = await settings();
  expect(mended).toMatchObject(wanted);
  expect(mended.stream.max_bytes).toBeGreaterThan(0);
  expect((await backlogOf(bridges[0]!, 1_000)).pending).toBe(1);
});

test("what cannot be put right is an error that names it", async () => {
  await administrator.streams.add({
    name: FROM_USER_STREAM,
    subjects: [fromUserWildcard(serviceId)],
    retention: RetentionPolicy.Limits,
  });
  const refusal = await ensureFromUser(bridges[0]!, serviceId).catch((error) => error);
  expect(refusal).toBeInstanceOf(StreamUnusable);
  expect(refusal.message).toMatch(/FROM_USER.*retention/);
});

test("the bridge's credentials can neither purge nor delete", async () => {
  await ensureFromUser(bridges[0]!, serviceId);
  const manager = await bridges[0]!.jetstreamManager({ checkAPI: false });
  await expect(manager.streams.purge(FROM_USER_STREAM)).rejects.toThrow();
  await expect(manager.streams.delete(FROM_USER_STREAM)).rejects.toThrow();
  await expect(administrator.streams.purge(FROM_USER_STREAM)).rejects.toThrow();
});

test("a message with a rollup header, or larger than a message may be, is not stored", async () => {
  await ensureFromUser(bridges[0]!, serviceId);
  const subject = `ServiceSpace.${serviceId}.fromUser.someone.receipt`;
  const rollup = headers();
  rollup.set("Nats-Rollup", "all");
  await expect(administrator.jetstream().publish(subject, "", { headers: rollup })).rejects.toThrow(/rollup/);
  await expect(
    administrator.jetstream().publish(subject, new Uint8Array(MAX_MESSAGE_BYTES + 1)),
  ).rejects.toThrow();
});
