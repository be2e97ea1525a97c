// A contract between its beginning and its end: paused, changed, narrowed, aged, its keys replaced. The backend is
// played over HTTP, the user by hand, so that each message can be wrong in exactly one way.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it } from "vitest";
import { END_NOTICE_MS } from "../../durable-objects/user-connection/aging.ts";
import { ROTATE_AFTER_MESSAGES, ROTATE_AFTER_MS } from "../../durable-objects/user-connection/rotating.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { configOf } from "../../src/config.ts";
import {
  signCapabilityRevocation,
  verifyContractRecord,
  verifyRevocation,
} from "../../src/contracts/agreement.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import { verifyConsentReceipt } from "../../src/contracts/receipt.ts";
import { importAgreementKey, newAgreementKey } from "../../src/crypto/agreement.ts";
import { keyIdOf } from "../../src/crypto/hash.ts";
import { open } from "../../src/crypto/seal.ts";
import { directoryOf, userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import type { Contract, ContractAccepted, ContractSubmit, Revocation } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { parseEnvelope } from "../../src/protocol/envelope.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import type { Offer, OfferingContent } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { offeringContent } from "../support/offer.ts";
import { type Opened, Peer } from "../support/peer.ts";
import { type Body, call, connectedPeer, offerAndInvite, sealedMessages } from "../support/worker.ts";

const serviceId = inject("serviceId");
const DAY_MS = 24 * 3_600_000;
const AT_REST_TIMEOUT_MS = 10_000;
const PROFILE = { email: "ada@example.com" };
const PRESENCE = {
  capability: "verify_presence",
  description: "Ask whether you are there",
  requires_approval_each_use: true,
};

afterEach(() => reset());

const stub = (peer: Peer) => env.USER_CONNECTION.getByName(peer.id);
const object = (peer: Peer) => userConnectionOf(env, peer.id);
const path = (peer: Peer, rest = "") => `/api/v1/contracts/${peer.contractId}${rest}`;

/** What waits sealed and can be opened by this peer's present key. */
const outbox = async (peer: Peer): Promise<Opened[]> => sealedMessages(peer);
const saying = async (peer: Peer, eventType: string): Promise<Opened | undefined> =>
  (await outbox(peer)).findLast(({ header }) => header.event_type === eventType);

/** Until the object has looked at what was due: accepting a contract, for one, has it look at once. */
const atRest = (peer: Peer) =>
  expect
    .poll(() => runInDurableObject(stub(peer), (_: UserConnection, state) => state.storage.getAlarm()), {
      timeout: AT_REST_TIMEOUT_MS,
    })
    .toBeGreaterThan(Date.now());

async function sql<T = Body>(peer: Peer, query: string, ...bindings: unknown[]): Promise<T[]> {
  const changes = query.startsWith("UPDATE contracts");
  if (changes) await atRest(peer);
  const rows = await runInDurableObject(
    stub(peer),
    (_: UserConnection, state) =>
      state.storage.sql.exec(query, ...(bindings as SqlStorageValue[])).toArray() as unknown as T[],
  );
  // An object that lives knows its contracts by heart.
  if (changes) await abortAllDurableObjects();
  return rows;
}

/** Delivers one message; the receipt it got and everything else that was said to the peer at once. */
async function send(
  peer: Peer,
  message: { subject: string; bytes: Uint8Array },
): Promise<{ receipt?: Receipt; rejection?: string; rejected?: string }> {
  const [outcome] = await object(peer).receive([{ subject: message.subject, bytes: message.bytes }]);
  const replies = await Promise.all(
    outcome!.replies
      .filter(({ cluster }) => cluster === "messagespace")
      .map(({ bytes }) => peer.open(new Uint8Array(bytes))),
  );
  const payloadOf = (type: string) =>
    replies.find(({ header }) => header.event_type === type)?.payload as Body | undefined;
  return {
    receipt: payloadOf("receipt"),
    rejection: payloadOf("contract.rejected")?.reason,
    ...(outcome!.rejected === undefined ? {} : { rejected: outcome!.rejected.reason }),
  };
}

const receiptFor = (peer: Peer, eventId: string) =>
  peer.message(
    serviceId,
    "receipt",
    { event_id: eventId, received_at: toTimestamp(Date.now()), outcome: "stored" },
    { ref: eventId },
  );

async function ask(peer: Peer, purpose = "Log in"): Promise<Body> {
  const asked = await call("POST", "/api/v1/auth/request", { body: { user_id: peer.id, purpose } });
  expect(asked.status).toBe(201);
  return (await call("GET", `/api/v1/auth/request/${asked.body.request_id}`)).body;
}
const asking = async (peer: Peer) =>
  (await call("POST", "/api/v1/auth/request", { body: { user_id: peer.id, purpose: "Log in" } })).body.code;
const statusOf = async (view: Body): Promise<string> =>
  (await call("GET", `/api/v1/auth/request/${view.request_id}`)).body.status;

async function respond(peer: Peer, view: Body) {
  const answer = await peer.answer(view.request_payload as RequestPayload, serviceId);
  return send(peer, await peer.message(serviceId, "auth.response", answer, { ref: view.request_id }));
}

const operations = async (peer: Peer): Promise<string[]> => {
  const page = await object(peer).audit({ limit: 100 });
  if (!page.ok) throw new Error(page.error.detail);
  return page.value.items.map(({ operation }) => operation);
};

/** Types of the events that wait for the journal, or went there: read from the journal. */
const events = async (peer: Peer): Promise<Body[]> => {
  let found: Body[] = [];
  await expect
    .poll(async () => {
      found = (await call("GET", `/api/v1/events?user_id=${peer.id}&limit=100`)).body.events;
      const waiting = await sql(peer, "SELECT event FROM events");
      const going = await sql(peer, "SELECT events FROM audit WHERE events IS NOT NULL");
      const told = [
        ...waiting.map(({ event }) => JSON.parse(event as string)),
        ...going.flatMap((row) => JSON.parse(row.events as string)),
      ];
      return told.filter(({ event_id }) => !found.some((one) => one.event_id === event_id)).length;
    })
    .toBe(0);
  return found;
};

/** Moves the object's memory of time rather than the clock. */
const alarm = async (peer: Peer) => {
  // Not due by itself: one that the platform has begun is not waited for.
  await runInDurableObject(stub(peer), (_: UserConnection, state) =>
    state.storage.setAlarm(Date.now() + DAY_MS),
  );
  await runDurableObjectAlarm(stub(peer));
};

async function amend(peer: Peer, body: object, status = 201): Promise<Body> {
  const answer = await call("POST", path(peer, "/amendments"), { body });
  expect(answer.status, JSON.stringify(answer.body)).toBe(status);
  return answer.body;
}
const amendments = async (peer: Peer): Promise<Body[]> =>
  (await call("GET", path(peer, "/amendments"))).body.amendments;

interface Agreed {
  next: Peer;
  submission: ContractSubmit;
  offer: Offer;
}

/** The user's agreement to what was proposed, made by hand: with new keys, and no invite. */
async function agreement(
  peer: Peer,
  change: Partial<Contract> = {},
  submit: Partial<ContractSubmit> = {},
): Promise<Agreed> {
  const update = (await saying(peer, "contract.update"))!;
  const { offer } = update.payload as unknown as { offer: Offer };
  const next = await peer.again();
  const { invite_code: _none, ...submission } = await next.submission(
    next.contract(offer, { supersedes: peer.contractId!, ...change }),
    newEventId(),
    { profile: PROFILE, ...submit },
  );
  return { next, submission, offer };
}

/** Sends an agreement, and takes the acceptance up. */
async function agree(peer: Peer, agreed?: Agreed): Promise<Peer> {
  const { next, submission, offer } = agreed ?? (await agreement(peer));
  const contractId = next.contractId!;
  next.contractId = undefined;
  const { receipt } = await send(next, await next.submit(offer, submission));
  expect(receipt).toMatchObject({ outcome: "stored" });
  next.contractId = contractId;
  const [accepted] = await sql<{ sealed: ArrayBuffer; event_id: string }>(
    next,
    "SELECT sealed, event_id FROM outgoing WHERE contract_id = ? AND event_type = 'contract.accepted'",
    contractId,
  );
  const { payload } = await next.open(new Uint8Array(accepted!.sealed));
  next.serviceKey = fromBase64((payload as unknown as ContractAccepted).service_connection_key)!;
  await send(next, await receiptFor(next, accepted!.event_id));
  await expect.poll(() => directoryOf(env).userOfContract(contractId)).toBe(peer.id);
  return next;
}

/** How a submission is turned down. */
async function refusal({ next, submission, offer }: Agreed): Promise<string | undefined> {
  next.contractId = undefined;
  const { receipt, rejection } = await send(next, await next.submit(offer, submission));
  expect(receipt).toMatchObject({ outcome: "refused", reason: rejection });
  return rejection;
}

describe("a pause", () => {
  it("refuses asks and tells both sides; answers to what was open count; it can be taken back", async () => {
    const peer = await connectedPeer();
    const view = await ask(peer);
    const paused = await call("POST", path(peer, "/pause"), { body: { reason: "Maintenance" } });
    expect(paused).toMatchObject({ status: 200, body: { status: "paused" } });
    expect(await asking(peer)).toBe("contract_required");
    expect((await saying(peer, "contract.paused"))?.payload).toEqual({ reason: "Maintenance" });
    expect((await respond(peer, view)).receipt).toMatchObject({ request_status: "approved" });
    expect((await call("POST", path(peer, "/pause"))).status).toBe(200);
    expect((await call("POST", path(peer, "/resume"))).body.status).toBe("active");
    expect((await call("POST", path(peer, "/resume"))).status).toBe(200);
    expect((await saying(peer, "contract.resumed"))?.payload).toEqual({});
    await ask(peer, "Log in again");
    const told = (await events(peer)).map(({ type }) => type);
    expect(told.filter((type) => /paused|resumed/.test(type))).toEqual([
      "contract.paused",
      "contract.resumed",
    ]);
    expect((await operations(peer)).filter((name) => /pause|resume/.test(name))).toEqual([
      "contract.pause",
      "contract.resume",
    ]);
  });

  it("of a contract that has ended is a conflict", async () => {
    const peer = await connectedPeer();
    await call("DELETE", path(peer));
    for (const verb of ["pause", "resume"])
      expect((await call("POST", path(peer, `/${verb}`))).body.code).toBe("conflict");
  });
});

describe("an amendment", () => {
  const adding = { type: "add_capabilities", capabilities: [PRESENCE], reason: "We deliver in person now" };

  it("is a signed offer for this user alone; agreed to, the new contract takes the old one's place", async () => {
    const peer = await connectedPeer();
    const proposed = await amend(peer, adding);
    expect(proposed).toMatchObject({ status: "pending", type: "add_capabilities" });
    const update = (await saying(peer, "contract.update"))!;
    expect(update.header.event_id).toBe(proposed.amendment_id);
    const { offer, summary } = update.payload as unknown as { offer: Offer; summary: string };
    expect(await verifyOffer(offer, { pinnedServiceId: serviceId, now: Date.now() })).toMatchObject({
      ok: true,
    });
    expect(offer.offerings).toEqual([proposed.offering]);
    expect(summary).toBe(adding.reason);

    const next = await agree(peer);
    expect((await call("GET", path(next))).body).toMatchObject({
      status: "active",
      supersedes: peer.contractId,
      capabilities: ["authenticate", "verify_presence"],
      verification: { valid: true },
    });
    const old = (await call("GET", path(peer))).body;
    expect(old).toMatchObject({ status: "superseded", superseded_by: next.contractId });
    expect((await verifyContractRecord(old.record)).valid).toBe(true);
    expect(await amendments(peer)).toMatchObject([
      { amendment_id: proposed.amendment_id, status: "applied", successor_contract_id: next.contractId },
    ]);
    const view = await ask(next);
    expect(view.contract_id).toBe(next.contractId);
    expect((await respond(next, view)).receipt).toMatchObject({ request_status: "approved" });
    expect((await call("GET", `/api/v1/users/${peer.id}/profile`)).body.contract_id).toBe(next.contractId);
    const active = await call("GET", `/api/v1/contracts?user_id=${peer.id}&status=active`);
    expect(active.body.total_count).toBe(1);
    expect((await events(peer)).filter(({ type }) => type === "contract.updated")).toMatchObject([
      { data: { status: "applied", successor_contract_id: next.contractId } },
    ]);
  });

  it("lets what is open under the old contract finish under its keys, and destroys them then", async () => {
    const peer = await connectedPeer();
    const view = await ask(peer);
    await amend(peer, adding);
    const next = await agree(peer);
    expect(await sql(peer, "SELECT key_id FROM connection_keys")).toHaveLength(2);
    const late = await peer.message(serviceId, "profile.update", { profile: { email: "b@example.com" } });
    expect((await send(peer, late)).receipt).toMatchObject({ outcome: "refused", reason: "superseded" });
    expect((await object(peer).renewCredentials(await peer.renewal())).ok).toBe(true);
    expect((await respond(peer, view)).receipt).toMatchObject({ request_status: "approved" });
    await alarm(peer);
    expect(await sql(peer, "SELECT contract_id FROM connection_keys")).toEqual([
      { contract_id: next.contractId },
    ]);
    expect((await object(peer).renewCredentials(await peer.renewal())).ok).toBe(false);
    const message = await peer.message(serviceId, "profile.update", { profile: PROFILE });
    expect((await send(peer, message)).rejected).toBe("unknown_key");
  });

  it("does not wipe out a no: what is denied under the old contract cools off under the new one", async () => {
    const peer = await connectedPeer();
    const [before, after] = [await ask(peer), await ask(peer, "Log in elsewhere")];
    const deny = async (view: Body) => {
      const answer = await peer.answer(view.request_payload, serviceId, { decision: "denied" });
      return send(peer, await peer.message(serviceId, "auth.response", answer, { ref: view.request_id }));
    };
    await deny(before);
    await amend(peer, adding);
    await agree(peer);
    expect((await deny(after)).receipt).toMatchObject({ request_status: "denied" });
    for (const purpose of ["Log in", "Log in elsewhere"]) {
      const again = await call("POST", "/api/v1/auth/request", { body: { user_id: peer.id, purpose } });
      expect(again.body.code, purpose).toBe("rate_limited");
    }
  });

  it("ends what is still open under the old contract after seven days, keys and all", async () => {
    const peer = await connectedPeer();
    const view = await ask(peer);
    await amend(peer, adding);
    const next = await agree(peer);
    await sql(
      peer,
      "UPDATE contracts SET ended_at = ended_at - ? WHERE contract_id = ?",
      7 * DAY_MS,
      peer.contractId,
    );
    await alarm(peer);
    expect(await statusOf(view)).toBe("cancelled");
    expect(await sql(peer, "SELECT contract_id FROM connection_keys")).toEqual([
      { contract_id: next.contractId },
    ]);
  });

  it("once applied cannot be undone through the old contract: everything names the successor", async () => {
    const peer = await connectedPeer();
    await ask(peer);
    await amend(peer, adding);
    const next = await agree(peer);
    for (const [method, rest, body] of [
      ["DELETE", "", undefined],
      ["POST", "/amendments", adding],
      ["POST", "/rotate-key", undefined],
    ] as const) {
      const answer = await call(method, path(peer, rest), body === undefined ? {} : { body });
      expect(answer.body).toMatchObject({
        code: "conflict",
        detail: expect.stringContaining(next.contractId!),
      });
    }
    const message = await peer.message(serviceId, "contract.revoke", await peer.revocation());
    expect((await send(peer, message)).receipt).toMatchObject({ outcome: "refused", reason: "superseded" });
    expect((await object(peer).revokeByUser(await peer.revocation())).ok).toBe(false);
  });

  it("is followed by the end of everything when the successor ends, what was open under the old one too", async () => {
    const peer = await connectedPeer();
    const view = await ask(peer);
    await amend(peer, adding);
    const next = await agree(peer);
    const message = await next.message(serviceId, "contract.revoke", await next.revocation());
    expect((await send(next, message)).receipt).toMatchObject({ outcome: "stored" });
    expect(await statusOf(view)).toBe("cancelled");
    expect(await sql(peer, "SELECT key_id FROM connection_keys")).toEqual([]);
  });

  it("turned down leaves the contract as it is, and keeps the person's word wrapped", async () => {
    const peer = await connectedPeer();
    const { amendment_id } = await amend(peer, adding);
    const deny = (ref: string) =>
      peer.message(serviceId, "contract.update.denied", { reason: "needle" }, { ref });
    expect((await send(peer, await deny(newEventId()))).receipt).toMatchObject({ reason: "update_unknown" });
    const agreed = await agreement(peer);
    expect((await send(peer, await deny(amendment_id))).receipt).toMatchObject({ outcome: "stored" });
    expect(await amendments(peer)).toMatchObject([{ status: "rejected", user_reason: "needle" }]);
    const [row] = await sql(peer, "SELECT user_reason FROM amendments");
    expect(new TextDecoder("latin1").decode(row.user_reason)).not.toContain("needle");
    expect(await refusal(agreed)).toBe("not_proposed");
    expect((await call("GET", path(peer))).body.status).toBe("active");
    await ask(peer);
    await call("DELETE", path(peer));
    expect((await amendments(peer))[0]).not.toHaveProperty("user_reason");
  });

  it("expires when nobody answers, and is then agreed to too late", async () => {
    const peer = await connectedPeer();
    await amend(peer, { ...adding, expires_in_seconds: 60 });
    const agreed = await agreement(peer);
    await sql(peer, "UPDATE amendments SET expires_at = ?", Date.now() - 1);
    expect(await refusal(agreed)).toBe("offer_outdated");
    await alarm(peer);
    expect(await amendments(peer)).toMatchObject([{ status: "expired" }]);
    expect(await refusal(agreed)).toBe("not_proposed");
    expect((await events(peer)).at(-1)).toMatchObject({
      type: "contract.updated",
      data: { status: "expired" },
    });
  });

  it("is replaced by a newer one, and agreed to once only", async () => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const first = await agreement(peer);
    await amend(peer, { ...adding, reason: "Said better" });
    expect((await amendments(peer)).map(({ status }) => status)).toEqual(["pending", "expired"]);
    expect(await refusal(first)).toBe("offer_outdated");
    const [one, other] = [await agreement(peer), await agreement(peer)];
    await agree(peer, one);
    expect(await refusal(other)).toBe("contract_ended");
  });

  const stranger = "4".repeat(44);
  const more = { ...PRESENCE, capability: "read_data" };
  it.each<[string, string, (offer: Offer, peer: Peer) => Partial<Contract>]>([
    ["of a contract nobody knows", "not_proposed", () => ({ supersedes: stranger })],
    ["under another offer", "offer_outdated", () => ({ offer_id: stranger })],
    [
      "to more than was proposed",
      "offering_changed",
      ({ offerings: [proposed] }) => ({
        offering_snapshot: { ...proposed!, capabilities: [...proposed!.capabilities, more] },
      }),
    ],
    [
      "with the nkey of the old contract",
      "contract_invalid",
      (offer, peer) => ({ nats_public_key: peer.contract(offer).nats_public_key }),
    ],
  ])("refuses an agreement %s", async (_, reason, change) => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const { offer } = await agreement(peer);
    expect(await refusal(await agreement(peer, change(offer, peer)))).toBe(reason);
    expect((await call("GET", path(peer))).body.status).toBe("active");
    expect(await sql(peer, "SELECT count(*) AS n FROM contracts")).toEqual([{ n: 1 }]);
  });

  it("refuses an agreement with the connection key of the old contract", async () => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const { submission, offer } = await agreement(peer, {
      user_connection_key: peer.connection.publicKeyText,
    });
    const contractId = peer.contractId;
    peer.contractId = undefined;
    expect((await send(peer, await peer.submit(offer, submission))).rejection).toBe("contract_invalid");
    peer.contractId = contractId;
    expect((await call("GET", path(peer))).body.status).toBe("active");
  });

  it("refuses a change that nobody proposed, with or without an invite", async () => {
    const peer = await connectedPeer();
    const { invite_code } = await offerAndInvite();
    const offer = await directoryOf(env).offer();
    const next = await peer.again();
    const submission = await next.submission(
      next.contract(offer, { supersedes: peer.contractId! }),
      invite_code,
      { profile: PROFILE },
    );
    expect(await refusal({ next, submission, offer })).toBe("not_proposed");
  });

  it("needs the data that the new offering requires", async () => {
    const peer = await connectedPeer();
    await call("PUT", "/api/v1/offerings/gold", {
      body: {
        ...offeringContent,
        required_data: [{ data_type: "phone", required: true, purpose: "Delivery" }],
      } satisfies OfferingContent,
    });
    await amend(peer, { type: "upgrade", offering_id: "gold", reason: "Gold members are called" });
    expect(await refusal(await agreement(peer))).toBe("required_data_missing");
    const next = await agree(peer, await agreement(peer, {}, { profile: { phone: "1" } }));
    expect((await call("GET", path(next))).body).toMatchObject({ offering_id: "gold", status: "active" });
  });

  it("to an offering accepted by hand needs no further word: the service has proposed it", async () => {
    const peer = await connectedPeer();
    await call("PUT", "/api/v1/offerings/club", { body: { ...offeringContent, acceptance: "manual" } });
    await amend(peer, { type: "downgrade", offering_id: "club", reason: "You asked for it" });
    const next = await agree(peer);
    expect((await call("GET", path(next))).body.status).toBe("active");
  });

  it("extends the end, to the instant that was proposed", async () => {
    const { invite_code } = await offerAndInvite();
    const offer = await directoryOf(env).offer();
    const peer = await Peer.make();
    const endsAt = toTimestamp(Date.now() + 5 * DAY_MS);
    const submission = await peer.submission(peer.contract(offer, { expires_at: endsAt }), invite_code, {
      profile: PROFILE,
    });
    const { contractId } = peer;
    peer.contractId = undefined;
    await send(peer, await peer.submit(offer, submission));
    peer.contractId = contractId;
    await expect.poll(() => directoryOf(env).userOfContract(contractId!)).toBe(peer.id);
    const longer = toTimestamp(Date.now() + 50 * DAY_MS);
    const extend = { type: "extend", expires_at: longer, reason: "Another month" };
    expect((await amend(peer, { ...extend, expires_at: endsAt }, 400)).code).toBe("invalid_request");
    expect(await amend(peer, extend)).toMatchObject({ contract_expires_at: longer });
    expect(await refusal(await agreement(peer, { expires_at: endsAt }))).toBe("offering_changed");
    const next = await agree(peer, await agreement(peer, { expires_at: longer }));
    expect((await call("GET", path(next))).body.expires_at).toBe(longer);
  });

  it.each([
    [{ type: "add_capabilities", capabilities: [offeringContent.capabilities[0]] }, 409],
    [{ type: "add_capabilities", capabilities: [PRESENCE, PRESENCE] }, 400],
    [{ type: "add_capabilities", capabilities: [] }, 400],
    [{ type: "remove_capabilities", capabilities: ["authenticate"] }, 409],
    [{ type: "remove_capabilities", capabilities: ["verify_presence"] }, 409],
    [{ type: "upgrade", offering_id: "nothing" }, 404],
    [{ type: "upgrade", offering_id: "login" }, 409],
    [{ type: "extend", expires_at: "2099-01-01T00:00:00.000Z" }, 409],
    [{ type: "sidegrade" }, 400],
    [{ type: "upgrade", offering_id: "login", surprise: 1 }, 400],
  ])("is refused where it makes no sense: %j", async (body, status) => {
    const peer = await connectedPeer();
    await amend(peer, { ...body, reason: "Because" }, status);
    expect(await amendments(peer)).toEqual([]);
    expect(await outbox(peer)).toEqual([]);
  });

  it("with the same Idempotency-Key is one proposal; with another body a conflict", async () => {
    const peer = await connectedPeer();
    const headers = { "idempotency-key": "change-1" };
    const first = await call("POST", path(peer, "/amendments"), { body: adding, headers });
    const second = await call("POST", path(peer, "/amendments"), { body: adding, headers });
    expect(second.body).toEqual(first.body);
    const other = await call("POST", path(peer, "/amendments"), {
      body: { ...adding, reason: "Other" },
      headers,
    });
    expect(other.body.code).toBe("conflict");
    expect(await amendments(peer)).toHaveLength(1);
  });

  it("does not end a subscription: it goes on under the new contract, and is told of under it", async () => {
    const capability = "payment.subscription";
    const peer = await connectedPeer({
      capabilities: [{ capability, description: "Subscribe", requires_approval_each_use: true }],
    });
    const body = {
      user_id: peer.id,
      plan_id: "tea",
      amount: { amount: 990, currency: "EUR" },
      billing_cycle: "month",
      auto_renew: false,
    };
    const made = await call("POST", "/api/v1/subscriptions", { body });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    const { request_payload, kind } = (await call("GET", `/api/v1/requests/${made.body.request_id}`)).body;
    const answer = await peer.answer(request_payload, serviceId, { result: {} });
    await send(
      peer,
      await peer.message(serviceId, `${kind}.response`, answer, { ref: made.body.request_id }),
    );
    await amend(peer, adding);
    const next = await agree(peer);
    await alarm(peer);
    expect(await sql(peer, "SELECT contract_id FROM connection_keys")).toEqual([
      { contract_id: next.contractId },
    ]);
    const due = await sql(peer, "SELECT 1 FROM outgoing WHERE due_at IS NOT NULL");
    expect(due).toHaveLength(1);
    expect((await call("DELETE", `/api/v1/subscriptions/${made.body.request_id}`)).status).toBe(200);
    expect(await saying(next, "payment.update")).toMatchObject({
      header: { contract_id: next.contractId, ref: made.body.request_id },
    });
  });

  it("agreed to while the service ends the contract leaves one outcome, whoever comes first", async () => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const { next, submission, offer } = await agreement(peer);
    const newId = next.contractId!;
    next.contractId = undefined;
    const message = await next.submit(offer, submission);
    const [ended] = await Promise.all([call("DELETE", path(peer)), send(next, message)]);
    const old = (await call("GET", path(peer))).body.status;
    const rows = await sql(peer, "SELECT status FROM contracts WHERE contract_id = ?", newId);
    if (ended.status === 200) {
      expect(old).toBe("cancelled");
      expect(rows).toEqual([]);
    } else {
      expect([ended.body.code, old]).toEqual(["conflict", "superseded"]);
      expect(rows).toEqual([{ status: "active" }]);
    }
  });

  it("survives the object: killed after the agreement it still tells the user, and the Directory", async () => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const { next, submission, offer } = await agreement(peer);
    const newId = next.contractId!;
    next.contractId = undefined;
    const message = await next.submit(offer, submission);
    const first = await send(next, message);
    await abortAllDurableObjects();
    await runDurableObjectAlarm(stub(peer));
    await expect.poll(() => directoryOf(env).userOfContract(newId)).toBe(peer.id);
    expect((await send(next, message)).receipt).toEqual(first.receipt);
    expect(await sql(peer, "SELECT status FROM contracts ORDER BY created_at")).toEqual([
      { status: "superseded" },
      { status: "active" },
    ]);
    const waiting = "SELECT 1 FROM outgoing WHERE event_type = 'contract.accepted' AND contract_id = ?";
    expect(await sql(peer, `${waiting} AND sealed IS NOT NULL`, newId)).toHaveLength(1);
  });

  it("does not outlive the contract", async () => {
    const peer = await connectedPeer();
    await amend(peer, adding);
    const agreed = await agreement(peer);
    await call("DELETE", path(peer));
    expect(await amendments(peer)).toMatchObject([{ status: "expired" }]);
    expect(await refusal(agreed)).toBe("contract_ended");
  });
});

