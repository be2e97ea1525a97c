// One user's object, with the real Directory and the real bridge beside it; the user is played by hand
// (test/support/peer.ts), so that every message can be wrong in exactly one way.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { configOf } from "../../src/config.ts";
import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { directoryOf, userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import type { ContractAccepted } from "../../src/protocol/contract.ts";
import { fromBase64, toBase58 } from "../../src/protocol/encoding.ts";
import { newEventId, newRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import type { Offer, OfferingContent } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject } from "../../src/protocol/subjects.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import type { AskInput, InboundMessage, InboundOutcome, RequestView } from "../../src/rpc.ts";
import { offeringContent } from "../support/offer.ts";
import { type Opened, Peer } from "../support/peer.ts";

const serviceId = inject("serviceId");
const caller = { keyId: "testkey00001" };
const PROFILE = { email: "ada@example.com" };

afterEach(() => reset());

const directory = () => directoryOf(env);
const stub = (peer: Peer) => env.USER_CONNECTION.getByName(peer.id);
const object = (peer: Peer) => userConnectionOf(env, peer.id);

interface Invited {
  offer: Offer;
  code: string;
  matchCode?: string;
}

async function invite(change: Partial<OfferingContent> = {}, maxUses = 1): Promise<Invited> {
  const put = await directory().putOffering("login", { ...offeringContent, ...change }, caller);
  if (!put.ok) throw new Error(put.error.detail);
  const created = await directory().createInvite({ maxUses, expiresInSeconds: 3_600 }, caller);
  if (!created.ok) throw new Error(created.error.detail);
  return {
    offer: await directory().offer(),
    code: created.value.invite_code,
    ...(created.value.match_code === undefined ? {} : { matchCode: created.value.match_code }),
  };
}

const deliver = async (peer: Peer, ...messages: InboundMessage[]): Promise<InboundOutcome[]> =>
  object(peer).receive(messages.map(({ subject, bytes }) => ({ subject, bytes })));

async function deliverOne(
  peer: Peer,
  message: InboundMessage,
): Promise<{ outcome: InboundOutcome; replies: Opened[] }> {
  const [outcome] = await deliver(peer, message);
  const stored = outcome!.replies.filter(({ cluster }) => cluster === "messagespace");
  return {
    outcome: outcome!,
    replies: await Promise.all(stored.map(({ bytes }) => peer.open(new Uint8Array(bytes)))),
  };
}

const receiptOf = ({ replies }: { replies: Opened[] }): Receipt =>
  replies.find(({ header }) => header.event_type === "receipt")!.payload as unknown as Receipt;

/** Everything sealed that still waits in the object's outbox, opened by the peer. */
async function outbox(peer: Peer): Promise<Opened[]> {
  const sealed = await runInDurableObject(stub(peer), (_: UserConnection, state) =>
    state.storage.sql
      .exec("SELECT sealed FROM outgoing WHERE sealed IS NOT NULL ORDER BY n")
      .toArray()
      .map((row) => new Uint8Array(row.sealed as ArrayBuffer)),
  );
  return Promise.all(sealed.map((bytes) => peer.open(bytes)));
}

/** Rows in every table, to show that a refusal left none. `events` empties by itself as the journal takes them. */
const rowCounts = (peer: Peer) =>
  runInDurableObject(stub(peer), (_: UserConnection, state) =>
    Object.fromEntries(
      state.storage.sql
        .exec(
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'events' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
        )
        .toArray()
        .map(({ name }) => [name, state.storage.sql.exec(`SELECT count(*) AS n FROM ${name}`).one().n]),
    ),
  );

async function connect(invited?: Invited, peer?: Peer): Promise<Peer> {
  const { offer, code, matchCode } = invited ?? (await invite());
  const user = peer ?? (await Peer.make());
  const submission = await user.submission(user.contract(offer), code, {
    profile: PROFILE,
    ...(matchCode === undefined ? {} : { match_code: matchCode }),
  });
  const contractId = user.contractId!;
  user.contractId = undefined;
  const submitted = await user.submit(offer, submission);
  const { replies } = await deliverOne(user, submitted);
  expect(receiptOf({ replies }).outcome).toBe("stored");
  user.contractId = contractId;
  const accepted = (await outbox(user)).find(({ header }) => header.event_type === "contract.accepted")!;
  const payload = accepted.payload as unknown as ContractAccepted;
  user.serviceKey = fromBase64(payload.service_connection_key)!;
  await deliver(
    user,
    await user.message(
      serviceId,
      "receipt",
      { event_id: accepted.header.event_id, received_at: toTimestamp(Date.now()), outcome: "stored" },
      { ref: accepted.header.event_id },
    ),
  );
  return user;
}

const askInput = (peer: Peer, change: Partial<AskInput> = {}): AskInput => ({
  userId: peer.id,
  kind: "auth",
  operation: "authenticate",
  input: {},
  purpose: "Log in to the shop",
  expiresInSeconds: 300,
  offlineGraceSeconds: 0,
  keyId: caller.keyId,
  ...change,
});

async function ask(peer: Peer, change: Partial<AskInput> = {}): Promise<RequestView> {
  const answer = await object(peer).ask(askInput(peer, change));
  if (!answer.ok) throw new Error(`${answer.error.code}: ${answer.error.detail}`);
  return answer.value;
}

const payloadOf = (view: RequestView) => view.request_payload as RequestPayload;

async function respond(
  peer: Peer,
  view: RequestView,
  options: Parameters<Peer["answer"]>[2] & { ref?: string } = {},
): Promise<{ message: InboundMessage & { eventId: string }; outcome: InboundOutcome; receipt: Receipt }> {
  const answer = await peer.answer(payloadOf(view), serviceId, options);
  const message = await peer.message(serviceId, "auth.response", answer, {
    ref: options.ref ?? view.request_id,
  });
  const result = await deliverOne(peer, message);
  return { message, outcome: result.outcome, receipt: receiptOf(result) };
}

async function statusOf(peer: Peer, view: RequestView): Promise<RequestView> {
  const found = await object(peer).request(view.request_id, caller.keyId);
  if (!found.ok) throw new Error(found.error.detail);
  return found.value;
}

async function chain(peer: Peer) {
  const page = await object(peer).audit({ limit: 100 });
  if (!page.ok) throw new Error(page.error.detail);
  const { signingKey } = await configOf(env);
  const report = await verifyChain(page.value.items, { serviceId, publicKey: signingKey.publicKeyText });
  expect(report).toMatchObject({ valid: true });
  return page.value.items;
}

describe("connecting", () => {
  it("makes a contract that verifies from its own content, and tells the Directory", async () => {
    const peer = await connect();
    const detail = await object(peer).contract(peer.contractId!);
    if (!detail.ok) throw new Error(detail.error.detail);
    expect(detail.value.status).toBe("active");
    expect(detail.value.verification.valid).toBe(true);
    expect((await verifyContractRecord(detail.value.record)).valid).toBe(true);
    await expect.poll(() => directory().userOfContract(peer.contractId!)).toBe(peer.id);
    expect((await chain(peer)).map(({ operation }) => operation)).toEqual([
      "contract.submit",
      "contract.accept",
    ]);
  });

  it("gives a repeated submission the same receipt and no second contract", async () => {
    const { offer, code } = await invite();
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), code, { profile: PROFILE });
    peer.contractId = undefined;
    const message = await peer.submit(offer, submission);
    const first = receiptOf(await deliverOne(peer, message));
    const second = receiptOf(await deliverOne(peer, message));
    expect(second).toEqual(first);
    expect(await rowCounts(peer)).toMatchObject({ contracts: 1, inbound: 1 });
  });

  it("waits for the backend where the offering says so, and tells the user of a rejection", async () => {
    const { offer, code } = await invite({ acceptance: "manual" });
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), code, { profile: PROFILE });
    const contractId = peer.contractId!;
    peer.contractId = undefined;
    await deliverOne(peer, await peer.submit(offer, submission));
    expect(await outbox(peer)).toEqual([]);
    expect(await object(peer).ask(askInput(peer))).toMatchObject({
      ok: false,
      error: { code: "contract_required" },
    });
    const rejected = await object(peer).rejectContract(contractId, "Not a customer", caller.keyId);
    expect(rejected).toMatchObject({ ok: true, value: { status: "rejected" } });
    const again = await object(peer).acceptContract(contractId, caller.keyId);
    expect(again).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(await rowCounts(peer)).toMatchObject({ profiles: 0, connection_keys: 0 });
  });

  it("accepts a pending contract when the backend does", async () => {
    const { offer, code } = await invite({ acceptance: "manual" });
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), code, { profile: PROFILE });
    const contractId = peer.contractId!;
    peer.contractId = undefined;
    await deliverOne(peer, await peer.submit(offer, submission));
    expect(await object(peer).acceptContract(contractId, caller.keyId)).toMatchObject({
      ok: true,
      value: { status: "active" },
    });
    expect((await outbox(peer)).map(({ header }) => header.event_type)).toEqual(["contract.accepted"]);
  });

  describe("is refused, and leaves no contract,", () => {
    const refusedWith = async (
      reason: string,
      build: (peer: Peer, invited: Invited) => Promise<InboundMessage> | InboundMessage,
      invited?: Invited,
    ) => {
      const given = invited ?? (await invite());
      const peer = await Peer.make();
      const message = await build(peer, given);
      peer.contractId = undefined;
      const result = await deliverOne(peer, message);
      expect(receiptOf(result)).toMatchObject({ outcome: "refused", reason });
      expect(result.replies.find(({ header }) => header.event_type === "contract.rejected")?.payload).toEqual(
        { reason },
      );
      expect((await rowCounts(peer)).contracts ?? 0).toBe(0);
    };
    const submitting =
      (change: Parameters<Peer["contract"]>[1], submission: Parameters<Peer["submission"]>[2] = {}) =>
      async (peer: Peer, { offer, code }: Invited) => {
        const made = await peer.submission(peer.contract(offer, change), code, {
          profile: PROFILE,
          ...submission,
        });
        return peer.submit(offer, made);
      };

    it("with an invite that does not exist", () =>
      refusedWith("invite_invalid", submitting({}, { invite_code: newEventId() })));
    it("with an invite that is used up", async () => {
      const invited = await invite();
      await connect(invited);
      await refusedWith("invite_used_up", submitting({}), invited);
    });
    it("without the required data, and the invite stays usable", async () => {
      const invited = await invite();
      await refusedWith("required_data_missing", submitting({}, { profile: {} }), invited);
      await connect(invited);
    });
    it("when the offering was edited by the user, and the invite stays usable", async () => {
      const invited = await invite();
      const snapshot = { ...invited.offer.offerings[0]!, description: "Anything goes" };
      await refusedWith("offering_changed", submitting({ offering_snapshot: snapshot }), invited);
      await connect(invited);
    });
    it("when the offering was changed by the service since", async () => {
      const invited = await invite();
      await directory().putOffering("login", { ...offeringContent, name: "Another" }, caller);
      await refusedWith("offering_changed", submitting({}), invited);
    });
    it("when the offer is not one of the service's", () =>
      refusedWith("offer_outdated", submitting({ offer_id: toBase58(randomBytes(32)) })));
    it("when the contract is for another service", () =>
      refusedWith("wrong_service", submitting({ service_id: toBase58(randomBytes(32)) })));
    it("when the contract has expired", () =>
      refusedWith("expired", submitting({ expires_at: toTimestamp(Date.now() - 1) })));
    it("when another key signed it", () =>
      refusedWith("signature_invalid", async (peer, { offer, code }) => {
        const stranger = await Peer.make();
        const contract = peer.contract(offer);
        const forged = await stranger.submission(contract, code, { profile: PROFILE });
        return peer.submit(offer, {
          ...(await peer.submission(contract, code, { profile: PROFILE })),
          user_signature: forged.user_signature,
        });
      }));
    it("with the wrong match code, once and for good", async () => {
      const invited = await invite({ match_code: true });
      await refusedWith(
        "match_code_wrong",
        submitting({}, { match_code: invited.matchCode === "000000" ? "000001" : "000000" }),
        invited,
      );
    });
  });

  it("by a stranger without a genuine invite costs no row", async () => {
    const { offer } = await invite();
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), newEventId(), { profile: PROFILE });
    peer.contractId = undefined;
    await deliver(peer, await peer.submit(offer, submission));
    expect(await rowCounts(peer)).toEqual({});
  });

  it("a second time is refused while a contract is active", async () => {
    const invited = await invite({}, 2);
    const peer = await connect(invited);
    const again = await peer.again();
    const submission = await again.submission(again.contract(invited.offer), invited.code, {
      profile: PROFILE,
    });
    again.contractId = undefined;
    expect(receiptOf(await deliverOne(again, await again.submit(invited.offer, submission)))).toMatchObject({
      outcome: "refused",
      reason: "already_connected",
    });
  });

  it("with a contract that has ended is refused for ever", async () => {
    const invited = await invite({}, 5);
    const peer = await Peer.make();
    const contract = peer.contract(invited.offer);
    const submission = await peer.submission(contract, invited.code, { profile: PROFILE });
    const contractId = peer.contractId!;
    peer.contractId = undefined;
    await deliver(peer, await peer.submit(invited.offer, submission));
    await object(peer).cancelContract(contractId, undefined, caller.keyId);
    expect(receiptOf(await deliverOne(peer, await peer.submit(invited.offer, submission)))).toMatchObject({
      outcome: "refused",
      reason: "contract_ended",
    });
  });
});

