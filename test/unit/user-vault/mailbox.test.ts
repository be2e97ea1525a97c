import { beforeEach, describe, expect, it } from "vitest";
import { verifyContractRecord } from "../../../src/contracts/agreement.ts";
import { newAgreementKey } from "../../../src/crypto/agreement.ts";
import { keyIdOf } from "../../../src/crypto/hash.ts";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import type { RequestPayload } from "../../../src/protocol/asking.ts";
import { fromBase64 } from "../../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../../src/protocol/ids.ts";
import { verifyAnswer, verifyApproval } from "../../../src/requests/lifecycle.ts";
import { kindNamed } from "../../../src/requests/registry.ts";
import { MailboxFixture } from "./mailbox-fixture.ts";
import { asAnswer, LOGIN, ServicePeer } from "./service-peer.ts";

const DAY_MS = 24 * 3_600_000;
const APPROVE = { decision: "approved" } as const;

let peer: ServicePeer;
let vault: MailboxFixture;

beforeEach(async () => {
  peer = await ServicePeer.make();
  vault = new MailboxFixture(peer);
});

describe("setup", () => {
  it("submits a signed contract, takes the acceptance and receipts it under the new key", async () => {
    const contractId = await vault.submit();
    expect(peer.submit?.header).toMatchObject({ event_type: "contract.submit", seq: 0, to: peer.key.id });
    expect(peer.submit?.header.contract_id).toBeUndefined();
    expect(peer.submit?.header.signing_key).toBe(peer.contract?.user_signing_key);

    await vault.receive(await peer.accept());
    expect(vault.contract().status).toBe("active");
    expect(vault.outbox()).toEqual([]);
    const [receipt] = await vault.receipts();
    expect(receipt?.header).toMatchObject({ event_type: "receipt", seq: 0, contract_id: contractId });
    expect(receipt?.header.key_id).toBe(peer.keys[0]?.keyId);
    expect(receipt?.payload).toMatchObject({ outcome: "stored" });
  });

  it("takes the acceptance from toUser as well, and counts the second copy as a repeat", async () => {
    await vault.submit();
    const accepted = await peer.accept(undefined, { toUser: true });
    await vault.receive(accepted);
    await vault.receive({
      ...accepted,
      subject: accepted.subject
        .replace(`ServiceSpace.${peer.key.id}.toUser.${peer.contract?.user_id}`, "")
        .replace(/^/, `MessageSpace.${peer.contract?.message_space}.fromService.${peer.key.id}`),
    });
    expect(vault.contract().status).toBe("active");
    expect(vault.events.filter(({ type }) => type === "message_refused")).toEqual([]);
    expect(vault.receiptsDue()).toHaveLength(1);
  });

  it("refuses an acceptance that another key signed, and still takes the right one", async () => {
    await vault.submit();
    await vault.receive(await peer.accept(undefined, { badSignature: true }));
    expect(vault.contract().status).toBe("pending");
    await vault.receive(await peer.accept());
    expect(vault.contract().status).toBe("active");
  });

  it("ends with the service's reason when it is rejected, and keeps no key", async () => {
    const contractId = await vault.submit();
    await vault.receive(await peer.reject("invite_used_up"));
    expect(vault.contract()).toMatchObject({
      status: "rejected",
      reason: "invite_used_up",
      endSettled: true,
    });
    expect(vault.contract().natsSeed).toBeUndefined();
    expect(vault.store.transaction((tx) => tx.connectionKeys(contractId))).toEqual([]);
    expect(vault.receiptsDue()).toEqual([]);
  });

  it("gives each service another identity and message space", async () => {
    const other = await ServicePeer.make();
    const first = await vault.mailbox.identityFor(peer.key.id);
    const second = await vault.mailbox.identityFor(other.key.id);
    expect(first.row.userId).not.toBe(second.row.userId);
    expect(first.row.messageSpace).not.toBe(second.row.messageSpace);
    expect((await vault.mailbox.identityFor(peer.key.id)).row).toEqual(first.row);
  });

  it("gives up a submission that never arrived", async () => {
    await vault.submit();
    vault.clockMs = 8 * DAY_MS;
    await vault.mailbox.expire();
    expect(vault.contract()).toMatchObject({ status: "expired", reason: "submission_undelivered" });
  });
});