describe("a capability", () => {
  const two = { capabilities: [...offeringContent.capabilities, PRESENCE] };
  const revoking = async (peer: Peer, capabilities: string[], signer = peer.signing) =>
    peer.message(
      serviceId,
      "capability.revoke",
      await signCapabilityRevocation(signer, peer.contractId!, capabilities),
    );

  it("taken back is gone at commit, and what is open under it is cancelled", async () => {
    const peer = await connectedPeer(two);
    const view = await ask(peer);
    expect((await send(peer, await revoking(peer, ["authenticate"]))).receipt).toMatchObject({
      outcome: "stored",
    });
    expect(await statusOf(view)).toBe("cancelled");
    expect(await asking(peer)).toBe("capability_denied");
    expect((await respond(peer, view)).receipt).toMatchObject({ reason: "already_ended" });
    expect((await call("GET", path(peer))).body.capabilities).toEqual(["verify_presence"]);
    await expect
      .poll(
        async () =>
          (await call("GET", `/api/v1/contracts?user_id=${peer.id}`)).body.contracts[0].capabilities,
      )
      .toEqual(["verify_presence"]);
    // Again, under a new number: nothing new to tell.
    await send(peer, await revoking(peer, ["authenticate"]));
    expect((await events(peer)).filter(({ type }) => type === "capability.revoked")).toMatchObject([
      { data: { capabilities: ["authenticate"] } },
    ]);
  });

  it("is not taken back by another key, nor one that was never granted", async () => {
    const peer = await connectedPeer(two);
    const stranger = await Peer.make();
    const forged = await signCapabilityRevocation(stranger.signing, peer.contractId!, ["authenticate"]);
    const answered = await send(peer, await peer.message(serviceId, "capability.revoke", forged));
    expect(answered.receipt).toMatchObject({ outcome: "refused", reason: "signature_invalid" });
    const unknown = await send(peer, await revoking(peer, ["authenticate", "secret.minor.read"]));
    expect(unknown.receipt).toMatchObject({ outcome: "refused", reason: "not_granted" });
    await ask(peer);
  });

  it("taken back does not return with a change that does not name it", async () => {
    const peer = await connectedPeer(two);
    await send(peer, await revoking(peer, ["authenticate"]));
    const grant = { ...PRESENCE, capability: "list_connections" };
    const proposed = await amend(peer, { type: "add_capabilities", capabilities: [grant], reason: "More" });
    expect(proposed.offering.capabilities.map(({ capability }: Body) => capability)).toEqual([
      "verify_presence",
      "list_connections",
    ]);
  });
});