describe("bytes that are not to be believed", () => {
  let peer: Peer;
  beforeEach(async () => {
    peer = await connect();
  });
  const rejection = async (message: InboundMessage) => {
    const before = await rowCounts(peer);
    const [outcome] = await deliver(peer, message);
    expect(outcome!.replies).toEqual([]);
    expect(await rowCounts(peer)).toEqual(before);
    return outcome!.rejected?.reason;
  };
  const update = (options: Parameters<Peer["message"]>[3] = {}) =>
    peer.message(serviceId, "profile.update", { profile: { email: "new@example.com" } }, options);

  it.each([
    ["another service's", { header: { to: toBase58(randomBytes(32)) } }, "wrong_recipient"],
    [
      "past their time",
      { header: { timestamp: toTimestamp(Date.now() - 2_000), expires_at: toTimestamp(Date.now() - 1_000) } },
      "expired",
    ],
    [
      "from the future",
      {
        header: {
          timestamp: toTimestamp(Date.now() + 600_000),
          expires_at: toTimestamp(Date.now() + 700_000),
        },
      },
      "from_the_future",
    ],
    ["under an unknown contract", { header: { contract_id: toBase58(randomBytes(32)) } }, "unknown_contract"],
    ["without a sequence number", { header: { seq: 0 } }, "seq_reused"],
    [
      "with a signing key where none belongs",
      { header: { signing_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } },
      "schema",
    ],
  ] as const)("%s", async (_, options, reason) => {
    expect(await rejection(await update(options as Parameters<Peer["message"]>[3]))).toBe(reason);
  });

  it("on a subject that does not fit the header", async () => {
    const subject = fromUserSubject(serviceId, peer.id, "contract.revoke");
    expect(await rejection(await update({ subject }))).toBe("subject_mismatch");
  });

  it("signed by another key", async () => {
    const stranger = await Peer.make();
    const message = await update({ signer: stranger.signing });
    // The stranger's key makes another `from`; with the user's id in its place the signature no longer holds.
    expect(await rejection(message)).toBe("unknown_contract");
    const text = new TextDecoder().decode(message.bytes).replaceAll(stranger.id, peer.id);
    expect(await rejection({ ...message, bytes: new TextEncoder().encode(text) })).toBe("signature_invalid");
  });

  it("sealed to a key this service does not have", async () => {
    expect(await rejection(await update({ to: (await Peer.make()).connection.publicKey }))).toBe(
      "unknown_key",
    );
  });

  it("that are no envelope at all", async () => {
    const subject = fromUserSubject(serviceId, peer.id, "receipt");
    expect(await rejection({ subject, bytes: new TextEncoder().encode("{}") })).toBe("schema");
    expect(await rejection({ subject, bytes: new Uint8Array(1_000_001) })).toBe("too_large");
  });

  it("that reuse a sequence number under another id", async () => {
    await deliver(peer, await update());
    expect(await rejection(await update({ header: { seq: 1 } }))).toBe("seq_reused");
  });
});

