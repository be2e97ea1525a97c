// A person connects to a service and logs in: the backend over HTTPS, the Worker in workerd, both clusters and the
// user vault, all real.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import type { Cluster } from "../../scripts/stack/cluster.ts";
import { connectWithCreds } from "../../scripts/stack/nats-client.ts";
import {
  FROM_USER_STREAM,
  MESSAGESPACE_STREAM,
  type MessageSpaceMaterial,
  makeUserCreds,
  type ServiceSpaceMaterial,
} from "../../scripts/stack/operator.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { decodeSeed } from "../../src/nats/nkey.ts";
import { mintUserJwt } from "../../src/nats/user-jwt.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { userPermissions } from "../../src/protocol/subjects.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person, PROFILE } from "./support/person.ts";

const SHORTEST_EXPIRY_SECONDS = 60;
const EXPIRY_TEST_TIMEOUT_MS = 120_000;
/** Beyond the first repeat of a message, which comes after 20 s where nothing hastens it. */
const WAIT = { timeout: 45_000 };

let dir: string;
let stack: Stack;
let backend: Backend;
const people: Person[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "login-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
});

afterAll(async () => {
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A person with an active contract, online. */
async function connected(): Promise<{ person: Person; userId: string; contractId: string }> {
  const { invite_url } = await backend.invite();
  const person = await Person.online(stack);
  people.push(person);
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  return { person, userId: contract.user_id, contractId: contract.contract_id };
}

/** A stream made anew without the rule that nothing may be deleted from it, and the means to delete. */
async function streamWithDeletes(
  cluster: Cluster<MessageSpaceMaterial> | Cluster<ServiceSpaceMaterial>,
  name: string,
) {
  const { material, server } = cluster;
  const account = "platform_account" in material ? material.platform_account : material.service_account;
  const creds = await makeUserCreds({
    name: "owner",
    accountPublicKey: account.public_key,
    issuerSeed: account.seed,
    publish: ["$JS.API.>"],
    subscribe: ["_INBOX.>"],
  });
  const session = await connectWithCreds(server.wsUrl, creds);
  const { streams } = await session.jetstreamManager({ checkAPI: false });
  const { config } = await streams.info(name);
  await streams.delete(name);
  await streams.add({ ...config, deny_delete: false });
  const find = (subject: string) =>
    streams.getMessage(name, { last_by_subj: subject }).catch(() => undefined);
  return {
    holds: async (subject: string) => (await find(subject)) !== undefined,
    deleteMessage: async (subject: string) => {
      const message = await find(subject);
      expect(message).toBeDefined();
      expect(await streams.deleteMessage(name, message!.seq)).toBe(true);
    },
    close: () => session.close(),
  };
}

describe("connecting", () => {
  it("gives both sides a contract record that verifies, and the backend the shared profile", async () => {
    const { person, userId, contractId } = await connected();
    const detail = await backend.expect(200, "GET", `contracts/${contractId}`);
    expect(detail).toMatchObject({ status: "active", user_id: userId, verification: { valid: true } });
    expect(detail.record).toEqual(person.vault.record(contractId));
    expect((await verifyContractRecord(detail.record)).valid).toBe(true);
    expect((await backend.expect(200, "GET", `users/${userId}/profile`)).profile).toEqual(PROFILE);
    const listed = await backend.expect(200, "GET", `contracts?user_id=${userId}`);
    expect(listed).toMatchObject({
      total_count: 1,
      contracts: [{ contract_id: contractId, status: "active" }],
    });
  });

  it("waits where the offering says so, until the backend accepts", async () => {
    const { invite_url } = await backend.invite("club", { ...LOGIN_OFFERING, acceptance: "manual" });
    const person = await Person.online(stack);
    people.push(person);
    const connecting = person.vault.connect(invite_url, { profile: PROFILE });
    const pending = await expect
      .poll(async () => (await backend.expect(200, "GET", "contracts?status=pending")).contracts[0], {
        timeout: 10_000,
      })
      .toBeDefined()
      .then(async () => (await backend.expect(200, "GET", "contracts?status=pending")).contracts[0]);
    await backend.expect(200, "POST", `contracts/${pending.contract_id}/accept`);
    // It waits until it is decided, or in the hands of a person at the service: whichever the vault hears first.
    const { contract_id } = await connecting;
    await expect.poll(() => person.vault.contract(contract_id).status).toBe("active");
  });

  it("is refused with the reason when the backend rejects", async () => {
    const { invite_url } = await backend.invite("club", { ...LOGIN_OFFERING, acceptance: "manual" });
    const person = await Person.online(stack);
    people.push(person);
    const connecting = person.vault.connect(invite_url, { profile: PROFILE });
    const answered = connecting.catch((error: unknown) => error);
    await expect
      .poll(async () => (await backend.expect(200, "GET", "contracts?status=pending")).contracts.length, {
        timeout: 10_000,
      })
      .toBe(1);
    const [pending] = (await backend.expect(200, "GET", "contracts?status=pending")).contracts;
    await backend.expect(200, "POST", `contracts/${pending.contract_id}/reject`, { reason: "Members only" });
    await answered;
    await expect
      .poll(() => person.vault.contract(pending.contract_id))
      .toMatchObject({ status: "rejected", reason: expect.stringContaining("declined") });
  });

  it("needs the code the inviter told the person, where one is asked for; one try", async () => {
    const invite = await backend.invite("login", LOGIN_OFFERING, { match_code: true });
    expect(invite.match_code).toMatch(/^\d{6}$/);
    const wrong = await Person.online(stack);
    people.push(wrong);
    const guess = invite.match_code === "123456" ? "654321" : "123456";
    await expect(
      wrong.vault.connect(invite.invite_url, { profile: PROFILE, matchCode: guess }),
    ).rejects.toMatchObject({
      message: expect.stringContaining("match_code_wrong"),
    });
    const right = await Person.online(stack);
    people.push(right);
    await expect(
      right.vault.connect(invite.invite_url, { profile: PROFILE, matchCode: invite.match_code! }),
    ).rejects.toThrow();
    const fresh = await backend.invite("login", LOGIN_OFFERING, { match_code: true });
    const contract = await right.vault.connect(fresh.invite_url, {
      profile: PROFILE,
      matchCode: fresh.match_code!,
    });
    expect(contract.status).toBe("active");
  });

  it("by an invite of another service is refused before anything is sent", async () => {
    const invite = await backend.invite();
    const person = await Person.online(stack);
    people.push(person);
    const other = invite.invite_url.replace(
      /#.*/,
      `#${toBase58(crypto.getRandomValues(new Uint8Array(32)))}`,
    );
    await expect(person.vault.connect(other, { profile: PROFILE })).rejects.toThrow();
    expect(person.vault.contracts()).toEqual([]);
  });

  it("opened again by a connected person leads to the contract there is", async () => {
    const invite = await backend.invite("login", LOGIN_OFFERING, { max_uses: 2 });
    const person = await Person.online(stack);
    people.push(person);
    const contract = await person.vault.connect(invite.invite_url, { profile: PROFILE });
    const again = await person.vault.connect(invite.invite_url, { profile: PROFILE });
    expect(again.contract_id).toBe(contract.contract_id);
  });
});

describe("logging in", () => {
  it("ends with an approval that proves itself offline", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "Log in", { context: { device: "Firefox" } });
    const view = await backend.settled(asked.request_id);
    expect(view).toMatchObject({ status: "approved", result: { authenticated: true } });
    expect(await verifyApproval(view.approval, view.request_payload, view.user_signing_key)).toBe(true);
    expect(view.approval).toEqual(person.vault.approval(asked.request_id));
    await expect.poll(() => person.vault.ask(asked.request_id).outcome).toBe("approved");
  });

  it("is denied when the person denies, and cools off", async () => {
    const { userId } = await connected();
    const asked = await backend.ask(userId, "deny this");
    expect(await backend.settled(asked.request_id)).toMatchObject({
      status: "denied",
      result: { authenticated: false },
    });
    const again = await backend.call("POST", "auth/request", { user_id: userId, purpose: "deny this" });
    expect(again).toMatchObject({ status: 429, body: { code: "rate_limited" } });
    expect(Number(again.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("with a number to match takes only the right one", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "later, with a code", { match_code: true });
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    await person.vault.answer(asked.request_id, { decision: "approved", match_code: asked.match_code });
    expect((await backend.settled(asked.request_id)).status).toBe("approved");

    const second = await backend.ask(userId, "later, with another", { match_code: true });
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    const wrong = second.match_code === "11" ? "12" : "11";
    await person.vault.answer(second.request_id, { decision: "approved", match_code: wrong });
    expect(await backend.settled(second.request_id)).toMatchObject({
      status: "denied",
      reason: "match_code_wrong",
    });
  });

  it("withdrawn by the backend disappears from the phone", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "later");
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    await backend.expect(200, "POST", `requests/${asked.request_id}/cancel`);
    await expect.poll(() => person.vault.ask(asked.request_id).state, { timeout: 10_000 }).toBe("withdrawn");
  });

  it(
    "expires when nobody answers; within the grace a late answer counts as an offline one",
    async () => {
      const { person, userId } = await connected();
      const shortest = { expires_in_seconds: SHORTEST_EXPIRY_SECONDS };
      const graced = await backend.ask(userId, "later, within the grace", {
        ...shortest,
        offline_grace_seconds: 60,
      });
      // Asked last: once it has expired, the other has too, and lives on its grace.
      const unanswered = await backend.ask(userId, "later, never answered", shortest);
      const expired = await backend.settled(unanswered.request_id, SHORTEST_EXPIRY_SECONDS + 15);
      expect(expired.status).toBe("expired");
      await expect(person.vault.answer(unanswered.request_id, { decision: "approved" })).rejects.toThrow();
      await person.vault.answer(graced.request_id, { decision: "approved" });
      expect((await backend.settled(graced.request_id)).status).toBe("offline_approved");
    },
    EXPIRY_TEST_TIMEOUT_MS,
  );
});