describe("time", () => {
  const idle = (peer: Peer, ms: number) =>
    sql(peer, "UPDATE contracts SET last_activity_at = ?1, activated_at = ?1", Date.now() - ms);

  it("ends an inactive contract, after both sides were told", async () => {
    const peer = await connectedPeer({ inactivity_expiry_days: 30 });
    await alarm(peer);
    expect(await saying(peer, "contract.expiring")).toBeUndefined();
    await idle(peer, 30 * DAY_MS - END_NOTICE_MS + 1_000);
    await alarm(peer);
    await alarm(peer);
    const told = (await outbox(peer)).filter(({ header }) => header.event_type === "contract.expiring");
    expect(told).toMatchObject([{ payload: { reason: "inactive" } }]);
    const view = await ask(peer);
    await idle(peer, 30 * DAY_MS);
    await alarm(peer);
    expect((await call("GET", path(peer))).body).toMatchObject({
      status: "expired",
      cancelled_reason: "inactive",
    });
    expect(await statusOf(view)).toBe("expired");
    const notice = (await saying(peer, "contract.cancelled"))!.payload as unknown as Revocation;
    expect(notice).toMatchObject({ by: "service", reason: "inactive" });
    expect(await verifyRevocation((await configOf(env)).signingKey.publicKeyText, notice)).toBe(true);
    expect((await events(peer)).map(({ type }) => type)).toEqual(
      expect.arrayContaining(["contract.expiring", "contract.expired"]),
    );
  });

  it("begins anew with anything the person sends, and stands still while the contract is paused", async () => {
    const peer = await connectedPeer({ inactivity_expiry_days: 30 });
    await idle(peer, 29 * DAY_MS);
    await send(peer, await peer.message(serviceId, "profile.update", { profile: PROFILE }));
    await sql(peer, "UPDATE contracts SET activated_at = ?", Date.now() - 60 * DAY_MS);
    await alarm(peer);
    expect(await saying(peer, "contract.expiring")).toBeUndefined();
    await call("POST", path(peer, "/pause"));
    await idle(peer, 40 * DAY_MS);
    await alarm(peer);
    expect((await call("POST", path(peer, "/resume"))).body.status).toBe("active");
    await alarm(peer);
    expect((await call("GET", path(peer))).body.status).toBe("active");
  });

  it("ends a contract at its own end; the backend is told ahead, the person knows", async () => {
    const peer = await connectedPeer();
    await sql(
      peer,
      "UPDATE contracts SET expires_at = ?, activated_at = ?",
      Date.now() + DAY_MS,
      Date.now() - 9 * DAY_MS,
    );
    await alarm(peer);
    expect(await saying(peer, "contract.expiring")).toBeUndefined();
    await sql(peer, "UPDATE contracts SET expires_at = ?", Date.now());
    await alarm(peer);
    expect((await call("GET", path(peer))).body.status).toBe("expired");
    const told = (await events(peer)).filter(({ type }) => /expir/.test(type));
    expect(told).toMatchObject([
      { type: "contract.expiring", data: { reason: "expired" } },
      { type: "contract.expired" },
    ]);
  });
});

