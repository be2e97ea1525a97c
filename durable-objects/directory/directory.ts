// The Directory: what the service offers, whom it invited, who may call its API, and which contracts there are.
// One object per deployment. It stays off the path of an ask; keys are cached by the Worker for a short time.
//
// Every change goes through the ledger (ledger.ts), which puts it on the service's own audit chain. The index of
// contracts is the exception: it repeats what the users' chains record.

import { DurableObject } from "cloudflare:workers";
import { atPoint } from "../../src/at-point.ts";
import { configOf, inMaintenance } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import { errorText, log } from "../../src/log.ts";
import { anyBridge } from "../../src/nats/shards.ts";
import type { HandlerManifest, Offer, Offering, OfferingContent } from "../../src/protocol/offer.ts";
import type {
  ApiKeyFacts,
  AuditLogState,
  AuditPage,
  AuditStretch,
  ContractIndexRow,
  DirectoryForBridge,
  DirectoryForJournal,
  DirectoryForRoutes,
  DirectoryForUsers,
  DomainView,
  InviteRefusal,
  InviteTerms,
  KeysState,
  Page,
  RegistryView,
  Rewrapped,
  RpcResult,
  Transferable,
  TransferPage,
  WebhookEndpoint,
} from "../../src/rpc.ts";
import { allJournals, journalName, serviceJournal } from "../../src/webhooks/shards.ts";
import { targetPolicy } from "../../src/webhooks/target.ts";
import { Feeder, sinkNames } from "../feeder.ts";
import { HeadCarrier, RECOVERY_MS } from "../heads.ts";
import { migrate } from "../migrations.ts";
import { Serial } from "../serial.ts";
import { exportPage, importPage, MAINTENANCE_ALARM_MS } from "../transfer.ts";
import { Announcements } from "./announcements.ts";
import { ContractIndex, type ContractPage, type ContractQuery } from "./contract-index.ts";
import { Domain } from "./domain.ts";
import { type CreatedInvite, Invites, type InviteView, type NewInvite } from "./invites.ts";
import { ApiKeys, type ApiKeyView, type CreatedApiKey, type NewApiKey } from "./keys.ts";
import { type Caller, Ledger } from "./ledger.ts";
import { Offerings } from "./offerings.ts";
import { Registries } from "./registries.ts";
import { Revocations } from "./revocations.ts";
import { Rewrapping } from "./rewrapping.ts";
import { SCHEMA } from "./schema.ts";
import {
  type CreatedWebhook,
  type NewWebhook,
  type RotatedSecret,
  type WebhookChange,
  Webhooks,
  type WebhookView,
} from "./webhooks.ts";

/** The name of the one object. */
export const DIRECTORY_NAME = "directory";
/** How often what has run out is deleted, while there is anything that can run out. */
export const SWEEP_INTERVAL_MS = 6 * 3_600_000;
/** Whose key the stored contents are wrapped under. */
const WRAP_OWNER = "directory";

interface Books {
  heads: HeadCarrier;
  feeder: Feeder;
  ledger: Ledger;
  offerings: Offerings;
  invites: Invites;
  keys: ApiKeys;
  contracts: ContractIndex;
  webhooks: Webhooks;
  announcements: Announcements;
  domain: Domain;
  registries: Registries;
  revocations: Revocations;
  rewrapping: Rewrapping;
}

