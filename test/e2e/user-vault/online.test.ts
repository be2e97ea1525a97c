// The whole vault against real brokers, one pair for the file.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Cluster, startMessageSpace, startServiceSpace } from "../../../scripts/stack/cluster.ts";
import type { MessageSpaceMaterial, ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import {
  type ConnectOptions,
  openSqliteStore,
  type Policy,
  UserVault,
} from "../../../sdk/user-vault/index.ts";
import { verifyContractRecord } from "../../../src/contracts/agreement.ts";
import { LOGIN, ServicePeer } from "../../unit/user-vault/service-peer.ts";
import { OnlinePeer } from "./online-peer.ts";

const START_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 40_000;
const PROFILE: ConnectOptions = { profile: { email: "ada@example.org" } };
const APPROVE: Policy = () => ({ decision: "approved" });

let dir: string;
let peer: ServicePeer;
let service: OnlinePeer;
let serviceSpace: Cluster<ServiceSpaceMaterial>;
let messageSpace: Cluster<MessageSpaceMaterial>;
let storePath: string;
let vault: UserVault;
let clockMs: number;
let tests = 0;

/** Everything belongs to one service id; a fresh contract per test keeps the tests apart. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "user-vault-online-"));
  peer = await ServicePeer.make();
  serviceSpace = await startServiceSpace({ dir: join(dir, "servicespace"), serviceId: peer.key.id });
  messageSpace = await startMessageSpace({ dir: join(dir, "messagespace"), serviceId: peer.key.id });
}, START_TIMEOUT_MS);

afterAll(async () => {
  await serviceSpace?.server.stop();
  await messageSpace?.server.stop();
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(async () => {
  clockMs = 0;
  await peer.offerInstead(LOGIN);
  peer.keys.length = 1;
  peer.contract = undefined;
  peer.contractId = undefined;
  peer.submit = undefined;
  peer.seq = 0;
  storePath = join(dir, `vault-${++tests}.sqlite`);
  service = new OnlinePeer(peer, serviceSpace, messageSpace);
  service.start();
});

afterEach(async () => {
  await vault?.close();
  service.stop();
});

async function open(policy?: Policy): Promise<UserVault> {
  vault = await UserVault.open({
    store: openSqliteStore(storePath),
    messageSpace: { endpoint: messageSpace.server.wsUrl, creds: messageSpace.material.creds.user_vault },
    fetch: service.fetch,
    now: () => Date.now() + clockMs,
    ...(policy === undefined ? {} : { policy }),
  });
  return vault;
}

describe("a vault", { timeout: TEST_TIMEOUT_MS }, () => {
  it("shows what an invite grants before anything is agreed", async () => {
    await open();
    const preview = await vault.preview(peer.inviteUrl);
    expect(preview).toMatchObject({
      service_name: "Example Shop",
      offerings: [
        {
          offering_id: "login",
          grants: [{ capability: "authenticate" }],
          required_data: [{ data_type: "email" }],
          match_code_needed: false,
        },
      ],
    });
    const other = await ServicePeer.make();
    await expect(vault.preview(peer.inviteUrl.replace(peer.key.id, other.key.id))).rejects.toMatchObject({
      code: "offer_refused",
    });
    expect(service.requests.every((request) => request.startsWith("GET "))).toBe(true);
  });

  it("connects, answers by its policy, and holds the service's receipts", async () => {
    await open(APPROVE);
    const contract = await vault.connect(peer.inviteUrl, PROFILE);
    expect(contract.status).toBe("active");
    expect((await verifyContractRecord(vault.record(contract.contract_id))).valid).toBe(true);
    const receipt = await service.next("receipt");
    expect(receipt.header.ref).toBeDefined();

    const asked = await peer.ask();
    await service.send(asked);
    const answer = await service.next("auth.response");
    expect(answer.payload).toMatchObject({ decision: "approved", request_id: asked.eventId });
    expect(await vault.settled()).toBe(true);
    expect(vault.ask(asked.eventId)).toMatchObject({
      state: "answered",
      decision: "approved",
      outcome: "approved",
    });
    expect(vault.history().map(({ event_type }) => event_type)).toContain("auth.response");
  });

  it("needs the data and the code an offering asks for, before it tells the service anything", async () => {
    await open();
    await expect(vault.connect(peer.inviteUrl)).rejects.toMatchObject({ code: "required_data_missing" });
    await expect(vault.connect(peer.inviteUrl, { ...PROFILE, offeringId: "other" })).rejects.toMatchObject({
      code: "offering_unknown",
    });
    expect(service.requests.every((request) => request.startsWith("GET "))).toBe(true);
  });

  it("that was closed gets what it missed, and answers", async () => {
    await open();
    await vault.connect(peer.inviteUrl, PROFILE);
    await vault.settled();
    await vault.close();
    const asked = await peer.ask();
    await service.send(asked);

    await open(APPROVE);
    vault.start();
    expect((await service.next("auth.response")).payload).toMatchObject({ request_id: asked.eventId });
    expect(await vault.caughtUp()).toBe(true);
  });

  it("asks its policy again after a restart, about what was left open", async () => {
    await open(() => "later");
    await vault.connect(peer.inviteUrl, PROFILE);
    const asked = await peer.ask();
    await service.send(asked);
    await service.next("receipt", 2);
    await vault.close();

    const asks: string[] = [];
    await open((ask) => {
      asks.push(ask.request_id);
      return { decision: "denied", report: true };
    });
    vault.start();
    expect((await service.next("auth.response")).payload).toMatchObject({ decision: "denied", report: true });
    expect(asks).toEqual([asked.eventId]);
  });

  it("answered while the service's cluster was down is heard when it is back", async () => {
    await open();
    await vault.connect(peer.inviteUrl, PROFILE);
    await vault.settled();
    await serviceSpace.server.stop();
    const asked = await peer.ask();
    await service.send(asked);
    await vault.caughtUp();
    const { event_id } = await vault.answer(asked.eventId, { decision: "approved" });
    await expect(vault.delivered(event_id, 500)).rejects.toMatchObject({ code: "timeout" });
    await serviceSpace.server.start();
    expect(await vault.delivered(event_id)).toMatchObject({ outcome: "stored", request_status: "approved" });
  });

  it("sends again what was not receipted, under a new message id so that the broker lets it pass", async () => {
    await open();
    await vault.connect(peer.inviteUrl, PROFILE);
    await vault.settled();
    service.receipts = false;
    const asked = await peer.ask({ expiresInMs: 600_000 });
    await service.send(asked);
    await vault.caughtUp();
    const { event_id } = await vault.answer(asked.eventId, { decision: "approved" });
    await service.next("auth.response");
    clockMs = 25_000;
    service.receipts = true;
    const second = await service.next("auth.response", 2);
    expect(second.header.event_id).toBe(event_id);
    expect(await vault.delivered(event_id)).toMatchObject({ outcome: "stored" });
  });

  it("receipts a repeat of what it has handled, without handling it again", async () => {
    await open(APPROVE);
    await vault.connect(peer.inviteUrl, PROFILE);
    const asked = await peer.ask();
    await service.send(asked);
    await vault.settled();
    const before = service.ofType("receipt").filter(({ header }) => header.ref === asked.eventId).length;
    await service.send(asked, 2);
    await expect
      .poll(() => service.ofType("receipt").filter(({ header }) => header.ref === asked.eventId).length, {
        timeout: 10_000,
      })
      .toBe(before + 1);
    expect(service.ofType("auth.response")).toHaveLength(1);
  });

  it("renews a JWT that expired", async () => {
    service.expiredCredentials = true;
    await open(APPROVE);
    await vault.connect(peer.inviteUrl, PROFILE);
    const asked = await peer.ask();
    await service.send(asked);
    await service.next("auth.response");
    expect(service.requests).toContain("POST /connect/credentials");
  });

  it("waits for a service that decides by hand, across a restart", async () => {
    await peer.offerInstead({ ...LOGIN, acceptance: "manual" });
    service.accept = "never";
    await open();
    const pending = await vault.connect(peer.inviteUrl, PROFILE);
    expect(pending.status).toBe("pending");
    await vault.close();
    await service.acceptContract();

    await open();
    const contract = await vault.connect(peer.inviteUrl, PROFILE);
    expect(contract).toMatchObject({ contract_id: pending.contract_id, status: "active" });
    await service.next("receipt");
    expect(vault.contracts()).toHaveLength(1);
    expect(service.ofType("contract.submit")).toHaveLength(1);
  });

  it("revokes over NATS and keeps no key", async () => {
    await open();
    const { contract_id } = await vault.connect(peer.inviteUrl, PROFILE);
    const { event_id } = await vault.revoke(contract_id, "moved on");
    expect(await vault.delivered(event_id)).toMatchObject({ event_type: "contract.revoke" });
    expect(vault.contract(contract_id)).toMatchObject({ status: "cancelled", ended_by: "user" });
    expect(service.requests).not.toContain("POST /connect/revoke");
    await expect(vault.revoke(contract_id)).rejects.toMatchObject({ code: "contract_ended" });
  });

  it("revokes over HTTPS when NATS cannot be reached", async () => {
    await open();
    const { contract_id } = await vault.connect(peer.inviteUrl, PROFILE);
    await vault.settled();
    await serviceSpace.server.stop();
    try {
      const { event_id } = await vault.revoke(contract_id);
      expect(await vault.delivered(event_id)).toMatchObject({ event_type: "contract.revoke" });
      expect(service.revocation).toMatchObject({ contract_id, by: "user" });
    } finally {
      await serviceSpace.server.start();
    }
  });

  it("is told of the service's end, and receipts it", async () => {
    await open();
    const { contract_id } = await vault.connect(peer.inviteUrl, PROFILE);
    const notice = await peer.cancel();
    await service.send(notice);
    await expect.poll(() => vault.contract(contract_id).status, { timeout: 10_000 }).toBe("cancelled");
    await expect
      .poll(() => service.ofType("receipt").some(({ header }) => header.ref === notice.eventId), {
        timeout: 10_000,
      })
      .toBe(true);
  });
});