describe("an ask", () => {
  beforeEach(async () => {
    await vault.connect();
  });

  it("is receipted once it is stored, and answered with a signature that stands by itself", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    expect(vault.ask(asked.eventId)?.state).toBe("open");
    expect(vault.receiptsDue().map(({ eventId }) => eventId)).toContain(asked.eventId);

    await vault.mailbox.answer(asked.eventId, APPROVE);
    const [answer] = await vault.sent();
    expect(answer?.header).toMatchObject({ event_type: "auth.response", ref: asked.eventId, seq: 1 });
    const kind = kindNamed("auth")!;
    const verified = await verifyAnswer(asAnswer(answer!), {
      payload: asked.payload as RequestPayload,
      operation: kind.operations[0]!,
      userId: peer.contract!.user_id,
      serviceId: peer.key.id,
      contractId: peer.contractId!,
      userSigningKey: peer.contract!.user_signing_key,
    });
    expect(verified.ok).toBe(true);
    const { approval } = asAnswer(answer!);
    expect(await verifyApproval(approval, asked.payload, peer.contract!.user_signing_key)).toBe(true);
    expect(
      await verifyApproval(approval, { ...asked.payload, purpose: "x" }, peer.contract!.user_signing_key),
    ).toBe(false);
  });

  it("is answered once: another answer is refused, and the sealed one stays", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    await vault.mailbox.answer(asked.eventId, APPROVE);
    await expect(vault.mailbox.answer(asked.eventId, { decision: "denied" })).rejects.toMatchObject({
      code: "ask_closed",
    });
    expect(vault.outbox()).toHaveLength(1);
  });

  it("is answered once when two answers race", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    const outcomes = await Promise.allSettled([
      vault.mailbox.answer(asked.eventId, APPROVE),
      vault.mailbox.answer(asked.eventId, { decision: "denied", report: true }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(vault.outbox()).toHaveLength(1);
    expect(vault.ask(asked.eventId)?.answer?.decision).toBe("approved");
  });

  it.each([
    ["at the top", { surprise: 1 }],
    ["in the context", { context: { device: { nested: true } } }],
    ["an operation where there is one only", { operation: "authenticate" }],
  ])("with a field this vault cannot show (%s) is denied as unsupported, unseen", async (_, extra) => {
    const asked = await peer.ask({ extra });
    await vault.receive(asked);
    const [answer] = await vault.sent();
    expect(asAnswer(answer!)).toMatchObject({ decision: "denied", reason: "unsupported" });
    expect(
      await verifyApproval(asAnswer(answer!).approval, asked.payload, peer.contract!.user_signing_key),
    ).toBe(true);
    expect(vault.events.some(({ type }) => type === "ask")).toBe(false);
    await expect(vault.mailbox.answer(asked.eventId, APPROVE)).rejects.toMatchObject({ code: "ask_closed" });
  });

  it("of a kind this vault does not know is denied as unsupported", async () => {
    await vault.receive(await peer.ask({ kind: "custom.loyalty" }));
    const [answer] = await vault.sent();
    expect(answer?.header.event_type).toBe("custom.loyalty.response");
    expect(asAnswer(answer!)).toMatchObject({ decision: "denied", reason: "unsupported" });
  });

  it("whose payload names another request is refused and not answered", async () => {
    const asked = await peer.ask({ extra: { request_id: newEventId() } });
    await vault.receive(asked);
    expect(vault.ask(asked.eventId)).toBeUndefined();
    expect(vault.outbox()).toEqual([]);
    const receipt = (await vault.receipts()).find(({ header }) => header.ref === asked.eventId);
    expect(receipt?.payload).toMatchObject({ outcome: "refused", reason: "request_mismatch" });
  });

  it("needs its match code", async () => {
    const asked = await peer.ask({ matchCode: true });
    await vault.receive(asked);
    await expect(vault.mailbox.answer(asked.eventId, APPROVE)).rejects.toMatchObject({
      code: "match_code_missing",
    });
    await vault.mailbox.answer(asked.eventId, { ...APPROVE, match_code: "42" });
    const [answer] = await vault.sent();
    expect(asAnswer(answer!).match_code).toBe("42");
  });

  it.each([
    ["a result nobody asked for", { decision: "approved", result: { a: 1 } }],
    ["a reason with a line break", { decision: "denied", reason: "a\nb" }],
    ["a malformed valid_until", { decision: "approved", valid_until: "tomorrow" }],
  ] as const)("cannot be answered with %s, and stays open", async (_, answer) => {
    const asked = await peer.ask();
    await vault.receive(asked);
    await expect(vault.mailbox.answer(asked.eventId, answer)).rejects.toMatchObject({
      code: "answer_invalid",
    });
    expect(vault.ask(asked.eventId)?.state).toBe("open");
    expect(vault.outbox()).toEqual([]);
  });

  it("can be answered in its grace, and not after it", async () => {
    const late = await peer.ask({ expiresInMs: 60_000, graceSeconds: 300 });
    const never = await peer.ask({ expiresInMs: 60_000, graceSeconds: 0 });
    await vault.receive(late);
    await vault.receive(never);
    vault.clockMs = 120_000;
    await vault.mailbox.answer(late.eventId, APPROVE);
    await expect(vault.mailbox.answer(never.eventId, APPROVE)).rejects.toMatchObject({ code: "ask_closed" });
    await vault.mailbox.expire();
    expect(vault.ask(never.eventId)?.state).toBe("expired");
  });

  it("that the service withdrew cannot be answered", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    await vault.receive(await peer.seal("request.cancelled", { request_id: asked.eventId }));
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    await expect(vault.mailbox.answer(asked.eventId, APPROVE)).rejects.toMatchObject({ code: "ask_closed" });
  });

  it("whose withdrawal overtook it is never shown", async () => {
    const asked = await peer.ask();
    await vault.receive(await peer.seal("request.cancelled", { request_id: asked.eventId }));
    await vault.receive(asked);
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    expect(vault.events.some(({ type }) => type === "ask")).toBe(false);
  });

  it("shows how the service counted the answer", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    const eventId = await vault.mailbox.answer(asked.eventId, APPROVE);
    const hash = Buffer.alloc(32, 7).toString("base64");
    await vault.receive(
      await peer.receipt(eventId, { request_status: "offline_approved", event_hash: hash }),
    );
    expect(vault.ask(asked.eventId)?.outcome).toBe("offline_approved");
    expect(vault.outbox()).toEqual([]);
    expect(vault.store.transaction((tx) => tx.receipt(eventId))).toMatchObject({
      eventHash: hash,
      eventType: "auth.response",
    });
  });

  it("whose answer expired unheard says so", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    await vault.mailbox.answer(asked.eventId, APPROVE);
    vault.clockMs = 120_000;
    await vault.mailbox.expire();
    expect(vault.ask(asked.eventId)).toMatchObject({ state: "answered", undelivered: true });
    expect(vault.outbox()).toEqual([]);
  });
});