describe("what goes wrong on the way", () => {
  it("a vault that was offline reads what it missed and answers", async () => {
    const { person, userId } = await connected();
    await person.vault.stop();
    const asked = await backend.ask(userId, "Log in");
    expect((await backend.expect(200, "GET", `requests/${asked.request_id}?wait=1`)).status).toBe("pending");
    person.vault.start();
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
  });

  it("a vault that starts again from its file goes on where it was", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "later");
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    await person.vault.close();
    await person.open();
    person.vault.start();
    expect(person.vault.asks({ state: "open" }).map(({ request_id }) => request_id)).toEqual([
      asked.request_id,
    ]);
    await person.vault.answer(asked.request_id, { decision: "approved" });
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
  });

  it("a vault whose NATS credentials ran out while it was away renews them, answers and revokes", async () => {
    const { person, userId, contractId } = await connected();
    await person.vault.close();
    // As after two days without a connection: the stored JWT is one that has expired.
    const db = new DatabaseSync(person.storeFile);
    const { users_account } = stack.serviceSpace.material;
    const row = db.prepare("SELECT terms, state FROM contracts WHERE contract_id = ?").get(contractId)!;
    const natsKey: string = JSON.parse(row.terms as string).contract.nats_public_key;
    const past = Math.floor(Date.now() / 1_000) - 3_600;
    const expired = await mintUserJwt({
      signingKey: await importSigningKey(decodeSeed("account", users_account.signing_seed as string)!),
      account: users_account.public_key,
      userNatsKey: natsKey,
      name: userId,
      permissions: userPermissions(stack.serviceId, userId, "lasting"),
      maxSubscriptions: 20,
      expiresAtSeconds: past,
      nowSeconds: past - 86_400,
    });
    const state = (row.state as string).replace(
      /"user_jwt":"[^"]+","expires_at":"[^"]+"/,
      `"user_jwt":"${expired}","expires_at":"${new Date(past * 1_000).toISOString()}"`,
    );
    expect(state).toContain(expired);
    db.prepare("UPDATE contracts SET state = ? WHERE contract_id = ?").run(state, contractId);
    db.close();

    const asked = await backend.ask(userId, "Log in");
    await person.open();
    person.vault.start();
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
    const { entries } = await backend.expect(
      200,
      "GET",
      `audit?user_id=${userId}&operation=credentials.renew`,
    );
    expect(entries).toHaveLength(1);
    const { event_id } = await person.vault.revoke(contractId);
    await person.vault.delivered(event_id);
    expect((await backend.expect(200, "GET", `contracts/${contractId}`)).status).toBe("cancelled");
  });

  it("the Worker killed with a request open comes back with it, and the answer counts", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "later");
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    await stack.worker.kill();
    await person.vault.answer(asked.request_id, { decision: "approved" });
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
  });

  it(
    "a message deleted from a stream of either cluster is noticed, named, and sent again",
    async () => {
      const { person, userId, contractId } = await connected();
      const connection = async () =>
        (await backend.expect(200, "GET", `contracts/${contractId}`)).connection as {
          received_seq: number;
          missing_seq: number[];
        };
      const isOpen = (requestId: string) =>
        person.vault.asks({ state: "open" }).some(({ request_id }) => request_id === requestId);

      // The platform's cluster loses the first of two asks while the person is away.
      const platform = await streamWithDeletes(stack.messageSpace, MESSAGESPACE_STREAM);
      await person.vault.stop();
      const asks = "MessageSpace.*.fromService.*.auth.request";
      const lost = await backend.ask(userId, "later, and lost");
      await expect.poll(() => platform.holds(asks), WAIT).toBe(true);
      await platform.deleteMessage(asks);
      const kept = await backend.ask(userId, "later");
      await expect.poll(() => platform.holds(asks), WAIT).toBe(true);
      person.vault.start();
      await expect.poll(() => isOpen(kept.request_id), WAIT).toBe(true);
      await expect.poll(() => isOpen(lost.request_id), WAIT).toBe(true);

      // The service's cluster loses the first of two answers while the Worker is down and the person has gone again.
      const service = await streamWithDeletes(stack.serviceSpace, FROM_USER_STREAM);
      await stack.worker.kill();
      await person.vault.answer(lost.request_id, { decision: "approved" });
      await person.vault.answer(kept.request_id, { decision: "approved" });
      const answerTo = ({ request_id }: { request_id: string }) =>
        `ServiceSpace.*.fromUser.${userId}.auth.response.${request_id}`;
      await expect.poll(() => service.holds(answerTo(kept)), WAIT).toBe(true);
      await expect.poll(() => service.holds(answerTo(lost)), WAIT).toBe(true);
      await person.vault.stop();
      await service.deleteMessage(answerTo(lost));
      await stack.worker.restart();
      await waitUntilReady(stack.worker);
      expect((await backend.settled(kept.request_id)).status).toBe("approved");
      const { received_seq, missing_seq } = await connection();
      expect(missing_seq).toEqual([received_seq - 1]);
      person.vault.start();
      expect((await backend.settled(lost.request_id)).status).toBe("approved");
      expect((await connection()).missing_seq).toEqual([]);
      await Promise.all([platform.close(), service.close()]);
    },
    EXPIRY_TEST_TIMEOUT_MS,
  );

  it("a waiting call survives the Worker's restart", async () => {
    const { person, userId } = await connected();
    const asked = await backend.ask(userId, "later");
    await expect.poll(() => person.vault.asks({ state: "open" }).length, { timeout: 10_000 }).toBe(1);
    const first = backend.call("GET", `auth/request/${asked.request_id}?wait=20`).catch(() => undefined);
    await stack.worker.kill();
    await first;
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    const waiting = backend.settled(asked.request_id);
    await person.vault.answer(asked.request_id, { decision: "approved" });
    expect((await waiting).status).toBe("approved");
  });
});