describe("asking for a login", () => {
  it("reaches the user sealed, and the user's signed approval ends it", async () => {
    const peer = await connect();
    const view = await ask(peer, { context: { device: "Firefox" }, metadata: { cart: 7 } });
    const [sent] = await outbox(peer);
    expect(sent!.header).toMatchObject({
      event_id: view.request_id,
      event_type: "auth.request",
      seq: 1,
      contract_id: peer.contractId,
    });
    expect(sent!.payload).toEqual(view.request_payload);
    const { receipt } = await respond(peer, view);
    expect(receipt).toMatchObject({ outcome: "stored", request_status: "approved" });
    const after = await statusOf(peer, view);
    expect(after).toMatchObject({
      status: "approved",
      metadata: { cart: 7 },
      approval: { statement: { decision: "approved" } },
    });
    const entries = await chain(peer);
    expect(entries.at(-1)).toMatchObject({
      operation: "auth.response",
      status: "success",
      event_hash: receipt.event_hash,
    });
  });

  it("is delivered by its first receipt; what another says changes nothing", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const confirm = async (outcome: Receipt["outcome"], named = view.request_id) =>
      deliverOne(
        peer,
        await peer.message(
          serviceId,
          "receipt",
          { event_id: named, received_at: toTimestamp(Date.now()), outcome },
          { ref: view.request_id },
        ),
      );
    const entries = (await chain(peer)).length;
    // Says one thing outside and another inside: it confirms neither.
    await confirm("stored", (await ask(peer)).request_id);
    expect((await statusOf(peer, view)).delivered_at).toBeUndefined();
    await confirm("stored");
    const { delivered_at } = await statusOf(peer, view);
    expect(delivered_at).toBeDefined();
    expect((await confirm("refused")).outcome).toEqual({ handled: "done", replies: [] });
    expect(await statusOf(peer, view)).toMatchObject({ status: "pending", delivered_at });
    expect((await chain(peer)).length).toBe(entries + 1);
  });

  it("holds the line until the answer comes", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const waiting = object(peer).request(view.request_id, caller.keyId, 10_000);
    await respond(peer, view);
    expect(await waiting).toMatchObject({ ok: true, value: { status: "approved" } });
  });

  it("stops holding when the time is over", async () => {
    const peer = await connect();
    const view = await ask(peer);
    expect(await object(peer).request(view.request_id, caller.keyId, 50)).toMatchObject({
      ok: true,
      value: { status: "pending" },
    });
  });

  it("is survived by the object: killed after the commit it still sends, and the answer still counts", async () => {
    const peer = await connect();
    const view = await ask(peer);
    await abortAllDurableObjects();
    expect((await outbox(peer)).map(({ header }) => header.event_id)).toEqual([view.request_id]);
    expect(await runDurableObjectAlarm(stub(peer))).toBe(true);
    expect((await respond(peer, view)).receipt.request_status).toBe("approved");
  });

  it("answered with the wrong number is denied for good; with the right one approved", async () => {
    const peer = await connect();
    const wrong = await ask(peer, { input: { match_code: true } });
    expect(wrong.match_code).toMatch(/^\d\d$/);
    const other = wrong.match_code === "11" ? "12" : "11";
    await respond(peer, wrong, { change: { match_code: other } });
    expect(await statusOf(peer, wrong)).toMatchObject({ status: "denied", reason: "match_code_wrong" });
    const right = await ask(peer, { input: { match_code: true }, purpose: "Another try" });
    await respond(peer, right, { change: { match_code: right.match_code! } });
    expect(await statusOf(peer, right)).toMatchObject({ status: "approved" });
  });

  it("after a denial is refused for the cooling-off, the same ask only", async () => {
    const peer = await connect();
    await respond(peer, await ask(peer), { decision: "denied" });
    expect(await object(peer).ask(askInput(peer))).toMatchObject({
      ok: false,
      error: { code: "rate_limited", retryAfterSeconds: 60 },
    });
    await ask(peer, { purpose: "Something else" });
    expect(
      (await chain(peer)).filter(({ status }) => status === "denied").map(({ operation }) => operation),
    ).toEqual(["auth.response", "auth.request"]);
  });

  it("keeps the word that it was not the user", async () => {
    const peer = await connect();
    const view = await ask(peer);
    await respond(peer, view, { decision: "denied", change: { report: true } });
    expect(await statusOf(peer, view)).toMatchObject({ status: "denied", reason: "reported" });
  });

  it("is limited to a few open at once", async () => {
    const peer = await connect();
    for (let count = 0; count < 5; count++) await ask(peer, { purpose: `Log in ${count}` });
    expect(await object(peer).ask(askInput(peer))).toMatchObject({
      ok: false,
      error: { code: "rate_limited" },
    });
  });

  it("with the same Idempotency-Key is one request, also at once; with another body a conflict", async () => {
    const peer = await connect();
    const idempotency = { key: "order-1", digest: "a" };
    const views = await Promise.all([1, 2, 3].map(() => ask(peer, { idempotency })));
    expect(new Set(views.map(({ request_id }) => request_id)).size).toBe(1);
    await respond(peer, views[0]!);
    expect(await ask(peer, { idempotency })).toEqual(views[0]);
    expect(
      await object(peer).ask(askInput(peer, { idempotency: { key: "order-1", digest: "b" } })),
    ).toMatchObject({ ok: false, error: { code: "conflict" } });
  });

  it("of an unknown user writes nothing", async () => {
    const stranger = await Peer.make();
    expect(await object(stranger).ask(askInput(stranger))).toMatchObject({
      ok: false,
      error: { code: "contract_required" },
    });
    expect(await rowCounts(stranger)).toEqual({});
  });

  it("without the capability is refused and recorded", async () => {
    const peer = await connect(
      await invite({
        capabilities: [
          { capability: "verify_presence", description: "Presence", requires_approval_each_use: true },
        ],
      }),
    );
    expect(await object(peer).ask(askInput(peer))).toMatchObject({
      ok: false,
      error: { code: "capability_denied" },
    });
    expect(await outbox(peer)).toEqual([]);
    expect((await chain(peer)).at(-1)).toMatchObject({
      operation: "auth.request",
      capability_used: "authenticate",
      status: "denied",
    });
  });

  it("can be withdrawn while it is open; the user's vault is told, and an answer no longer counts", async () => {
    const peer = await connect();
    const view = await ask(peer);
    expect(await object(peer).cancelRequest(view.request_id, caller.keyId)).toMatchObject({
      ok: true,
      value: { status: "cancelled" },
    });
    const [told] = await outbox(peer);
    expect(told).toMatchObject({
      header: { event_type: "request.cancelled", ref: view.request_id, seq: 2 },
      payload: { request_id: view.request_id },
    });
    expect((await respond(peer, view)).receipt).toMatchObject({
      outcome: "refused",
      reason: "already_ended",
      request_status: "cancelled",
    });
    expect(await object(peer).cancelRequest(newRoutedId(peer.id, 1), caller.keyId)).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
  });
});