describe("the consent receipt", () => {
  const receiptOf = async (peer: Peer): Promise<Body> => (await call("GET", path(peer, "/receipt"))).body;

  it("proves itself, stays the same while the consent does, and follows it", async () => {
    const peer = await connectedPeer({ capabilities: [...offeringContent.capabilities, PRESENCE] });
    const first = await receiptOf(peer);
    expect(await verifyConsentReceipt(first, serviceId)).toMatchObject({ ok: true });
    expect(await receiptOf(peer)).toEqual(first);
    expect(first).toMatchObject({
      state: "issued",
      principal: { user_id: peer.id },
      controller: { service_id: serviceId },
      contract: { contract_id: peer.contractId },
      data_categories: [
        { category: "email", optional: false },
        { category: "nickname", optional: true },
      ],
    });
    const revocation = await signCapabilityRevocation(peer.signing, peer.contractId!, ["verify_presence"]);
    await send(peer, await peer.message(serviceId, "capability.revoke", revocation));
    const narrowed = await receiptOf(peer);
    expect(narrowed.receipt_id).not.toBe(first.receipt_id);
    expect(narrowed.purposes.map(({ state }: Body) => state)).toEqual(["issued", "withdrawn"]);
    await object(peer).revokeByUser(await peer.revocation());
    const last = await receiptOf(peer);
    expect(last).toMatchObject({ state: "withdrawn", ended: { by: "principal" } });
    expect(await verifyConsentReceipt(last, serviceId)).toMatchObject({ ok: true });
    expect((await operations(peer)).filter((name) => name === "receipt.issue")).toHaveLength(4);
  });

  it("of a contract that was not accepted there is none", async () => {
    const { invite_code } = await offerAndInvite({ acceptance: "manual" });
    const offer = await directoryOf(env).offer();
    const peer = await Peer.make();
    const submission = await peer.submission(peer.contract(offer), invite_code, { profile: PROFILE });
    const { contractId } = peer;
    peer.contractId = undefined;
    await send(peer, await peer.submit(offer, submission));
    peer.contractId = contractId;
    await expect.poll(() => directoryOf(env).userOfContract(contractId!)).toBe(peer.id);
    expect((await call("GET", path(peer, "/receipt"))).body.code).toBe("conflict");
  });
});

