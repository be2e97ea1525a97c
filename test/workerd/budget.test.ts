// The guard on what a login costs: rows written, object by object, for one authenticate round trip with an
// Idempotency-Key, events and a webhook, where a person takes their time, so that nothing shares a write with anything
// else. Counted, not timed. test/budget.json holds the figures; lower them when something becomes cheaper, raise one
// only with the reason in the commit.

import { reset, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, inject, it } from "vitest";
import { AUDIT_LOG_NAME } from "../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME } from "../../durable-objects/directory/directory.ts";
import { Journal } from "../../durable-objects/journal/journal.ts";
import { shardName } from "../../src/nats/shards.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { attempt } from "../../src/webhooks/attempt.ts";
import { journalName } from "../../src/webhooks/shards.ts";
import budget from "../budget.json" with { type: "json" };
import { countingRows, type RowCount } from "../support/count-rows.ts";
import { Receiver } from "../support/journal.ts";
import { call, connectedPeer, deliver, isLogged } from "../support/worker.ts";

beforeEach(() => {
  // As in journal.test.ts: the test runner's wrapper around entrypoints slows down with each call.
  Journal.send = (_ctx, request) => attempt(request);
});
afterEach(() => reset());

const LOGGED_TIMEOUT_MS = 10_000;

it("an authenticate round trip writes no more rows than recorded", async () => {
  const receiver = new Receiver();
  const peer = await connectedPeer();
  const endpoint = await call("POST", "/api/v1/webhooks", { body: { url: receiver.url } });
  expect(endpoint.status).toBe(201);
  const user = env.USER_CONNECTION.getByName(peer.id);
  const directory = env.DIRECTORY.getByName(DIRECTORY_NAME);
  const untilLogged = () =>
    expect
      .poll(async () => (await isLogged(user)) && (await isLogged(directory)), { timeout: LOGGED_TIMEOUT_MS })
      .toBe(true);
  await untilLogged();
  // What setting up has left due is done before anything is counted.
  await runDurableObjectAlarm(user);
  await runDurableObjectAlarm(directory);
  await runDurableObjectAlarm(env.JOURNAL.getByName(journalName(0)));

  const objects = {
    UserConnection: user,
    Journal: env.JOURNAL.getByName(journalName(0)),
    AuditLog: env.AUDIT_LOG.getByName(AUDIT_LOG_NAME),
    Directory: directory,
    NatsBridge: env.NATS_BRIDGE.getByName(shardName(0)),
  };
  const counting = await Promise.all(
    Object.entries(objects).map(
      async ([name, stub]) =>
        [name, await countingRows(stub as unknown as DurableObjectStub<never>)] as const,
    ),
  );
  const delivered = (await receiver.received()).length;

  const asked = await call("POST", "/api/v1/auth/request", {
    body: { user_id: peer.id, purpose: "Log in" },
    headers: { "idempotency-key": "budget-1" },
  });
  expect(asked.status).toBe(201);
  const requestId = asked.body.request_id as string;
  const read = await call("GET", `/api/v1/requests/${requestId}`);
  const serviceId = inject("serviceId");
  const stored = { event_id: requestId, received_at: toTimestamp(Date.now()), outcome: "stored" };
  await deliver(peer, await peer.message(serviceId, "receipt", stored, { ref: requestId }));
  const answer = await peer.answer(read.body.request_payload as RequestPayload, serviceId);
  await deliver(peer, await peer.message(serviceId, "auth.response", answer, { ref: requestId }));
  await receiver.waitFor(delivered + 1);
  await untilLogged();
  expect((await call("GET", `/api/v1/requests/${requestId}`)).body.status).toBe("approved");
  // The alarm that stood behind the trip finds nothing left; the journal stores how far it has delivered.
  await runDurableObjectAlarm(user);
  await runDurableObjectAlarm(objects.Journal);

  const counts = Object.fromEntries(
    await Promise.all(counting.map(async ([name, { stop }]) => [name, await stop()] as const)),
  ) as Record<keyof typeof objects, RowCount>;
  // The bridge's heartbeat is no trip's: it sets its alarm by the clock.
  const written = Object.fromEntries(
    Object.entries(counts).map(([name, { rows, alarms }]) => [
      name,
      rows + (name === "NatsBridge" ? 0 : alarms),
    ]),
  );
  for (const [name, most] of Object.entries(budget.rows_written_per_round_trip))
    expect.soft(written[name], `rows written in ${name}`).toBeLessThanOrEqual(most);
  expect(Object.keys(written).sort()).toEqual(Object.keys(budget.rows_written_per_round_trip).sort());
});
