// The session's states, and a session on a real server that dies, freezes and refuses it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, startServiceSpace } from "../../../scripts/stack/cluster.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { makeUserCreds, type ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import {
  BrokerSession,
  describeError,
  type LiveSession,
  next,
  pauseMs,
  type SessionEvent,
  type SessionOptions,
  type SessionPhase,
  within,
} from "../../../src/nats/session.ts";
import { serviceInboxPrefix } from "../../../src/protocol/subjects.ts";
import { eventually } from "./harness.ts";

const closed = (failures = 0, lastError?: string): SessionPhase => ({
  status: "closed",
  since: 0,
  failures,
  ...(lastError !== undefined && { lastError }),
});

describe("a session's state", () => {
  const run = (events: [SessionEvent, number][], from = closed()) =>
    events.reduce((phase, [event, at]) => next(phase, event, at), from);

  test("goes from closed over connecting to ready", () => {
    expect(run([[{ type: "dial" }, 1]])).toEqual({ status: "connecting", since: 1, failures: 0 });
    expect(
      run([
        [{ type: "dial" }, 1],
        [{ type: "up" }, 2],
      ]),
    ).toEqual({ status: "ready", since: 2, failures: 0 });
  });

  test("counts failures until a session has held for five seconds", () => {
    const down: SessionEvent = { type: "down", error: "gone" };
    const twice: [SessionEvent, number][] = [
      [{ type: "dial" }, 1],
      [down, 2],
      [{ type: "dial" }, 3],
      [down, 4],
    ];
    expect(run(twice)).toEqual({ status: "closed", since: 4, failures: 2, lastError: "gone" });
    const up: [SessionEvent, number][] = [...twice, [{ type: "dial" }, 5], [{ type: "up" }, 6]];
    expect(run([...up, [down, 5_005]])).toMatchObject({ status: "closed", failures: 3 });
    expect(run([...up, [down, 5_006]])).toMatchObject({ status: "closed", failures: 1 });
  });

  test("keeps the last error while connecting and forgets it when ready", () => {
    const connecting = run([[{ type: "dial" }, 1]], closed(1, "refused"));
    expect(connecting).toMatchObject({ status: "connecting", lastError: "refused" });
    expect(next(connecting, { type: "up" }, 2)).not.toHaveProperty("lastError");
  });

  test("shows what the broker refused of a session that goes on", () => {
    const ready = run([
      [{ type: "dial" }, 1],
      [{ type: "up" }, 2],
    ]);
    expect(next(ready, { type: "complaint", error: "denied" }, 3)).toEqual({ ...ready, lastError: "denied" });
  });

  test("is not changed by what comes too late or twice", () => {
    const [shut, connecting] = [closed(3, "gone"), run([[{ type: "dial" }, 1]])];
    const ready = next(connecting, { type: "up" }, 2);
    for (const event of ["up", "stop"] as const) expect(next(shut, { type: event }, 9)).toBe(shut);
    for (const type of ["down", "complaint"] as const)
      expect(next(shut, { type, error: "late" }, 9)).toBe(shut);
    expect(next(connecting, { type: "dial" }, 9)).toBe(connecting);
    for (const event of ["dial", "up"] as const) expect(next(ready, { type: event }, 9)).toBe(ready);
    expect(next(ready, { type: "stop" }, 9)).toMatchObject({ status: "closed", failures: 0 });
  });

  test("is tried again after a pause that grows, is capped and varies by half of it", () => {
    expect([1, 2, 3, 4, 5, 6, 100].map((failures) => pauseMs(failures, 0.5))).toEqual([
      100, 200, 400, 800, 1_000, 1_000, 1_000,
    ]);
    expect(pauseMs(3, 0)).toBe(200);
    expect(pauseMs(3, 1)).toBe(600);
    expect(pauseMs(0, 0.5)).toBe(100);
  });
});

test("an error is told with its code, and without a promise that never ends", async () => {
  expect(describeError(Object.assign(new Error("no"), { code: "E_NO" }))).toBe("E_NO: no");
  expect(describeError(Object.assign(new Error("E_NO"), { code: "E_NO" }))).toBe("E_NO");
  expect(describeError(new TypeError(""))).toBe("TypeError");
  expect(describeError("text")).toBe("text");
  await expect(within(new Promise(() => {}), 10, "waiting")).rejects.toThrow(
    "waiting: no answer within 10 ms",
  );
  await expect(within(Promise.resolve(1), 10, "waiting")).resolves.toBe(1);
});