describe("the end", () => {
  it("by the user refuses the next ask, takes the profile along, and is in the chain the receipts name", async () => {
    const { person, userId, contractId } = await connected();
    const open = await backend.ask(userId, "later");
    const { event_id } = await person.vault.revoke(contractId, "Enough");
    const receipt = await person.vault.delivered(event_id);
    expect((await backend.settled(open.request_id)).status).toBe("cancelled");
    expect(await backend.call("POST", "auth/request", { user_id: userId, purpose: "Log in" })).toMatchObject({
      status: 403,
      body: { code: "contract_required" },
    });
    expect((await backend.call("GET", `users/${userId}/profile`)).status).toBe(404);
    const { entries } = await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`);
    const info = await backend.expect(200, "GET", "info");
    expect(
      await verifyChain(entries, { serviceId: stack.serviceId, publicKey: info.public_key }),
    ).toMatchObject({ valid: true });
    expect(entries.map((entry: { event_hash: string }) => entry.event_hash)).toContain(receipt.event_hash);
  });

  it("by the user reaches the service over HTTPS when its cluster cannot be reached", async () => {
    const { person, contractId } = await connected();
    await stack.serviceSpace.server.stop();
    try {
      await person.vault.revoke(contractId);
      await expect
        .poll(async () => (await backend.expect(200, "GET", `contracts/${contractId}`)).status, {
          timeout: 30_000,
        })
        .toBe("cancelled");
    } finally {
      await stack.serviceSpace.server.start();
      await waitUntilReady(stack.worker);
    }
  });

  it("by the service is told to the user with the service's signature", async () => {
    const { person, contractId } = await connected();
    const answer = await backend.expect(200, "DELETE", `contracts/${contractId}?reason=Closing`);
    expect(answer.status).toBe("cancelled");
    await expect
      .poll(() => person.vault.contract(contractId), { timeout: 10_000 })
      .toMatchObject({
        status: "cancelled",
        ended_by: "service",
        reason: "Closing",
      });
  });

  it("is no end of the person: a new contract has new keys and nothing of the old", async () => {
    const { person, contractId } = await connected();
    const { event_id } = await person.vault.revoke(contractId);
    await person.vault.delivered(event_id);
    const { invite_url } = await backend.invite();
    const contract = await person.vault.connect(invite_url, { profile: PROFILE });
    expect(contract.contract_id).not.toBe(contractId);
    const asked = await backend.ask(contract.user_id, "Log in");
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
  });
});

// Last: by now the log has seen outages, kills, refusals and everything else of this file.
describe("the Worker's log", () => {
  const read = () => readFileSync(stack.worker.logFile, "utf8");
  const linesOf = (text: string) =>
    text
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));

  it("has one JSON line for a call, found by the id the caller was given", async () => {
    const answer = await backend.call("GET", `contracts/${"1".repeat(44)}?note=marmalade`);
    const id = answer.headers.get("x-request-id");
    const found = () => linesOf(read()).filter((line) => line.request_id === id);
    await expect.poll(() => found().length, { timeout: 10_000 }).toBe(1);
    expect(found()[0]).toEqual({
      level: "info",
      event: "http.request",
      request_id: id,
      method: "GET",
      route: "/api/v1/contracts/:id",
      status: 404,
      ms: expect.any(Number),
      key_id: stack.adminApiKey.split("_")[2],
    });
  });

  it("holds nothing of what was written, shared, invited with or signed in with", async () => {
    const { invite_code } = await backend.invite();
    await backend.expect(200, "GET", `/connect/${invite_code}`);
    const { userId } = await connected();
    await backend.ask(userId, "later: marzipan", { context: { order: "nougat" } });
    await backend.call("POST", "auth/request", { user_id: userId, purpose: 17, praline: "truffle" });
    await backend.call("GET", "info", undefined, { key: `${stack.adminApiKey}x` });
    const log = read();
    expect(linesOf(log).length).toBeGreaterThan(50);
    const [, , , secret] = stack.adminApiKey.split("_");
    for (const content of [
      PROFILE.email,
      invite_code,
      secret!,
      "marmalade",
      "marzipan",
      "nougat",
      "praline",
      "truffle",
      "Enough",
      "Closing",
      ...Object.values(stack.identity.secrets),
    ])
      expect(log.includes(content), content).toBe(false);
  });
});