describe("an answer", () => {
  it("repeated gets the same receipt, newly sealed, and no second entry", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const { message, receipt, outcome } = await respond(peer, view);
    const before = await rowCounts(peer);
    const again = await deliverOne(peer, message);
    expect(receiptOf(again)).toEqual(receipt);
    expect(again.outcome.replies[0]!.bytes).not.toEqual(outcome.replies[0]!.bytes);
    expect(await rowCounts(peer)).toEqual(before);
  });

  it("that contradicts the first changes nothing: the first one wins", async () => {
    const peer = await connect();
    const view = await ask(peer);
    await respond(peer, view);
    const second = await respond(peer, view, { decision: "denied" });
    expect(second.receipt).toMatchObject({
      outcome: "refused",
      reason: "already_ended",
      request_status: "approved",
    });
    expect((await statusOf(peer, view)).status).toBe("approved");
  });

  it("to another user's request is refused", async () => {
    const invited = await invite({}, 2);
    const [ada, bob] = [await connect(invited), await connect(invited)];
    const view = await ask(ada);
    const { receipt } = await respond(bob, view);
    expect(receipt).toMatchObject({ outcome: "refused", reason: "unknown_request" });
    expect((await statusOf(ada, view)).status).toBe("pending");
  });

  it("that is bad is recorded and leaves the request open for a good one", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const bad = await respond(peer, view, { statement: { kind: "payment" } });
    expect(bad.receipt).toMatchObject({
      outcome: "refused",
      reason: "statement_mismatch",
      request_status: "pending",
    });
    const stranger = await Peer.make();
    expect((await respond(peer, view, { signer: stranger.signing })).receipt.reason).toBe(
      "signature_invalid",
    );
    expect((await chain(peer)).filter(({ status }) => status === "error")).toHaveLength(2);
    expect((await respond(peer, view)).receipt.request_status).toBe("approved");
  });

  it("with a field nobody knows is refused with a receipt", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const { receipt } = await respond(peer, view, { change: { surprise: 1 } as never });
    expect(receipt).toMatchObject({ outcome: "refused", reason: "malformed" });
  });

  it("to a later message that names a missing number has it sent again at once, and not again right after", async () => {
    const peer = await connect();
    const [lost, arrived, later] = [
      await ask(peer),
      await ask(peer, { purpose: "Another" }),
      await ask(peer, { purpose: "A third" }),
    ];
    const sending = () =>
      runInDurableObject(stub(peer), (_: UserConnection, { storage }) =>
        storage.sql
          .exec<{ sendings: number; next_send_at: number }>(
            "SELECT sendings, next_send_at FROM outgoing WHERE event_id = ?",
            lost.request_id,
          )
          .one(),
      );
    const receipt = async (eventId: string) => {
      await deliver(
        peer,
        await peer.message(
          serviceId,
          "receipt",
          { event_id: eventId, received_at: toTimestamp(Date.now()), outcome: "stored", missing_seq: [1] },
          { ref: eventId },
        ),
      );
      // It is set for now: it has fired, or does so here.
      await runDurableObjectAlarm(stub(peer));
    };
    const first = await sending();
    expect(first.sendings).toBe(0);
    await receipt(arrived.request_id);
    await expect.poll(async () => (await sending()).next_send_at).toBeGreaterThan(first.next_send_at);
    // As it stands once the broker has acknowledged the first sending, and it was sent again a moment ago.
    const sentAgain = { sendings: 1, next_send_at: Date.now() + resendPauseMs(2) };
    await runInDurableObject(stub(peer), (_: UserConnection, { storage }) => {
      storage.sql.exec(
        "UPDATE outgoing SET sendings = ?, next_send_at = ? WHERE event_id = ?",
        sentAgain.sendings,
        sentAgain.next_send_at,
        lost.request_id,
      );
    });
    await receipt(later.request_id);
    expect(await sending()).toEqual(sentAgain);
  });

  it("that arrives out of order shows the gap, until the missing one comes", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const missing = await peer.message(serviceId, "profile.update", { profile: { email: "b@example.com" } });
    const { receipt } = await respond(peer, view);
    expect(receipt.missing_seq).toEqual([1]);
    expect(receiptOf(await deliverOne(peer, missing)).missing_seq).toBeUndefined();
  });
});