describe("a session", { timeout: 30_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-session-"));
  const serviceId = makeIdentity("dev").service_id;
  const started: BrokerSession[] = [];
  let cluster: Cluster<ServiceSpaceMaterial>;

  beforeAll(async () => {
    cluster = await startServiceSpace({ dir, serviceId });
  });
  afterEach(() => {
    for (const session of started.splice(0)) session.stop();
  });
  afterAll(async () => {
    await cluster?.server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function session(changes: Partial<SessionOptions> = {}): BrokerSession {
    const made = new BrokerSession({
      url: cluster.server.wsUrl,
      creds: cluster.material.creds.bridge,
      inboxPrefix: serviceInboxPrefix(serviceId),
      name: "test",
      ...changes,
    });
    started.push(made);
    return made;
  }

  const status = (what: string, of: BrokerSession, wanted: SessionPhase["status"], timeoutMs = 10_000) =>
    eventually(what, timeoutMs, async () => (of.phase.status === wanted ? true : undefined));

  test("comes up, is the same for all who wait, and is gone after stop", async () => {
    const one = session();
    expect(await one.ready(1_000)).toBeUndefined();
    one.start();
    one.start();
    const [first, second] = await Promise.all([one.ready(5_000), one.ready(5_000)]);
    expect(first).toBeDefined();
    expect(second).toBe(first);
    one.stop();
    expect(one.phase.status).toBe("closed");
    expect(await one.ready(1_000)).toBeUndefined();
    await first!.closed();
    one.start();
    expect(await one.ready(5_000)).not.toBe(first);
  });

  test("is ready only once what it needs is made, and ends it with itself", async () => {
    let live: LiveSession | undefined;
    let made!: () => void;
    const one = session({
      onUp: (up) => {
        live = up;
        return new Promise((resolve) => {
          made = resolve;
        });
      },
    });
    one.start();
    expect(await one.ready(300)).toBeUndefined();
    expect(live?.signal.aborted).toBe(false);
    made();
    expect(await one.ready(1_000)).toBe(live!.connection);
    const before = live!;
    before.fail("of no use");
    await status("given up", one, "closed");
    expect(before.signal.aborted).toBe(true);
    expect(one.describe().last_error).toBe("of no use");
    await eventually("a new attempt", 5_000, async () => (live !== before ? true : undefined));
    made();
    expect(await one.ready(1_000)).toBe(live!.connection);
  });

  test("whose setup fails tells why and tries again", async () => {
    let attempts = 0;
    const one = session({
      onUp: async () => {
        attempts += 1;
        if (attempts < 3) throw new Error(`attempt ${attempts}`);
      },
    });
    one.start();
    await eventually("the third attempt", 5_000, async () =>
      one.phase.status === "ready" ? true : undefined,
    );
    expect(attempts).toBe(3);
  });

  test("that nobody answers fails without a hang, and comes up when the server does", async () => {
    const one = session();
    await cluster.server.kill();
    one.start();
    const began = Date.now();
    expect(await one.ready(3_000)).toBeUndefined();
    expect(Date.now() - began).toBeLessThan(2_500);
    await status("an attempt failed", one, "closed");
    expect(one.phase.lastError).toBeDefined();
    await cluster.server.start();
    await status("up again", one, "ready");
  });

  test("notices a frozen server by its pings and comes back", async () => {
    const one = session();
    one.start();
    const connection = await one.ready(5_000);
    cluster.server.pause();
    await status("noticed", one, "closed", 12_000);
    expect(one.phase.lastError).toBe("the broker does not answer");
    cluster.server.resume();
    await status("up again", one, "ready");
    expect(connection!.isClosed()).toBe(true);
  });

  test("is refused at once with expired credentials, attempt after attempt, and says so", async () => {
    const { service_account } = cluster.material;
    const creds = await makeUserCreds({
      name: "expired",
      accountPublicKey: service_account.public_key,
      issuerSeed: service_account.seed,
      publish: ["x"],
      subscribe: [`${serviceInboxPrefix(serviceId)}.>`],
      expiresInSeconds: -10,
    });
    const one = session({ creds });
    one.start();
    const began = Date.now();
    await eventually("three attempts", 10_000, async () => (one.phase.failures >= 3 ? true : undefined));
    expect(Date.now() - began).toBeLessThan(5_000);
    expect(one.phase.lastError).toMatch(/authorization|authentication/i);
  });

  test("is dropped by the server when its credentials expire", async () => {
    const { service_account } = cluster.material;
    const creds = await makeUserCreds({
      name: "short",
      accountPublicKey: service_account.public_key,
      issuerSeed: service_account.seed,
      publish: ["x"],
      subscribe: [`${serviceInboxPrefix(serviceId)}.>`],
      expiresInSeconds: 2,
    });
    const one = session({ creds });
    one.start();
    expect(await one.ready(5_000)).toBeDefined();
    await status("dropped", one, "closed", 5_000);
    await eventually("a refusal", 5_000, async () =>
      /authorization|authentication/i.test(one.phase.lastError ?? "") ? true : undefined,
    );
  });

  test("with credentials that cannot be read says what is wrong with them", async () => {
    const one = session({ creds: "not credentials" });
    one.start();
    await status("closed", one, "closed");
    expect(one.phase.lastError).toContain("creds_invalid");
  });
});