it("an ask for something the contract does not grant is denied", async () => {
  peer = await ServicePeer.make({
    ...LOGIN,
    capabilities: [
      { capability: "send_notifications", description: "Notify you", requires_approval_each_use: false },
    ],
  });
  vault = new MailboxFixture(peer);
  await vault.connect();
  await vault.receive(await peer.ask());
  const [answer] = await vault.sent();
  expect(asAnswer(answer!)).toMatchObject({ decision: "denied", reason: "not_granted" });
});

describe("a message", () => {
  beforeEach(async () => {
    await vault.connect();
  });

  it("that comes again changes nothing and is receipted again, newly sealed", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    const first = vault.receiptsDue().find(({ eventId }) => eventId === asked.eventId)!;
    const sealedOnce = await vault.mailbox.sealReceipt(first);
    vault.store.transaction((tx) => tx.saveReceived({ ...first, receiptDue: false }));
    await vault.mailbox.answer(asked.eventId, APPROVE);

    await vault.receive(asked);
    expect(vault.ask(asked.eventId)?.state).toBe("answered");
    expect(vault.outbox()).toHaveLength(1);
    const again = vault.receiptsDue().find(({ eventId }) => eventId === asked.eventId)!;
    const sealedTwice = await vault.mailbox.sealReceipt(again);
    expect(sealedTwice?.bytes).not.toEqual(sealedOnce?.bytes);
    const read = await Promise.all(
      [sealedOnce, sealedTwice].map((sealed) => peer.open(sealed!.subject, sealed!.bytes)),
    );
    expect(read[1]?.payload).toEqual(read[0]?.payload);
  });

  it.each([
    [
      "signed by someone else",
      async () =>
        peer.seal(
          "request.cancelled",
          { request_id: newEventId() },
          { signer: await importSigningKey(randomBytes(32)) },
        ),
    ],
    [
      "under a number already used",
      async () => {
        await vault.receive(await peer.ask());
        return peer.seal("request.cancelled", { request_id: newEventId() }, { seq: peer.seq });
      },
    ],
    ["without a number", () => peer.seal("request.cancelled", { request_id: newEventId() }, { seq: 0 })],
    [
      "of a contract, without naming it",
      () => peer.seal("request.cancelled", { request_id: newEventId() }, { setup: true, seq: 5 }),
    ],
  ])("%s is not believed, not answered and not remembered", async (_, make) => {
    const sent = await make();
    const due = vault.receiptsDue().length;
    await vault.receive(sent);
    expect(vault.events.at(-1)?.type).toBe("message_refused");
    expect(vault.receiptsDue()).toHaveLength(due);
  });

  it("on another subject is not believed", async () => {
    const asked = await peer.ask();
    await vault.receive({ ...asked, subject: `${asked.subject}.x` });
    expect(vault.events.at(-1)).toMatchObject({ type: "message_refused", reason: "subject_mismatch" });
  });

  it("of a type this vault does not know is receipted as refused", async () => {
    const sent = await peer.seal("news.flash", { title: "x" });
    await vault.receive(sent);
    const receipt = (await vault.receipts()).find(({ header }) => header.ref === sent.eventId);
    expect(receipt?.payload).toMatchObject({ outcome: "refused", reason: "unsupported_type" });
  });

  it("that is missing is named in receipts, until it arrives", async () => {
    const lost = await peer.seal("request.cancelled", { request_id: newEventId() });
    const asked = await peer.ask();
    await vault.receive(asked);
    const receiptOf = async (eventId: string) =>
      (await vault.receipts()).find(({ header }) => header.ref === eventId);
    expect((await receiptOf(asked.eventId))?.payload).toMatchObject({ missing_seq: [1] });
    await vault.receive(lost);
    expect((await receiptOf(asked.eventId))?.payload).not.toHaveProperty("missing_seq");
  });

  it("of ours that the service misses is sent again at once", async () => {
    const first = await peer.ask();
    const second = await peer.ask();
    await vault.receive(first);
    await vault.receive(second);
    const lost = await vault.mailbox.answer(first.eventId, APPROVE);
    const arrived = await vault.mailbox.answer(second.eventId, APPROVE);
    const later = Date.now() + 3_600_000;
    vault.store.transaction((tx) => {
      for (const row of tx.outbox(peer.contractId!))
        tx.saveOutbox({ ...row, sendings: 1, lastSentAt: Date.now() - 10_000, nextAt: later });
    });
    await vault.receive(await peer.receipt(arrived, { missing_seq: [1] }));
    expect(vault.outbox().map(({ eventId }) => eventId)).toEqual([lost]);
    expect(vault.outbox()[0]!.nextAt).toBeLessThanOrEqual(Date.now());
  });

  it("answered in any order gets numbers without gaps", async () => {
    const asks = await Promise.all(Array.from({ length: 8 }, () => peer.ask()));
    await Promise.all(asks.map((asked) => vault.receive(asked)));
    await Promise.all(asks.map(({ eventId }) => vault.mailbox.answer(eventId, APPROVE)));
    expect(vault.outbox().map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("is forgotten only after it has expired everywhere, and its number stays used", async () => {
    await vault.receive(await peer.ask());
    vault.clockMs = 32 * DAY_MS;
    await vault.mailbox.expire();
    expect(vault.contract().receivedFloor).toBe(1);
    expect(vault.receiptsDue()).toEqual([]);
  });
});

describe("a contract", () => {
  beforeEach(async () => {
    await vault.connect();
  });

  it("can be proved from its record alone", async () => {
    const { terms, acceptance } = vault.contract();
    const record = {
      contract: terms.contract,
      user_signature: terms.userSignature,
      signed_at: terms.signedAt,
      service_public_key: terms.offer.service_public_key,
      service_connection_key: acceptance!.serviceConnectionKey,
      accepted_at: acceptance!.acceptedAt,
      service_signature: acceptance!.serviceSignature,
    };
    expect((await verifyContractRecord(record)).valid).toBe(true);
  });

  it("ended by the user is ended at once; its keys go with the service's receipt", async () => {
    const asked = await peer.ask();
    const late = await peer.ask();
    await vault.receive(asked);
    const eventId = await vault.mailbox.revoke(peer.contractId!, "moved on");
    expect(vault.contract()).toMatchObject({
      status: "cancelled",
      endedBy: "user",
      reason: "moved on",
      profile: {},
    });
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    const [notice] = await vault.sent();
    expect(notice?.header.event_type).toBe("contract.revoke");

    await vault.receive(late);
    expect(vault.ask(late.eventId)).toBeUndefined();
    await expect(vault.mailbox.revoke(peer.contractId!)).rejects.toMatchObject({ code: "contract_ended" });

    await vault.receive(await peer.receipt(eventId));
    expect(vault.contract().endSettled).toBe(true);
    expect(vault.contract().natsSeed).toBeUndefined();
    expect(vault.store.transaction((tx) => tx.connectionKeys(peer.contractId!))).toEqual([]);
  });

  it("ended by the service withdraws what is open, and receipts the notice and its repeats", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    const notice = await peer.cancel();
    await vault.receive(notice);
    expect(vault.contract()).toMatchObject({
      status: "cancelled",
      endedBy: "service",
      reason: "shop closed",
    });
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    expect(vault.store.transaction((tx) => tx.connectionKeys(peer.contractId!))).toEqual([]);
    vault.store.transaction((tx) => {
      for (const row of tx.receiptsDue(peer.contractId!, 100)) tx.saveReceived({ ...row, receiptDue: false });
    });
    await vault.receive(notice);
    const [receipt] = await vault.receipts();
    expect(receipt?.payload).toMatchObject({ event_id: notice.eventId, outcome: "stored" });
  });

  it("is not ended by a notice someone else signed", async () => {
    await vault.receive(await peer.cancel(await importSigningKey(randomBytes(32))));
    expect(vault.contract().status).toBe("active");
    expect(vault.receiptsDue().at(-1)).toMatchObject({ outcome: "refused", reason: "signature_invalid" });
  });

  it("that is paused refuses asks until it is resumed, whatever order the two arrive in", async () => {
    await vault.receive(await peer.seal("contract.paused", {}));
    const asked = await peer.ask();
    await vault.receive(asked);
    expect(vault.ask(asked.eventId)).toBeUndefined();
    const pausedAgain = await peer.seal("contract.paused", {});
    await vault.receive(await peer.seal("contract.resumed", {}));
    await vault.receive(pausedAgain);
    expect(vault.contract().status).toBe("active");
  });

  it("follows the service's new key and confirms it under that key", async () => {
    const { key } = await newAgreementKey();
    const previous = peer.keys[0]!;
    peer.keys.unshift(key);
    await vault.receive(
      await peer.seal("key.rotate", { connection_key: key.publicKeyText, previous_key_id: previous.keyId }),
    );
    const [confirmed] = await vault.sent();
    expect(confirmed?.header).toMatchObject({ event_type: "key.rotated", key_id: key.keyId });
    expect(confirmed?.payload).toEqual({ key_id: key.keyId });
    expect(vault.contract().serviceKey).toBe(key.publicKeyText);
  });

  it("does not follow a rotation from a key it does not know", async () => {
    const [stranger, next] = [(await newAgreementKey()).key, (await newAgreementKey()).key];
    await vault.receive(
      await peer.seal("key.rotate", { connection_key: next.publicKeyText, previous_key_id: stranger.keyId }),
    );
    expect(vault.contract().serviceKey).toBe(peer.keys[0]!.publicKeyText);
    expect(vault.receiptsDue().at(-1)).toMatchObject({ outcome: "refused", reason: "key_unknown" });
  });

  it("keeps its own old key until everything sealed to it has arrived", async () => {
    await vault.mailbox.rotateKey(peer.contractId!);
    const [told] = await vault.sent();
    const { connection_key } = told!.payload as { connection_key: string };
    const early = await peer.ask();
    peer.userKey = fromBase64(connection_key)!;
    const newId = keyIdOf(peer.userKey);
    await vault.receive(await peer.seal("key.rotated", { key_id: newId }, { ref: told!.header.event_id }));
    const keys = () =>
      vault.store.transaction((tx) => tx.connectionKeys(peer.contractId!)).map(({ keyId }) => keyId);
    await vault.mailbox.expire();
    expect(keys()).toHaveLength(2);
    await vault.receive(early);
    expect(vault.ask(early.eventId)?.state).toBe("open");
    await vault.mailbox.expire();
    expect(keys()).toEqual([newId]);
  });

  it("shares a changed profile", async () => {
    await vault.mailbox.updateProfile(peer.contractId!, { email: "new@example.org" });
    const [sent] = await vault.sent();
    expect(sent?.payload).toEqual({ profile: { email: "new@example.org" } });
    expect(vault.contract().profile).toEqual({ email: "new@example.org" });
  });

  it("holds a proposed change until it is declined", async () => {
    const next = await ServicePeer.make();
    await vault.receive(
      await peer.seal("contract.update", { offer: next.offer, offering_id: "login", summary: "More" }),
    );
    expect(vault.contract().proposal).toBeUndefined();
    const update = await peer.seal("contract.update", {
      offer: peer.offer,
      offering_id: "login",
      summary: "More",
    });
    await vault.receive(update);
    expect(vault.contract().proposal?.summary).toBe("More");
    await vault.mailbox.declineUpdate(peer.contractId!, "no thanks");
    const [denied] = await vault.sent();
    expect(denied?.header).toMatchObject({ event_type: "contract.update.denied", ref: update.eventId });
    expect(vault.contract()).toMatchObject({ status: "active" });
    expect(vault.contract().proposal).toBeUndefined();
  });
});