describe("what is shared", () => {
  it("stays what the user said last, when an earlier word arrives later", async () => {
    const peer = await connect();
    const update = (email: string) => peer.message(serviceId, "profile.update", { profile: { email } });
    const [first, second, third] = [
      await update("a@x.org"),
      await update("b@x.org"),
      await update("c@x.org"),
    ];
    for (const message of [second, first]) {
      await deliver(peer, message);
      expect(await object(peer).profile(caller.keyId)).toMatchObject({
        ok: true,
        value: { profile: { email: "b@x.org" } },
      });
    }
    await deliver(peer, third);
    expect(await object(peer).profile(caller.keyId)).toMatchObject({
      ok: true,
      value: { profile: { email: "c@x.org" } },
    });
    const entries = (await chain(peer)).filter(({ operation }) => operation === "profile.update");
    expect(entries.map(({ response_summary }) => response_summary)).toEqual([
      { fields: 1 },
      { overtaken: true },
      { fields: 1 },
    ]);
  });

  it("is read by the backend, each read leaving an entry, and follows the user's updates", async () => {
    const peer = await connect();
    expect(await object(peer).profile(caller.keyId)).toMatchObject({ ok: true, value: { profile: PROFILE } });
    await deliver(
      peer,
      await peer.message(serviceId, "profile.update", { profile: { email: "new@example.com" } }),
    );
    expect(await object(peer).profile(caller.keyId)).toMatchObject({
      ok: true,
      value: { profile: { email: "new@example.com" } },
    });
    expect((await chain(peer)).filter(({ operation }) => operation === "profile.read")).toHaveLength(2);
  });

  it("and asked is nowhere in the database in the clear", async () => {
    const peer = await connect();
    await ask(peer, { purpose: "Find this needle", metadata: { note: "another needle" } });
    const dump = await runInDurableObject(stub(peer), (_: UserConnection, state) =>
      ["contracts", "profiles", "outgoing", "inbound", "audit", "connection_keys"]
        .flatMap((table) => state.storage.sql.exec(`SELECT * FROM ${table}`).toArray())
        .map((row) =>
          Object.values(row)
            .map((value) =>
              value instanceof ArrayBuffer ? new TextDecoder("latin1").decode(value) : String(value),
            )
            .join("|"),
        )
        .join("\n"),
    );
    expect(dump).toContain(peer.id);
    for (const needle of ["needle", "ada@example.com"]) expect(dump).not.toContain(needle);
  });
});

