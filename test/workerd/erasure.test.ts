// Erasing a user: what goes, what stays, and that every step may be the last before a crash.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { AUDIT_LOG_NAME } from "../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME, Directory } from "../../durable-objects/directory/directory.ts";
import { Journal } from "../../durable-objects/journal/journal.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { compareHashes } from "../../src/audit/verify.ts";
import { configOf } from "../../src/config.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { journalFor, journalName } from "../../src/webhooks/shards.ts";
import type { Peer } from "../support/peer.ts";
import {
  type Answer,
  call,
  connectedPeer,
  deliver,
  isLogged,
  offerAndInvite,
  sealedMessages,
} from "../support/worker.ts";

const WAIT_MS = 10_000;
const DAY_MS = 86_400_000;

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

type Stub = DurableObjectStub<UserConnection>;
const user = (id: string) => env.USER_CONNECTION.getByName(id);
const directory = () => env.DIRECTORY.getByName(DIRECTORY_NAME) as unknown as Stub;
const journal = () => env.JOURNAL.getByName(journalName(0)) as unknown as Stub;
const log = () => env.AUDIT_LOG.getByName(AUDIT_LOG_NAME);

const erase = (id: string): Promise<Answer> => call("DELETE", `/api/v1/users/${id}`);

/** Every row of an object as text, by table; BLOBs as hex. */
const rowsOf = (stub: Stub): Promise<Record<string, string[]>> =>
  runInDurableObject(stub, (_, { storage: { sql } }) => {
    const tables = sql
      .exec<{ name: string }>(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      .toArray();
    return Object.fromEntries(
      tables.map(({ name }) => [
        name,
        sql
          .exec(`SELECT * FROM "${name}"`)
          .toArray()
          .map((row) =>
            JSON.stringify(row, (_key, value) => (value instanceof ArrayBuffer ? "blob" : value)),
          ),
      ]),
    );
  });

const mentions = async (stub: Stub, text: string): Promise<string[]> =>
  Object.entries(await rowsOf(stub))
    .filter(([, rows]) => rows.some((row) => row.includes(text)))
    .map(([table]) => table);

/** The user's vault says that it has the notice of the end. */
async function receiptNotice(peer: Peer): Promise<void> {
  const notice = (await sealedMessages(peer)).find(
    ({ header }) => header.event_type === "contract.cancelled",
  )!;
  const ref = notice.header.event_id;
  const receipt = { event_id: ref, received_at: toTimestamp(Date.now()), outcome: "stored" };
  await deliver(peer, await peer.message(inject("serviceId"), "receipt", receipt, { ref }));
}

/** Lets the alarm fire until the user is erased. */
const erased = (id: string) =>
  expect
    .poll(
      async () => {
        await runDurableObjectAlarm(user(id));
        return (await rowsOf(user(id))).contracts!.length;
      },
      { timeout: WAIT_MS },
    )
    .toBe(0);

const chainOf = async (id?: string) =>
  (await call("GET", `/api/v1/audit?limit=100${id === undefined ? "" : `&user_id=${id}`}`)).body;
const erasures = async () =>
  (await chainOf()).entries.filter(({ operation }: { operation: string }) => operation === "user.erase");
const toldOf = async (id: string) =>
  (await journalFor(env, id).read({ after: 0, limit: 100 })).items.map(({ event }) => event);

describe("a user who is erased", () => {
  it("is told first, and then nothing stored names them anywhere", async () => {
    const peer = await connectedPeer();
    const asked = await call("POST", "/api/v1/auth/request", {
      body: { user_id: peer.id, purpose: "Sign in to the shop" },
    });
    expect(asked.status).toBe(201);

    const begun = await erase(peer.id);
    expect(begun).toMatchObject({
      status: 202,
      body: {
        user_id: peer.id,
        status: "erasing",
        erasure_id: expect.any(String),
        erased_by: expect.any(String),
      },
    });
    expect((await call("GET", `/api/v1/users/${peer.id}`)).status).toBe(404);
    expect((await call("GET", `/api/v1/contracts/${peer.contractId}`)).body).toMatchObject({
      status: "cancelled",
      cancelled_by: "service",
    });
    // Until the notice is receipted nothing else goes, and asking again is the same erasure.
    await runDurableObjectAlarm(user(peer.id));
    expect(await erase(peer.id)).toMatchObject({ status: 202, body: begun.body });
    await receiptNotice(peer);
    const chain = (await chainOf(peer.id)).entries;
    await erased(peer.id);

    const { erasure_id } = begun.body;
    expect(await erase(peer.id)).toMatchObject({
      status: 200,
      body: { status: "erased", erasure_id, erased_at: expect.any(String) },
    });
    for (const stub of [user(peer.id), directory(), journal()])
      expect(await mentions(stub, peer.id)).toEqual([]);
    expect(await mentions(user(peer.id), peer.signing.publicKeyText)).toEqual([]);
    const kept = Object.entries(await rowsOf(user(peer.id))).filter(([, rows]) => rows.length > 0);
    expect(Object.fromEntries(kept)).toEqual({
      schema_version: [expect.any(String)],
      erasure: [expect.stringContaining(erasure_id)],
      forgotten: [JSON.stringify({ contract_id: peer.contractId })],
      heads: [expect.stringContaining('"leaf_index":-1')],
    });
    expect(await runInDurableObject(user(peer.id), (_, { storage }) => storage.getAlarm())).toBe(null);

    expect((await call("GET", `/api/v1/contracts?user_id=${peer.id}`)).body.contracts).toEqual([]);
    expect((await call("GET", `/api/v1/contracts/${peer.contractId}`)).status).toBe(404);
    expect((await call("GET", `/api/v1/requests/${asked.body.request_id}`)).status).toBe(404);
    expect((await call("GET", `/api/v1/events?user_id=${peer.id}`)).body.events).toEqual([]);
    // As after pruning: whoever remembers the chain sees that all of it was there.
    const seen = {
      hashes: chain.map(({ event_hash }: { event_hash: string }) => event_hash),
      event_ids: chain.map(({ event_id }: { event_id: string }) => event_id),
    };
    const { entries, pruned_to } = await chainOf(peer.id);
    expect(entries).toEqual([]);
    expect(seen.hashes).toContain(pruned_to);
    expect(compareHashes(seen, { hashes: [], event_ids: [] }, pruned_to)).toEqual([]);
    // The backend knows the erasure by its id; so does the service's own chain.
    expect(await toldOf(peer.id)).toContainEqual({
      type: "user.erased",
      timestamp: expect.any(String),
      event_id: erasure_id,
      data: { erasure_id },
    });
    expect(await erasures()).toMatchObject([{ status: "success", request_summary: { erasure_id } }]);
  });

  it("is unknown: asks are refused and write nothing", async () => {
    const peer = await connectedPeer();
    await erase(peer.id);
    const ask = () =>
      call("POST", "/api/v1/auth/request", { body: { user_id: peer.id, purpose: "Sign in" } });
    expect(await ask()).toMatchObject({ status: 403, body: { code: "contract_required" } });
    await receiptNotice(peer);
    await erased(peer.id);
    const before = await rowsOf(user(peer.id));
    expect(await ask()).toMatchObject({ status: 403, body: { code: "contract_required" } });
    expect((await call("GET", `/api/v1/users/${peer.id}/profile`)).status).toBe(404);
    expect(await rowsOf(user(peer.id))).toEqual(before);
  });

  it("leaves the tree, the chains of others and the service's own as they are", async () => {
    const [peer, other] = [await connectedPeer(), await connectedPeer()];
    await expect.poll(() => isLogged(user(peer.id)), { timeout: WAIT_MS }).toBe(true);
    const { entries } = await chainOf(peer.id);
    const shown = await runInDurableObject(user(peer.id), (object: UserConnection) =>
      object.auditProof(entries.at(-1).event_id),
    );
    if (!shown.ok) throw new Error(shown.error.detail);
    const { index } = shown.value;
    const proof = await log().proof({ index });
    expect(proof.ok).toBe(true);
    const { size } = await log().state();
    await erase(peer.id);
    await receiptNotice(peer);
    await erased(peer.id);
    expect(await log().consistency(size, (await log().state()).published_size)).toMatchObject({ ok: true });
    expect(await log().proof({ index })).toMatchObject({
      ok: true,
      value: { index },
    });
    const { signingKey } = await configOf(env);
    const keys = { serviceId: inject("serviceId"), publicKey: signingKey.publicKeyText };
    for (const chain of [await chainOf(other.id), await chainOf()])
      expect(await verifyChain(chain.entries, keys)).toMatchObject({
        valid: true,
        entries: chain.entries.length,
      });
  });

  it("may come back with a new contract, not with an old one; the chain goes on from where it ended", async () => {
    const peer = await connectedPeer();
    const offer = await directoryOf(env).offer();
    const { invite_code } = await offerAndInvite({}, { max_uses: 5 });
    await erase(peer.id);
    await receiptNotice(peer);
    const before = await chainOf(peer.id);
    await erased(peer.id);

    const outcomes = async (message: { subject: string; bytes: Uint8Array }) => {
      const [outcome] = await (user(peer.id) as unknown as UserConnection).receive([message]);
      return outcome;
    };
    const again = await peer.again();
    const contract = again.contract(offer);
    const submission = await again.submission(contract, invite_code, {
      profile: { email: "ada@example.com" },
    });
    again.contractId = undefined;
    expect(await outcomes(await again.submit(offer, submission))).toMatchObject({ handled: "done" });
    const { entries, pruned_to } = await chainOf(peer.id);
    expect(entries[0].operation).toBe("contract.submit");
    expect(pruned_to).toBe(entries[0].previous_hash);
    expect(before.entries.map(({ event_hash }: { event_hash: string }) => event_hash)).toContain(pruned_to);
    const { signingKey } = await configOf(env);
    const keys = { serviceId: inject("serviceId"), publicKey: signingKey.publicKeyText, after: pruned_to };
    expect(await verifyChain(entries, keys)).toMatchObject({ valid: true });
    const proof = () => call("GET", `/api/v1/audit/${entries[0].event_id}/proof?user_id=${peer.id}`);
    await expect.poll(async () => (await proof()).status, { timeout: WAIT_MS }).toBe(200);

    // Erased once more, a contract of either time stays refused.
    expect((await erase(peer.id)).status).toBe(202);
    await runInDurableObject(user(peer.id), (_, { storage: { sql } }) => {
      sql.exec("UPDATE erasure SET requested_at = requested_at - ?", 8 * DAY_MS);
    });
    await erased(peer.id);
    const replayed = await peer.again();
    const replay = await replayed.submission(contract, invite_code, {
      profile: { email: "ada@example.com" },
    });
    replayed.contractId = undefined;
    const refused = await outcomes(await replayed.submit(offer, replay));
    expect(refused!.replies.length).toBeGreaterThan(0);
    expect((await rowsOf(user(peer.id))).contracts).toEqual([]);
    expect((await chainOf(peer.id)).entries).toEqual([]);
  });

  it("waits for a vault that does not answer no longer than the notice does", async () => {
    const peer = await connectedPeer();
    expect((await erase(peer.id)).status).toBe(202);
    for (let alarms = 0; alarms < 3; alarms++) await runDurableObjectAlarm(user(peer.id));
    expect((await rowsOf(user(peer.id))).contracts).toHaveLength(1);
    await runInDurableObject(user(peer.id), (_, { storage: { sql } }) => {
      sql.exec("UPDATE erasure SET requested_at = requested_at - ?", 8 * DAY_MS);
    });
    await erased(peer.id);
    expect(await erasures()).toHaveLength(1);
  });

  it("begins no new contract while it lasts", async () => {
    const peer = await connectedPeer();
    const offer = await directoryOf(env).offer();
    const { invite_code } = await offerAndInvite();
    await erase(peer.id);
    const again = await peer.again();
    const submission = await again.submission(again.contract(offer), invite_code, {
      profile: { email: "ada@example.com" },
    });
    again.contractId = undefined;
    await deliver(again, await again.submit(offer, submission));
    expect((await rowsOf(user(peer.id))).contracts).toHaveLength(1);
    expect((await chainOf(peer.id)).entries.at(-1)).toMatchObject({
      operation: "contract.submit",
      status: "denied",
      response_summary: { reason: "declined" },
    });
  });
});

describe("an erasure", () => {
  const forget = { directory: Directory.prototype.forgetUser, journal: Journal.prototype.forgetUser };
  const dies = new Error("it died");

  it.each([
    [
      "the Directory before it forgot",
      () => vi.spyOn(Directory.prototype, "forgetUser").mockRejectedValueOnce(dies),
    ],
    [
      "the Directory after it forgot",
      () =>
        vi.spyOn(Directory.prototype, "forgetUser").mockImplementationOnce(async function (
          this: Directory,
          wanted,
        ) {
          await forget.directory.call(this, wanted);
          throw dies;
        }),
    ],
    [
      "the Journal before it forgot",
      () => vi.spyOn(Journal.prototype, "forgetUser").mockRejectedValueOnce(dies),
    ],
    [
      "the Journal after it forgot, and this object with it",
      () =>
        vi.spyOn(Journal.prototype, "forgetUser").mockImplementationOnce(async function (
          this: Journal,
          ...wanted
        ) {
          await forget.journal.call(this, ...wanted);
          throw dies;
        }),
    ],
  ])("is finished by the alarm whichever of its steps was the last: %s", async (_, fail) => {
    const peer = await connectedPeer();
    const { erasure_id } = (await erase(peer.id)).body;
    const spy = fail();
    await receiptNotice(peer);
    await expect
      .poll(
        async () => {
          await runDurableObjectAlarm(user(peer.id)).catch(() => {});
          return spy.mock.calls.length;
        },
        { timeout: WAIT_MS },
      )
      .toBeGreaterThan(0);
    await abortAllDurableObjects();
    await erased(peer.id);
    expect(await erasures()).toHaveLength(1);
    expect((await toldOf(peer.id)).filter(({ type }) => type === "user.erased")).toHaveLength(1);
    for (const stub of [user(peer.id), directory(), journal()])
      expect(await mentions(stub, peer.id)).toEqual([]);
    expect((await erase(peer.id)).body).toMatchObject({ status: "erased", erasure_id });
  });

  it("is not undone by an alarm that was under way", async () => {
    const peer = await connectedPeer();
    await erase(peer.id);
    await receiptNotice(peer);
    // Both begin while there is something to erase; the second looks when there is nothing.
    await Promise.all([
      runDurableObjectAlarm(user(peer.id)),
      runInDurableObject(user(peer.id), (object) => object.alarm()),
    ]);
    await erased(peer.id);
    await runInDurableObject(user(peer.id), (object) => Promise.all([object.alarm(), object.alarm()]));
    expect((await rowsOf(user(peer.id))).meta).toEqual([]);
    expect(await mentions(user(peer.id), peer.id)).toEqual([]);
  });

  it("is for whoever administers, and for users there are", async () => {
    const peer = await connectedPeer();
    const made = await call("POST", "/api/v1/api-keys", {
      body: { name: "support", scopes: ["contracts:write", "contracts:read"] },
    });
    const refused = await call("DELETE", `/api/v1/users/${peer.id}`, { key: made.body.api_key });
    expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
    const nobody = inject("serviceId");
    for (const id of [nobody, newEventId(), "nothing"])
      expect(await erase(id)).toMatchObject({ status: 404, body: { code: "not_found" } });
    expect(await rowsOf(user(nobody))).toEqual({});
  });
});