export class Directory
  extends DurableObject<Env>
  implements DirectoryForUsers, DirectoryForRoutes, DirectoryForJournal, DirectoryForBridge, Transferable
{
  /** How resolvers and registries are called. Static, so out of reach of any caller over RPC. */
  static fetcher: typeof fetch = (...call) => fetch(...call);

  readonly #serial = new Serial();
  #books: Books | undefined;
  /** When the alarm is set for; undefined when it is not. */
  #alarmAt: number | undefined;
  /** A look at the domain or a round of the registries that is under way. */
  #looking: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      migrate(ctx.storage, SCHEMA);
      this.#alarmAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  /** Rejects with ConfigError on incomplete settings, at each call: the next deployment may have mended them. */
  async #open(): Promise<Books> {
    if (this.#books !== undefined) return this.#books;
    const config = await configOf(this.env);
    if (this.#books !== undefined) return this.#books;
    const { storage } = this.ctx;
    const wrapper = config.wrapperFor(WRAP_OWNER);
    const ledger = new Ledger(storage, config, wrapper, this.#serial, () => this.#changed());
    const outside = { policy: targetPolicy(config), fetcher: Directory.fetcher };
    const offerChanged = () => offerings.forgetOffers();
    const announcements = new Announcements(storage.sql, () => serviceJournal(this.env));
    const shared = { sql: storage.sql, config, ledger, outside, offerChanged };
    const domain = new Domain({ ...shared, announcements });
    const registries = new Registries(shared);
    const offerings = new Offerings(storage.sql, config, ledger, {
      domain: () => domain.claimed(),
      attestations: (now) => registries.attestations(now),
    });
    const heads = new HeadCarrier({
      sql: storage.sql,
      ownerId: config.serviceId,
      exists: () => true,
      handOver: (leaf) => serviceJournal(this.env).append([], leaf),
      ask: (leaf) => serviceJournal(this.env).carry(leaf),
    });
    const feeder = new Feeder({
      sql: storage.sql,
      ownerId: config.serviceId,
      sinks: sinkNames(config),
      exists: () => true,
      handOver: (entries) => serviceJournal(this.env).takeEntries(entries),
      wakeBy: (at) => this.#wakeBy(at),
    });
    this.#books = {
      heads,
      feeder,
      ledger,
      offerings,
      invites: new Invites(storage.sql, wrapper, ledger, offerings),
      keys: new ApiKeys(storage.sql, config, ledger),
      contracts: new ContractIndex(storage, wrapper),
      webhooks: new Webhooks(storage.sql, config, wrapper, ledger),
      announcements,
      domain,
      registries,
      revocations: new Revocations({
        storage,
        config,
        ledger,
        update: (change) => anyBridge(this.env).updateAccount(change),
        wakeBy: (at) => this.#wakeBy(at),
      }),
      rewrapping: new Rewrapping({
        storage,
        config,
        wrapper,
        journals: () => allJournals(this.env).map((object, shard) => ({ name: journalName(shard), object })),
        user: (userId) => this.env.USER_CONNECTION.getByName(userId) as unknown as Rewrapped,
        wakeBy: (at) => this.#wakeBy(at),
      }),
    };
    return this.#books;
  }

  // ---- for the users' objects ---------------------------------------------------------------------------

  async redeemInvite(
    use: Parameters<DirectoryForUsers["redeemInvite"]>[0],
  ): ReturnType<DirectoryForUsers["redeemInvite"]> {
    return (await this.#open()).invites.redeem(use);
  }

  async indexContracts(rows: ContractIndexRow[]): Promise<void> {
    const { contracts, revocations, rewrapping } = await this.#open();
    const isRevoking = this.ctx.storage.transactionSync(() => {
      contracts.put(rows);
      return revocations.put(rows, Date.now());
    });
    rewrapping.wake();
    if (isRevoking) this.ctx.waitUntil(revocations.look());
  }

  // ---- for the bridge -----------------------------------------------------------------------------------

  async clusterIsUp(): Promise<void> {
    if (inMaintenance(this.env)) return;
    const { revocations } = await this.#open();
    this.ctx.waitUntil(revocations.look());
  }

  async forgetUser({
    userId,
    erasureId,
    keyId,
  }: Parameters<DirectoryForUsers["forgetUser"]>[0]): Promise<void> {
    const { contracts, invites, ledger } = await this.#open();
    await ledger.change(() => {
      const forget = () => {
        invites.forget(userId, contracts.ofUser(userId));
        contracts.forget(userId);
      };
      // The erasure is on the chain; who was erased is not.
      if (!ledger.hasNoted("user.erase", erasureId))
        return {
          answer: undefined,
          entry: {
            operation: "user.erase",
            status: "success",
            request: { key_id: keyId, erasure_id: erasureId },
          },
          write: forget,
        };
      this.ctx.storage.transactionSync(forget);
      return { answer: undefined };
    });
  }

  // ---- for the journal ----------------------------------------------------------------------------------

  async webhookEndpoints(): Promise<WebhookEndpoint[]> {
    return (await this.#open()).webhooks.endpoints();
  }

  async disableWebhook(webhookId: string, epoch: number, reason: "gone" | "failing"): Promise<void> {
    return (await this.#open()).webhooks.disable(webhookId, epoch, reason);
  }

  // ---- for the routes -----------------------------------------------------------------------------------

  async apiKey(keyId: string, secretHash: string): Promise<ApiKeyFacts | undefined> {
    return (await this.#open()).keys.facts(keyId, secretHash);
  }

  /** Throws when `offeringId` is not published; `openInvite` answers that case. */
  async offer(offeringId?: string): Promise<Offer> {
    const offer = await (await this.#open()).offerings.offer(offeringId);
    if (offer === undefined) throw new Error("offer: the offering is not published");
    return offer;
  }

  async invite(
    code: string,
  ): Promise<{ ok: true; terms: InviteTerms } | { ok: false; reason: InviteRefusal }> {
    return (await this.#open()).invites.look(code);
  }

  /** An invite and the offer it stands for, from one moment. */
  async openInvite(
    code: string,
  ): Promise<{ ok: true; terms: InviteTerms; offer: Offer } | { ok: false; reason: InviteRefusal }> {
    const { invites, offerings } = await this.#open();
    const invite = invites.look(code);
    if (!invite.ok) return invite;
    const offer = await offerings.offer(invite.terms.offeringId);
    // Undefined when the offering was removed while the offer was being signed.
    return offer === undefined ? { ok: false, reason: "invite_invalid" } : { ...invite, offer };
  }

  /** Ids of users who have, or had, a contract: `limit` of them behind `after`, in order. */
  async userIds(after: string, limit: number): Promise<string[]> {
    return (await this.#open()).contracts.userIds(after, limit);
  }

  async keysState(options?: { count?: boolean }): Promise<KeysState> {
    const { revocations, rewrapping } = await this.#open();
    return { nats_credentials: revocations.state(), vault_kek: rewrapping.state(options) };
  }

  /** What an operator had the audit log do, on the service's own chain. */
  async recordLogResume(
    { republish, before, state }: { republish: boolean; before: string; state: AuditLogState },
    caller: Caller,
  ): Promise<void> {
    const { ledger } = await this.#open();
    await ledger.command(caller, "audit_log.resumed", { republish, halted: before }, () => ({
      answer: { ok: true, value: {} },
      entry: {
        operation: "audit_log.resumed",
        status: state.status === "open" ? "success" : "error",
        response: { status: state.status, size: state.size },
      },
    }));
  }

  async userOfContract(contractId: string): Promise<string | undefined> {
    return (await this.#open()).contracts.userOf(contractId);
  }

  async contracts(query: ContractQuery): Promise<RpcResult<ContractPage>> {
    return (await this.#open()).contracts.list(query);
  }

  async offerings(): Promise<Offering[]> {
    return (await this.#open()).offerings.list();
  }

  async offering(offeringId: string, version?: number): Promise<Offering | undefined> {
    return (await this.#open()).offerings.get(offeringId, version);
  }

  async putOffering(
    offeringId: string,
    content: OfferingContent,
    caller: Caller,
  ): Promise<RpcResult<Offering>> {
    return (await this.#open()).offerings.put(offeringId, content, caller);
  }

  async deleteOffering(
    offeringId: string,
    caller: Caller,
  ): Promise<RpcResult<{ offering_id: string; status: "deleted" }>> {
    return (await this.#open()).offerings.remove(offeringId, caller);
  }

  async manifest(): Promise<HandlerManifest> {
    return (await this.#open()).offerings.manifest();
  }

  async putManifest(manifest: HandlerManifest, caller: Caller): Promise<RpcResult<HandlerManifest>> {
    return (await this.#open()).offerings.putManifest(manifest, caller);
  }

  async createInvite(wanted: NewInvite, caller: Caller): Promise<RpcResult<CreatedInvite>> {
    return (await this.#open()).invites.create(wanted, caller);
  }

  async invites(query: { limit: number; cursor?: string }): Promise<RpcResult<Page<InviteView>>> {
    return (await this.#open()).invites.list(query);
  }

  async deleteInvite(
    inviteId: string,
    caller: Caller,
  ): Promise<RpcResult<{ invite_id: string; status: "deleted" }>> {
    return (await this.#open()).invites.remove(inviteId, caller);
  }

  async apiKeys(): Promise<ApiKeyView[]> {
    return (await this.#open()).keys.list();
  }

  async createApiKey(wanted: NewApiKey, caller: Caller): Promise<RpcResult<CreatedApiKey>> {
    return (await this.#open()).keys.create(wanted, caller);
  }

  async deleteApiKey(
    keyId: string,
    caller: Caller,
  ): Promise<RpcResult<{ key_id: string; status: "deleted" }>> {
    return (await this.#open()).keys.remove(keyId, caller);
  }

  async rotateApiKey(keyId: string, graceSeconds: number, caller: Caller): Promise<RpcResult<CreatedApiKey>> {
    return (await this.#open()).keys.rotate(keyId, graceSeconds, caller);
  }

  async webhooks(): Promise<WebhookView[]> {
    return (await this.#open()).webhooks.list();
  }

  async createWebhook(wanted: NewWebhook, caller: Caller): Promise<RpcResult<CreatedWebhook>> {
    return (await this.#open()).webhooks.create(wanted, caller);
  }

  async changeWebhook(
    webhookId: string,
    change: WebhookChange,
    caller: Caller,
  ): Promise<RpcResult<WebhookView>> {
    return (await this.#open()).webhooks.change(webhookId, change, caller);
  }

  async deleteWebhook(
    webhookId: string,
    caller: Caller,
  ): Promise<RpcResult<{ webhook_id: string; status: "deleted" }>> {
    return (await this.#open()).webhooks.remove(webhookId, caller);
  }

  async rotateWebhookSecret(webhookId: string, caller: Caller): Promise<RpcResult<RotatedSecret>> {
    return (await this.#open()).webhooks.rotate(webhookId, caller);
  }

  async noteWebhookCommand(
    operation: Parameters<Webhooks["note"]>[0],
    request: Parameters<Webhooks["note"]>[1],
    caller: Caller,
  ): Promise<RpcResult<{ commandId: string }>> {
    return (await this.#open()).webhooks.note(operation, request, caller);
  }

  async domain(): Promise<DomainView> {
    return (await this.#open()).domain.view();
  }

  async verifyDomain(caller: Caller): Promise<RpcResult<DomainView>> {
    return (await this.#open()).domain.verify(caller);
  }

  async registries(): Promise<RegistryView[]> {
    return (await this.#open()).registries.list();
  }

  async addRegistry(
    wanted: Parameters<Registries["add"]>[0],
    caller: Caller,
  ): Promise<RpcResult<RegistryView>> {
    return (await this.#open()).registries.add(wanted, caller);
  }

  async deleteRegistry(
    registryId: string,
    caller: Caller,
  ): Promise<RpcResult<{ registry_id: string; status: "deleted" }>> {
    return (await this.#open()).registries.remove(registryId, caller);
  }

  /** The service's own chain, in order. */
  async audit(query: { after?: string; operation?: string; limit: number }): Promise<RpcResult<AuditPage>> {
    return (await this.#open()).ledger.entries(query);
  }

  async auditProof(eventId: string): Promise<RpcResult<AuditStretch>> {
    return (await this.#open()).heads.proofOf(eventId);
  }

  // ---- what runs out ------------------------------------------------------------------------------------

  /** Called in the turn of a transaction: the alarm commits with it. The chain has a new head. */
  #changed(): void {
    this.#wakeBy(Date.now() + RECOVERY_MS);
    this.#carry(this.#books!);
  }

  /** Brings the chain's new entries and the service's own events where they are to go; nothing waits for it. */
  #carry({ heads, feeder, announcements }: Books): void {
    if (inMaintenance(this.env)) return;
    this.ctx.waitUntil(heads.handOver());
    this.ctx.waitUntil(feeder.feed());
    this.ctx.waitUntil(announcements.send());
  }

  // ---- Moving a deployment ------------------------------------------------------------------------------

  async exportPage(after?: string): Promise<RpcResult<TransferPage>> {
    return exportPage(this.ctx.storage, after);
  }

  async importPage(page: TransferPage): Promise<RpcResult<{ rows: number; done: boolean }>> {
    const { storage } = this.ctx;
    return importPage(storage, page, {
      steps: SCHEMA,
      // Whatever was done left an entry. The first one is of the first admin key: it authenticates the import.
      isUsed: () => storage.sql.exec("SELECT 1 FROM audit LIMIT 2").toArray().length > 1,
      finish: () => void storage.setAlarm(Date.now()),
    });
  }

  async restart(): Promise<void> {
    this.ctx.abort("restarted after an import");
  }

  /** Makes sure the alarm fires no later than `at`. setAlarm costs a row, so a sooner one is left as it is. */
  #wakeBy(at: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }

  /**
   * Deletes what has run out: nothing reads such rows, so a late or lost sweep costs space only. Offers the chain's
   * head again where a crash or an outage left it, and goes on with revocations and rewrapping.
   */
  override async alarm(): Promise<void> {
    // Nothing is done, and nothing forgotten.
    if (inMaintenance(this.env)) return this.ctx.storage.setAlarm(Date.now() + MAINTENANCE_ALARM_MS);
    this.#alarmAt = undefined;
    try {
      await atPoint("directory.alarm", () => this.#tick());
    } catch (error) {
      // The platform gives up on an alarm after a few failures; a head that waits must not be given up.
      log("error", "directory.alarm_failed", { error: errorText(error) });
      this.#wakeBy(Date.now() + RECOVERY_MS);
    }
  }

  async #tick(): Promise<void> {
    const books = await this.#open();
    const { heads, feeder, offerings, invites, webhooks, announcements, revocations, rewrapping } = books;
    const { sql } = this.ctx.storage;
    // Before the next alarm is set: a crash meanwhile has this one again.
    await heads.confirm();
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      offerings.sweep(now);
      invites.sweep(now);
      webhooks.sweep(now);
      sql.exec("DELETE FROM idempotency WHERE kept_until <= ?", now);
    });
    const remaining = ["offers", "invites", "idempotency", "webhooks WHERE previous_until IS NOT NULL"].some(
      (rows) => sql.exec(`SELECT 1 FROM ${rows} LIMIT 1`).toArray().length > 0,
    );
    if (remaining) this.#wakeBy(now + SWEEP_INTERVAL_MS);
    // None of these is awaited: while an alarm runs the next one cannot.
    this.#lookOutside(now);
    this.ctx.waitUntil(revocations.work(now));
    this.ctx.waitUntil(rewrapping.work());
    if (!heads.isBehind() && !feeder.isBehind() && !announcements.isBehind()) return;
    this.#wakeBy(now + RECOVERY_MS);
    this.#carry(books);
  }

  /**
   * Looks at the domain and asks the registries whose time has come. What they say is noted by a step, and the alarm
   * after it finds the next time; one set here finds it should this object die while they are asked.
   */
  #lookOutside(now: number): void {
    const { domain, registries } = this.#books!;
    const due = [domain.dueAt(), registries.dueAt()].filter((at) => at !== undefined);
    if (due.length === 0) return;
    const next = Math.min(...due);
    if (next > now) {
      this.#wakeBy(next);
      return;
    }
    this.#wakeBy(now + RECOVERY_MS);
    // Only a step can fail: too many wait, or storage does not take it. The alarm comes again.
    this.#looking ??= Promise.allSettled([domain.recheck(now), registries.renew(now)]).then(() => {
      this.#looking = undefined;
    });
    this.ctx.waitUntil(this.#looking);
  }
}