describe("keys", () => {
  const rotating = async (peer: Peer) => (await saying(peer, "key.rotate"))!;
  const nextKey = ({ payload }: Opened) =>
    fromBase64((payload as { connection_key: string }).connection_key)!;
  const rotated = (peer: Peer, rotation: Opened, change: object = {}) =>
    peer.message(
      serviceId,
      "key.rotated",
      { key_id: keyIdOf(nextKey(rotation)), ...change },
      { ref: rotation.header.event_id },
    );
  const serviceKeys = (peer: Peer) => sql<{ key_id: string }>(peer, "SELECT key_id FROM connection_keys");

  it("of the service are replaced on demand; whoever stole the old one reads nothing new", async () => {
    const peer = await connectedPeer();
    const [stored] = await sql<{ key_id: string; secret: ArrayBuffer }>(
      peer,
      "SELECT key_id, secret FROM connection_keys",
    );
    const stolen = await importAgreementKey(
      (await configOf(env))
        .wrapperFor(peer.id)
        .unwrapBytes(new Uint8Array(stored!.secret), `connection_keys/secret/${stored!.key_id}`),
    );
    const readable = async ({ bytes }: { bytes: Uint8Array }) => {
      const envelope = parseEnvelope(bytes);
      if (!envelope.ok) throw new Error(envelope.error);
      return (await open(envelope.value, stolen)) !== undefined;
    };
    const before = await peer.message(serviceId, "profile.update", { profile: PROFILE });
    expect(await readable(before)).toBe(true);
    await send(peer, before);

    const begun = await call("POST", path(peer, "/rotate-key"));
    expect(begun).toMatchObject({ status: 202, body: { previous_key_id: stored!.key_id } });
    expect((await call("POST", path(peer, "/rotate-key"))).body).toEqual(begun.body);
    const rotation = await rotating(peer);
    expect(rotation.payload).toMatchObject({ previous_key_id: stored!.key_id });
    peer.serviceKey = nextKey(rotation);
    expect((await send(peer, await rotated(peer, rotation))).receipt).toMatchObject({ outcome: "stored" });
    expect(await serviceKeys(peer)).toEqual([{ key_id: begun.body.key_id }]);

    const after = await peer.message(serviceId, "profile.update", { profile: PROFILE });
    expect(await readable(after)).toBe(false);
    expect((await send(peer, after)).receipt).toMatchObject({ outcome: "stored" });
    const old = await peer.message(
      serviceId,
      "profile.update",
      { profile: PROFILE },
      { to: stolen.publicKey },
    );
    expect((await send(peer, old)).rejected).toBe("unknown_key");
  });

  it("of the service stay while anything sealed to them is on its way", async () => {
    const peer = await connectedPeer();
    const inFlight = await peer.message(serviceId, "profile.update", { profile: { email: "x@example.com" } });
    await call("POST", path(peer, "/rotate-key"));
    const rotation = await rotating(peer);
    peer.serviceKey = nextKey(rotation);
    await send(peer, await rotated(peer, rotation));
    expect(await serviceKeys(peer)).toHaveLength(2);
    expect((await send(peer, inFlight)).receipt).toMatchObject({ outcome: "stored" });
    expect(await serviceKeys(peer)).toHaveLength(1);
  });

  it("of the service go after the longest life of a message, arrived or not", async () => {
    const peer = await connectedPeer();
    await peer.message(serviceId, "profile.update", { profile: PROFILE });
    await call("POST", path(peer, "/rotate-key"));
    const rotation = await rotating(peer);
    peer.serviceKey = nextKey(rotation);
    await send(peer, await rotated(peer, rotation));
    await sql(peer, "UPDATE connection_keys SET retired_at = retired_at - ?", 31 * DAY_MS);
    await alarm(peer);
    expect(await serviceKeys(peer)).toHaveLength(1);
  });

  it("of the service are replaced after so many messages, and after so long", async () => {
    const peer = await connectedPeer();
    const one = await peer.message(serviceId, "profile.update", { profile: PROFILE });
    await sql(peer, "UPDATE contracts SET rotated_seq = ?", 1 - ROTATE_AFTER_MESSAGES);
    await send(peer, one);
    const rotation = await rotating(peer);
    peer.serviceKey = nextKey(rotation);
    await send(peer, await rotated(peer, rotation));
    expect(await rotating(peer)).toBeUndefined();
    await sql(peer, "UPDATE contracts SET rotated_at = rotated_at - ?", ROTATE_AFTER_MS);
    await alarm(peer);
    expect(nextKey(await rotating(peer))).not.toEqual(peer.serviceKey);
  });

  it("of the service are offered again, the same, to a vault that was away too long", async () => {
    const peer = await connectedPeer();
    await call("POST", path(peer, "/rotate-key"));
    const first = await rotating(peer);
    await sql(peer, "UPDATE outgoing SET sealed_until = ? WHERE event_type = 'key.rotate'", Date.now());
    await alarm(peer);
    const second = await rotating(peer);
    expect(second.header.event_id).not.toBe(first.header.event_id);
    expect(nextKey(second)).toEqual(nextKey(first));
    peer.serviceKey = nextKey(second);
    expect((await send(peer, await rotated(peer, second))).receipt).toMatchObject({ outcome: "stored" });
    // The first word arrived after all, and is confirmed under another number.
    expect((await send(peer, await rotated(peer, first))).receipt).toMatchObject({ outcome: "stored" });
    expect(await serviceKeys(peer)).toHaveLength(1);
  });

  it("confirmed that were never offered change nothing", async () => {
    const peer = await connectedPeer();
    const unasked = await peer.message(serviceId, "key.rotated", {
      key_id: keyIdOf((await newAgreementKey()).key.publicKey),
    });
    expect((await send(peer, unasked)).receipt).toMatchObject({ outcome: "refused", reason: "key_unknown" });
    expect(await serviceKeys(peer)).toHaveLength(1);
  });

  it("of the user are taken up: everything from then on is sealed to the new one", async () => {
    const peer = await connectedPeer();
    const next = await newAgreementKey();
    const rotate = (change: object = {}, options: Parameters<Peer["message"]>[3] = {}) =>
      peer.message(
        serviceId,
        "key.rotate",
        {
          connection_key: next.key.publicKeyText,
          previous_key_id: keyIdOf(peer.connection.publicKey),
          ...change,
        },
        options,
      );
    expect((await send(peer, await rotate({ previous_key_id: next.key.keyId }))).receipt).toMatchObject({
      reason: "key_unknown",
    });
    const small = Buffer.from(new Uint8Array(32)).toString("base64");
    expect((await send(peer, await rotate({ connection_key: small }))).receipt).toMatchObject({
      reason: "key_refused",
    });
    const taken = await rotate();
    expect((await send(peer, taken)).receipt).toMatchObject({ outcome: "stored" });
    const moved = Object.create(peer, { connection: { value: next.key } }) as Peer;
    expect((await saying(moved, "key.rotated"))?.payload).toEqual({ key_id: next.key.keyId });
    await ask(moved);
    await expect(peer.open(await lastSealed(peer))).rejects.toThrow("sealed to another key");
    await moved.open(await lastSealed(peer));
    // An older one that comes late does not turn it back.
    const late = await rotate(
      { connection_key: (await newAgreementKey()).key.publicKeyText, previous_key_id: next.key.keyId },
      { header: { seq: peer.seq } },
    );
    expect((await send(moved, late)).rejected).toBe("seq_reused");
    expect((await call("GET", path(peer))).body.connection.user_key_ids).toEqual([next.key.keyId]);
  });

  const lastSealed = async (peer: Peer) => {
    const rows = await sql<{ sealed: ArrayBuffer }>(
      peer,
      "SELECT sealed FROM outgoing WHERE sealed IS NOT NULL ORDER BY n DESC LIMIT 1",
    );
    return new Uint8Array(rows[0]!.sealed);
  };

  it("of a contract that has ended are not replaced", async () => {
    const peer = await connectedPeer();
    await call("DELETE", path(peer));
    expect((await call("POST", path(peer, "/rotate-key"))).body.code).toBe("conflict");
  });
});
