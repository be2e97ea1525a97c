// What becomes of a contract in the vault between its acceptance and its end: changed, narrowed, paused, given up.

import { beforeEach, describe, expect, it } from "vitest";
import { contractView } from "../../../sdk/user-vault/events.ts";
import { verifyCapabilityRevocation, verifyRevocation } from "../../../src/contracts/agreement.ts";
import type { CapabilityRevoke, Revocation } from "../../../src/protocol/contract.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { MailboxFixture } from "./mailbox-fixture.ts";
import { LOGIN, ServicePeer } from "./service-peer.ts";

const DAY_MS = 24 * 3_600_000;
const APPROVE = { decision: "approved" } as const;
const PRESENCE = {
  capability: "verify_presence",
  description: "Ask whether you are there",
  requires_approval_each_use: true,
};
const WIDER = { ...LOGIN, capabilities: [...LOGIN.capabilities, PRESENCE] };

let peer: ServicePeer;
let vault: MailboxFixture;

beforeEach(async () => {
  peer = await ServicePeer.make();
  vault = new MailboxFixture(peer);
  await vault.connect();
});

const row = (contractId: string) => vault.store.transaction((tx) => tx.contract(contractId))!;
const keysOf = (contractId: string) => vault.store.transaction((tx) => tx.connectionKeys(contractId));
const receipted = () =>
  vault.store.transaction((tx) => {
    for (const { contractId } of tx.contracts())
      for (const due of tx.receiptsDue(contractId, 100)) tx.saveReceived({ ...due, receiptDue: false });
  });
const update = (more: object = {}, seq?: number) =>
  peer.seal(
    "contract.update",
    { offer: peer.offer, offering_id: "login", summary: "More", ...more },
    seq === undefined ? {} : { seq },
  );

/** Says what it has to say under another contract than the newest. */
async function under<T>(contractId: string, say: () => Promise<T>): Promise<T> {
  const { contractId: newest, contract, userKey } = peer;
  const old = row(contractId).terms.contract;
  peer.contractId = contractId;
  peer.contract = old;
  peer.userKey = Uint8Array.from(Buffer.from(old.user_connection_key, "base64"));
  try {
    return await say();
  } finally {
    Object.assign(peer, { contractId: newest, contract, userKey });
  }
}

/** Agrees to a change; the service has the submission and has not answered yet. */
async function agree(): Promise<{ oldId: string; newId: string }> {
  const oldId = peer.contractId!;
  await peer.offerInstead(WIDER);
  await vault.receive(await update());
  const newId = await vault.submit({ supersedes: oldId });
  return { oldId, newId };
}

describe("a change", () => {
  it("is shown as the difference the vault computes, with revoked capabilities counted as gone", async () => {
    await peer.offerInstead({ ...WIDER, name: "Log in and more" });
    await vault.receive(await update({ expires_at: toTimestamp(Date.now() + DAY_MS) }));
    expect(contractView(vault.contract()).proposal).toMatchObject({
      changes: { capabilities_added: ["verify_presence"], capabilities_removed: [], other: ["name"] },
      contract_expires_at: expect.any(String),
    });
    await vault.mailbox.revokeCapabilities(peer.contractId!, ["authenticate"]);
    expect(contractView(vault.contract()).proposal?.changes.capabilities_added).toEqual([
      "authenticate",
      "verify_presence",
    ]);
  });

  it("proposed earlier and arriving late does not replace a newer one", async () => {
    const older = await update({ summary: "First thoughts" });
    await vault.receive(await update({ summary: "Second thoughts" }));
    await vault.receive(older);
    expect(vault.contract().proposal?.summary).toBe("Second thoughts");
  });

  it("agreed to leaves the old contract in force until the service accepts", async () => {
    const { oldId, newId } = await agree();
    expect([row(oldId).status, row(newId).status]).toEqual(["active", "pending"]);
    await vault.receive(await peer.reject("offer_outdated"));
    expect([row(oldId).status, row(newId).status]).toEqual(["active", "rejected"]);
  });

  it("accepted supersedes the old contract, under which open asks are still answered and late ones shown", async () => {
    const asked = await peer.ask();
    const late = await peer.ask();
    await vault.receive(asked);
    const { oldId, newId } = await agree();
    await vault.receive(await peer.accept());
    expect(row(oldId)).toMatchObject({ status: "superseded", successor: newId, profile: {} });
    expect(row(newId).status).toBe("active");
    await vault.receive(late);
    for (const { eventId } of [asked, late]) {
      expect(vault.ask(eventId)?.state).toBe("open");
      await vault.mailbox.answer(eventId, APPROVE);
    }
    expect(vault.outbox(oldId).map(({ eventType }) => eventType)).toEqual(["auth.response", "auth.response"]);
  });

  it("is not proposed under a contract that has been superseded", async () => {
    const { oldId } = await agree();
    await vault.receive(await peer.accept());
    const stray = await under(oldId, () => update());
    await vault.receive(stray);
    expect(row(oldId).proposal).toBeUndefined();
    expect(vault.store.transaction((tx) => tx.received(peer.key.id, stray.eventId))).toMatchObject({
      outcome: "refused",
      reason: "superseded",
    });
  });
});