describe("the end", () => {
  it("by the user cancels what is open, destroys keys and profile, and refuses the next ask", async () => {
    const peer = await connect();
    const view = await ask(peer);
    const message = await peer.message(serviceId, "contract.revoke", await peer.revocation());
    const result = await deliverOne(peer, message);
    expect(receiptOf(result).outcome).toBe("stored");
    expect((await statusOf(peer, view)).status).toBe("cancelled");
    expect(await rowCounts(peer)).toMatchObject({ connection_keys: 0, profiles: 0 });
    expect(await outbox(peer)).toEqual([]);
    expect(await object(peer).ask(askInput(peer))).toMatchObject({
      ok: false,
      error: { code: "contract_required" },
    });
    expect(await object(peer).profile(caller.keyId)).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
    // The notice again: the same receipt, though the keys are gone.
    expect(receiptOf(await deliverOne(peer, message)).event_hash).toBe(receiptOf(result).event_hash);
  });

  it("by the user over HTTPS is the same end; twice is once; by another key it is none", async () => {
    const peer = await connect();
    const stranger = await Peer.make();
    expect(
      await object(peer).revokeByUser(await peer.revocation(peer.contractId, stranger.signing)),
    ).toMatchObject({ ok: false, error: { code: "signature_invalid" } });
    expect(await object(peer).ask(askInput(peer))).toMatchObject({ ok: true });
    const revocation = await peer.revocation();
    expect(await object(peer).revokeByUser(revocation)).toEqual({ ok: true, value: { status: "cancelled" } });
    expect(await object(peer).revokeByUser(revocation)).toEqual({ ok: true, value: { status: "cancelled" } });
    expect((await chain(peer)).filter(({ operation }) => operation === "contract.revoke")).toHaveLength(1);
  });

  it("by the service sends a signed notice; its receipt destroys the keys", async () => {
    const peer = await connect();
    const cancelled = await object(peer).cancelContract(peer.contractId!, "Shop closes", caller.keyId);
    expect(cancelled).toMatchObject({ ok: true, value: { status: "cancelled", cancelled_by: "service" } });
    const [notice] = await outbox(peer);
    expect(notice).toMatchObject({
      header: { event_type: "contract.cancelled" },
      payload: { by: "service", reason: "Shop closes" },
    });
    expect(await rowCounts(peer)).toMatchObject({ connection_keys: 1 });
    const { event_id } = notice!.header;
    await deliver(
      peer,
      await peer.message(
        serviceId,
        "receipt",
        { event_id, received_at: toTimestamp(Date.now()), outcome: "stored" },
        { ref: event_id },
      ),
    );
    expect(await rowCounts(peer)).toMatchObject({ connection_keys: 0 });
    expect(await outbox(peer)).toEqual([]);
  });

  it("refuses the user's messages from then on, with a receipt that says why", async () => {
    const peer = await connect();
    const view = await ask(peer);
    await object(peer).cancelContract(peer.contractId!, undefined, caller.keyId);
    expect((await respond(peer, view)).receipt).toMatchObject({
      outcome: "refused",
      reason: "contract_ended",
    });
  });

  it("lets the person come back with new keys and nothing of the old", async () => {
    const invited = await invite({}, 2);
    const peer = await connect(invited);
    await object(peer).revokeByUser(await peer.revocation());
    const again = await connect(invited, await peer.again());
    expect(again.contractId).not.toBe(peer.contractId);
    const view = await ask(again);
    expect((await respond(again, view)).receipt.request_status).toBe("approved");
  });
});

describe("credentials", () => {
  it("are renewed for the keys the contract names", async () => {
    const peer = await connect();
    expect(await object(peer).renewCredentials(await peer.renewal())).toMatchObject({
      ok: true,
      value: { user_jwt: expect.stringMatching(/^ey/) },
    });
  });

  it("are refused to other keys, with an old timestamp, and after the end", async () => {
    const peer = await connect();
    const stranger = await Peer.make();
    const renew = async (change: Parameters<Peer["renewal"]>[0]) =>
      object(peer).renewCredentials(await peer.renewal(change));
    expect(await renew({ signer: stranger.signing })).toMatchObject({ error: { code: "signature_invalid" } });
    expect(await renew({ natsSigner: stranger.nats })).toMatchObject({
      error: { code: "signature_invalid" },
    });
    expect(await renew({ timestamp: toTimestamp(Date.now() - 301_000) })).toMatchObject({
      error: { code: "signature_invalid" },
    });
    await object(peer).revokeByUser(await peer.revocation());
    expect(await renew({})).toMatchObject({ error: { code: "contract_required" } });
  });
});
