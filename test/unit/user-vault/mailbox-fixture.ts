// A mailbox over a store of the test's choice, connected to a scripted service without any network.

import type { VaultEvent } from "../../../sdk/user-vault/events.ts";
import type { Handler } from "../../../sdk/user-vault/handlers/handler.ts";
import { Handlers } from "../../../sdk/user-vault/handlers/index.ts";
import { newNatsKey } from "../../../sdk/user-vault/identity.ts";
import { Mailbox } from "../../../sdk/user-vault/mailbox.ts";
import { openSqliteStore } from "../../../sdk/user-vault/sqlite-store.ts";
import type { VaultStore } from "../../../sdk/user-vault/store.ts";
import { signContract } from "../../../src/contracts/agreement.ts";
import { newAgreementKey } from "../../../src/crypto/agreement.ts";
import { contractIdOf } from "../../../src/crypto/hash.ts";
import type { Contract } from "../../../src/protocol/contract.ts";
import { newEventId } from "../../../src/protocol/ids.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import type { Opened, Sent, ServicePeer } from "./service-peer.ts";

export class MailboxFixture {
  readonly store: VaultStore;
  readonly mailbox: Mailbox;
  readonly events: VaultEvent[] = [];
  readonly peer: ServicePeer;
  /** Added to the real clock. */
  clockMs = 0;

  constructor(
    peer: ServicePeer,
    store: VaultStore = openSqliteStore(":memory:"),
    handlers?: readonly Handler[],
  ) {
    this.peer = peer;
    this.store = store;
    this.mailbox = new Mailbox({
      store,
      now: () => Date.now() + this.clockMs,
      emit: (event) => this.events.push(event),
      onWork: () => {},
      log: () => {},
      ...(handlers === undefined ? {} : { handlers: new Handlers(handlers) }),
    });
  }

  /** Signs and submits a contract; the service has opened the submission afterwards. */
  async submit(change: Partial<Contract> = {}): Promise<string> {
    const { peer } = this;
    const { row: identity, key } = await this.mailbox.identityFor(peer.key.id);
    const { key: connectionKey, secret } = await newAgreementKey();
    const natsKey = await newNatsKey();
    const now = toTimestamp(Date.now());
    const offering = peer.offer.offerings[0]!;
    const contract: Contract = {
      v: 1,
      user_id: identity.userId,
      user_signing_key: key.publicKeyText,
      service_id: peer.key.id,
      offer_id: peer.offer.offer_id,
      offering_id: offering.offering_id,
      offering_snapshot: offering,
      user_connection_key: connectionKey.publicKeyText,
      nats_public_key: natsKey.publicText,
      message_space: identity.messageSpace,
      created_at: now,
      ...change,
    };
    const contractId = contractIdOf(contract);
    const userSignature = await signContract(key, contractId, now);
    const profile = { email: "ada@example.org" };
    await this.mailbox.submit({
      contract: {
        contractId,
        serviceId: peer.key.id,
        status: "pending",
        createdAt: Date.now(),
        terms: {
          origin: "http://127.0.0.1:9",
          inviteCode: peer.code,
          submitEventId: newEventId(),
          contract,
          userSignature,
          signedAt: now,
          offer: peer.offer,
        },
        profile,
        natsSeed: natsKey.seedText,
        sentSeq: 0,
        receivedFloor: 0,
        pauseSeq: 0,
        rotateSeq: 0,
      },
      connectionKeyId: connectionKey.keyId,
      connectionSecret: secret,
      payload: { invite_code: peer.code, contract, user_signature: userSignature, signed_at: now, profile },
    });
    for (const row of this.outbox(contractId)) await peer.open(row.subject, row.bytes);
    return contractId;
  }

  async connect(): Promise<string> {
    const contractId = await this.submit();
    await this.receive(await this.peer.accept());
    return contractId;
  }

  receive(sent: Sent): Promise<void> {
    return this.mailbox.receive(this.peer.key.id, sent.subject, sent.bytes);
  }

  outbox(contractId: string = this.peer.contractId!) {
    return this.store.transaction((tx) => tx.outbox(contractId));
  }

  contract() {
    return this.store.transaction((tx) => tx.contract(this.peer.contractId!))!;
  }

  ask(requestId: string) {
    return this.store.transaction((tx) => tx.ask(requestId));
  }

  receiptsDue() {
    return this.store.transaction((tx) => tx.receiptsDue(this.peer.contractId!, 100));
  }

  /** What waits to be sent, opened by the service. */
  async sent(): Promise<Opened[]> {
    const opened: Opened[] = [];
    for (const row of this.outbox()) opened.push(await this.peer.open(row.subject, row.bytes));
    return opened;
  }

  /** The receipts that are due, sealed and opened by the service. */
  async receipts(): Promise<Opened[]> {
    const opened: Opened[] = [];
    for (const row of this.receiptsDue()) {
      const sealed = await this.mailbox.sealReceipt(row);
      if (sealed !== undefined) opened.push(await this.peer.open(sealed.subject, sealed.bytes));
    }
    return opened;
  }
}