describe("a superseded contract", () => {
  it("loses its keys a day later when nothing is open, not before", async () => {
    const { oldId, newId } = await agree();
    await vault.receive(await peer.accept());
    receipted();
    await vault.mailbox.expire();
    expect(keysOf(oldId)).toHaveLength(1);
    vault.clockMs = DAY_MS;
    await vault.mailbox.expire();
    expect(keysOf(oldId)).toEqual([]);
    expect(row(oldId)).toMatchObject({ status: "superseded", endSettled: true });
    expect(keysOf(newId)).toHaveLength(1);
  });

  it("keeps them for what is open, for seven days at the most", async () => {
    const asked = await peer.ask({ expiresInMs: 20 * DAY_MS });
    await vault.receive(asked);
    const { oldId } = await agree();
    await vault.receive(await peer.accept());
    receipted();
    vault.clockMs = 6 * DAY_MS;
    await vault.mailbox.expire();
    expect(keysOf(oldId)).toHaveLength(1);
    vault.clockMs = 7 * DAY_MS;
    await vault.mailbox.expire();
    expect(keysOf(oldId)).toEqual([]);
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
  });

  it("ends with its successor, asks and keys", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    const { oldId, newId } = await agree();
    await vault.receive(await peer.accept());
    await vault.mailbox.revoke(newId);
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    expect(keysOf(oldId)).toEqual([]);
  });

  it("that the person had ended while the change was on its way takes its successor along", async () => {
    const { oldId, newId } = await agree();
    await vault.mailbox.revoke(oldId, "Changed my mind");
    await vault.receive(await peer.accept());
    await expect.poll(() => row(newId).status).toBe("cancelled");
    const [notice] = await vault.sent();
    expect(notice?.header).toMatchObject({ event_type: "contract.revoke", contract_id: newId });
    const revocation = notice?.payload as Revocation;
    expect(revocation).toMatchObject({ contract_id: newId, reason: "Changed my mind" });
    expect(await verifyRevocation(row(newId).terms.contract.user_signing_key, revocation)).toBe(true);
    expect(row(oldId).status).toBe("cancelled");
  });
});

describe("a capability", () => {
  it("taken back is told with a signature; what was open under it is withdrawn, what comes is denied", async () => {
    const asked = await peer.ask();
    await vault.receive(asked);
    await vault.mailbox.revokeCapabilities(peer.contractId!, ["authenticate"]);
    const [told] = await vault.sent();
    expect(told?.header.event_type).toBe("capability.revoke");
    const key = vault.contract().terms.contract.user_signing_key;
    const revocation = told?.payload as CapabilityRevoke;
    expect(await verifyCapabilityRevocation(key, peer.contractId!, revocation)).toBe(true);
    expect(vault.ask(asked.eventId)?.state).toBe("withdrawn");
    const next = await peer.ask();
    await vault.receive(next);
    expect(vault.ask(next.eventId)).toMatchObject({
      state: "answered",
      answer: { decision: "denied", reason: "not_granted" },
    });
    expect(contractView(vault.contract()).capabilities).toEqual([]);
  });

  it("that the contract does not grant cannot be taken back", async () => {
    for (const names of [["verify_presence"], ["authenticate", "verify_presence"], []])
      await expect(vault.mailbox.revokeCapabilities(peer.contractId!, names)).rejects.toMatchObject({
        code: "capability_unknown",
      });
    expect(vault.outbox()).toEqual([]);
  });
});

describe("a pause", () => {
  it("does not touch what was asked before it, in whatever order the two arrive", async () => {
    const before = await peer.ask();
    await vault.receive(await peer.seal("contract.paused", {}));
    const after = await peer.ask();
    await vault.receive(before);
    await vault.receive(after);
    expect(vault.ask(before.eventId)?.state).toBe("open");
    expect(vault.ask(after.eventId)).toBeUndefined();
  });

  it("or a long silence is shown with the end it leads to", async () => {
    const expiresAt = toTimestamp(Date.now() + 7 * DAY_MS);
    await vault.receive(await peer.seal("contract.expiring", { expires_at: expiresAt, reason: "inactive" }));
    expect(contractView(vault.contract()).ends_inactive_at).toBe(expiresAt);
  });
});
