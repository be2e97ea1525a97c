// A contract from its first day to its last, through the whole stack: paused, changed, narrowed, its keys replaced,
// its consent receipt read; with the vault offline where that matters.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { verifyConsentReceipt } from "../../src/contracts/receipt.ts";
import { Person, PROFILE } from "./support/person.ts";

const PRESENCE = {
  capability: "verify_presence",
  description: "Ask whether you are there",
  requires_approval_each_use: true,
};
const SOON = { timeout: 15_000 };

let dir: string;
let stack: Stack;
let backend: Backend;
const people: Person[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "contract-life-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
});

afterAll(async () => {
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Connected {
  person: Person;
  userId: string;
  contractId: string;
}

async function connected(offering: Record<string, unknown> = LOGIN_OFFERING): Promise<Connected> {
  const { invite_url } = await backend.invite("login", offering);
  const person = await Person.online(stack);
  people.push(person);
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  return { person, userId: contract.user_id, contractId: contract.contract_id };
}

const contractOf = (contractId: string) => backend.expect(200, "GET", `contracts/${contractId}`);
const amend = (contractId: string, body: object) =>
  backend.expect(201, "POST", `contracts/${contractId}/amendments`, { reason: "We grow", ...body });
const adding = { type: "add_capabilities", capabilities: [PRESENCE] };
const proposed = ({ person, contractId }: Connected) =>
  expect.poll(() => person.vault.contract(contractId).proposal, SOON).toBeDefined();
const opened = ({ person }: Connected, count = 1) =>
  expect.poll(() => person.vault.asks({ state: "open" }).length, SOON).toBe(count);
const loggedIn = async (userId: string) =>
  (await backend.settled((await backend.ask(userId, "Log in")).request_id)).status;

describe("a pause", () => {
  it("is known to both sides; what was open is still answered; afterwards all is as before", async () => {
    const one = await connected();
    const { person, userId, contractId } = one;
    const open = await backend.ask(userId, "later");
    await opened(one);
    await backend.expect(200, "POST", `contracts/${contractId}/pause`, { reason: "Holidays" });
    await expect.poll(() => person.vault.contract(contractId).status, SOON).toBe("paused");
    expect(await backend.call("POST", "auth/request", { user_id: userId, purpose: "Log in" })).toMatchObject({
      body: { code: "contract_required" },
    });
    await person.vault.answer(open.request_id, { decision: "approved" });
    expect((await backend.settled(open.request_id)).status).toBe("approved");
    await backend.expect(200, "POST", `contracts/${contractId}/resume`);
    await expect.poll(() => person.vault.contract(contractId).status, SOON).toBe("active");
    expect(await loggedIn(userId)).toBe("approved");
  });
});

describe("an amendment", () => {
  it("agreed to becomes a contract of its own; what was open is answered under the old one", async () => {
    const one = await connected();
    const { person, userId, contractId } = one;
    const open = await backend.ask(userId, "later");
    await opened(one);
    const { amendment_id } = await amend(contractId, adding);
    await proposed(one);
    expect(person.vault.contract(contractId).proposal).toMatchObject({
      summary: "We grow",
      changes: { capabilities_added: ["verify_presence"], capabilities_removed: [], other: [] },
    });
    const next = await person.vault.acceptUpdate(contractId);
    expect(next).toMatchObject({ status: "active", supersedes: contractId });
    expect(person.vault.contract(contractId)).toMatchObject({
      status: "superseded",
      superseded_by: next.contract_id,
    });
    expect(await loggedIn(userId)).toBe("approved");
    await person.vault.answer(open.request_id, { decision: "approved" });
    expect(await backend.settled(open.request_id)).toMatchObject({
      status: "approved",
      contract_id: contractId,
    });

    const [before, after] = [await contractOf(contractId), await contractOf(next.contract_id)];
    expect(before).toMatchObject({ status: "superseded", superseded_by: next.contract_id });
    expect(after).toMatchObject({ status: "active", capabilities: ["authenticate", "verify_presence"] });
    for (const { record } of [before, after]) expect((await verifyContractRecord(record)).valid).toBe(true);
    expect(after.record).toEqual(person.vault.record(next.contract_id));
    // The service's old key went with the last answer; so everything that still comes is under the new one.
    await expect
      .poll(async () => (await contractOf(contractId)).connection.service_key_ids, SOON)
      .toEqual([]);
    const { amendments } = await backend.expect(200, "GET", `contracts/${contractId}/amendments`);
    expect(amendments).toMatchObject([{ amendment_id, status: "applied" }]);
    const gone = await backend.call("DELETE", `contracts/${contractId}`);
    expect(gone).toMatchObject({ status: 409, body: { detail: expect.stringContaining(next.contract_id) } });
    expect((await backend.expect(200, "GET", `users/${userId}/profile`)).profile).toEqual(PROFILE);
  });

  it("turned down leaves everything as it was", async () => {
    const one = await connected();
    const { person, userId, contractId } = one;
    await amend(contractId, adding);
    await proposed(one);
    const { event_id } = await person.vault.declineUpdate(contractId, "No, thank you");
    expect(await person.vault.delivered(event_id)).toMatchObject({ outcome: "stored" });
    const { amendments } = await backend.expect(200, "GET", `contracts/${contractId}/amendments`);
    expect(amendments).toMatchObject([{ status: "rejected", user_reason: "No, thank you" }]);
    await expect(person.vault.acceptUpdate(contractId)).rejects.toMatchObject({ code: "update_unknown" });
    expect(await loggedIn(userId)).toBe("approved");
  });

  it.each([
    ["takes capabilities away", { type: "remove_capabilities", capabilities: ["verify_presence"] }, "login"],
    ["moves to another offering", { type: "upgrade", offering_id: "gold" }, "gold"],
  ])("%s", async (_, body, offeringId) => {
    const both = { ...LOGIN_OFFERING, capabilities: [...LOGIN_OFFERING.capabilities, PRESENCE] };
    const one = await connected(both);
    await backend.expect(200, "PUT", "offerings/gold", { ...LOGIN_OFFERING, name: "Gold" });
    await amend(one.contractId, body);
    await proposed(one);
    const next = await one.person.vault.acceptUpdate(one.contractId);
    expect(next).toMatchObject({ offering_id: offeringId, capabilities: ["authenticate"], status: "active" });
    expect(await loggedIn(one.userId)).toBe("approved");
  });

  it("reaches a vault that was offline, and its agreement survives the Worker's restart", async () => {
    const one = await connected();
    const { person, userId, contractId } = one;
    await person.vault.stop();
    await amend(contractId, adding);
    person.vault.start();
    await proposed(one);
    await stack.worker.kill();
    const agreeing = person.vault.acceptUpdate(contractId, { timeoutMs: 45_000 });
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    expect(await agreeing).toMatchObject({ status: "active" });
    expect(await loggedIn(userId)).toBe("approved");
  });

  it("that fails because the service ended the contract meanwhile is no contract", async () => {
    const one = await connected();
    const { person, contractId } = one;
    await amend(contractId, adding);
    await proposed(one);
    await person.vault.stop();
    await backend.expect(200, "DELETE", `contracts/${contractId}`);
    const agreeing = person.vault.acceptUpdate(contractId);
    await expect(agreeing).rejects.toThrow();
    // The refusal and the notice come by two clusters, in either order.
    await expect
      .poll(() => person.vault.contracts().filter(({ status }) => status === "active"), { timeout: 30_000 })
      .toEqual([]);
  });

  it("is ended with the contract by a person who revokes while their agreement is on its way", async () => {
    const one = await connected();
    const { person, userId, contractId } = one;
    await amend(contractId, adding);
    await proposed(one);
    await stack.serviceSpace.server.stop();
    const agreeing = person.vault.acceptUpdate(contractId, { timeoutMs: 1_000 }).catch(() => undefined);
    await agreeing;
    await person.vault.revoke(contractId, "Changed my mind");
    await stack.serviceSpace.server.start();
    await waitUntilReady(stack.worker);
    await expect
      .poll(
        async () =>
          (await backend.expect(200, "GET", `contracts?user_id=${userId}&status=active`)).total_count,
        { timeout: 30_000 },
      )
      .toBe(0);
    expect((await backend.call("GET", `users/${userId}`)).status).toBe(404);
  });
});

describe("a capability", () => {
  it("taken back is refused from then on; what was open under it is withdrawn on both sides", async () => {
    const one = await connected({
      ...LOGIN_OFFERING,
      capabilities: [...LOGIN_OFFERING.capabilities, PRESENCE],
    });
    const { person, userId, contractId } = one;
    const open = await backend.ask(userId, "later");
    await opened(one);
    const { event_id } = await person.vault.revokeCapabilities(contractId, ["authenticate"]);
    expect(await person.vault.delivered(event_id)).toMatchObject({ outcome: "stored" });
    expect((await backend.settled(open.request_id)).status).toBe("cancelled");
    expect(person.vault.ask(open.request_id).state).toBe("withdrawn");
    const refused = await backend.call("POST", "auth/request", { user_id: userId, purpose: "Log in" });
    expect(refused).toMatchObject({ status: 403, body: { code: "capability_denied" } });
    expect(person.vault.contract(contractId).capabilities).toEqual(["verify_presence"]);
    expect((await contractOf(contractId)).capabilities).toEqual(["verify_presence"]);
    await expect(person.vault.revokeCapabilities(contractId, ["payment.one_time"])).rejects.toMatchObject({
      code: "capability_unknown",
    });
  });
});

describe("the consent receipt", () => {
  it("is verified offline, by whoever holds it, before and after the end", async () => {
    const { person, contractId } = await connected();
    const given = await backend.expect(200, "GET", `contracts/${contractId}/receipt`);
    expect(await verifyConsentReceipt(given, stack.serviceId)).toMatchObject({
      ok: true,
      value: { state: "issued", given: { signature: person.vault.record(contractId).user_signature } },
    });
    const { event_id } = await person.vault.revoke(contractId);
    await person.vault.delivered(event_id);
    const withdrawn = await backend.expect(200, "GET", `contracts/${contractId}/receipt`);
    expect(await verifyConsentReceipt(withdrawn, stack.serviceId)).toMatchObject({
      ok: true,
      value: { state: "withdrawn", ended: { by: "principal" } },
    });
  });
});

describe("keys", () => {
  const keysOf = async (contractId: string) => (await contractOf(contractId)).connection;

  it("of both sides are replaced with asks in flight, and the old ones go", async () => {
    const { person, userId, contractId } = await connected();
    const before = await keysOf(contractId);
    const asked = await backend.ask(userId, "Log in");
    const begun = await backend.expect(202, "POST", `contracts/${contractId}/rotate-key`);
    const { event_id } = await person.vault.rotateKey(contractId);
    const more = await backend.ask(userId, "Log in once more");
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
    expect((await backend.settled(more.request_id)).status).toBe("approved");
    expect(await person.vault.delivered(event_id)).toMatchObject({ outcome: "stored" });
    await expect.poll(async () => (await keysOf(contractId)).service_key_ids, SOON).toEqual([begun.key_id]);
    const after = await keysOf(contractId);
    expect(after.user_key_ids).not.toEqual(before.user_key_ids);
    expect(await loggedIn(userId)).toBe("approved");
    expect((await verifyContractRecord((await contractOf(contractId)).record)).valid).toBe(true);
  });

  it("of the service are replaced for a vault that was offline, once it is back", async () => {
    const { person, userId, contractId } = await connected();
    await person.vault.stop();
    const begun = await backend.expect(202, "POST", `contracts/${contractId}/rotate-key`);
    const asked = await backend.ask(userId, "Log in");
    expect((await keysOf(contractId)).service_key_ids).toHaveLength(2);
    person.vault.start();
    expect((await backend.settled(asked.request_id)).status).toBe("approved");
    await expect.poll(async () => (await keysOf(contractId)).service_key_ids, SOON).toEqual([begun.key_id]);
  });
});

describe("a decision that takes its time", () => {
  it("finds a vault whose setup credentials ran out while it waited", async () => {
    const { invite_url, invite_code } = await backend.invite("club", {
      ...LOGIN_OFFERING,
      acceptance: "manual",
    });
    const person = await Person.online(stack);
    people.push(person);
    const contract = await person.vault.connect(invite_url, { profile: PROFILE });
    expect(contract.status).toBe("pending");
    // The invite is used up by now; as after 15 minutes, everything begins with new credentials.
    expect((await backend.call("GET", `/connect/${invite_code}`, undefined, { key: null })).status).toBe(404);
    await person.vault.close();
    person.forgetCredentials(contract.contract_id);
    await person.open();
    person.vault.start();
    await expect.poll(() => person.vault.status().services[0]?.ready, SOON).toBe(true);
    await backend.expect(200, "POST", `contracts/${contract.contract_id}/accept`);
    await expect.poll(() => person.vault.contract(contract.contract_id).status, SOON).toBe("active");
    expect(await loggedIn(contract.user_id)).toBe("approved");
  });
});
