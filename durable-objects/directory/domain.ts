// The domain the service claims, and whether its DNS says so. Looked at when an operator asks and then each day.
// Resolvers are asked before the step, which only notes what they said: nobody waits for DNS behind it. A crash
// between the two loses a look, and the alarm looks again.

import type { Config } from "../../src/config.ts";
import { domainRecordName, domainRecordText } from "../../src/contracts/domain.ts";
import { checkDomain, type DomainCheck } from "../../src/discovery/domain-check.ts";
import { afterCheck, type DomainState, mayBeClaimed } from "../../src/discovery/domain-state.ts";
import type { Outside } from "../../src/discovery/fetch-json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { DomainView, RpcResult } from "../../src/rpc.ts";
import type { Announcements } from "./announcements.ts";
import { type Caller, type Decision, type Ledger, refuse } from "./ledger.ts";

export interface DomainDeps {
  sql: SqlStorage;
  config: Config;
  ledger: Ledger;
  announcements: Announcements;
  outside: Outside;
  /** Called inside a step's `write` that changes what the offer says. */
  offerChanged: () => void;
}

export class Domain {
  readonly #deps: DomainDeps;

  constructor(deps: DomainDeps) {
    this.#deps = deps;
  }

  /** What the offer may claim. */
  claimed(): string | undefined {
    const { SERVICE_DOMAIN: domain } = this.#deps.config;
    if (domain === undefined) return undefined;
    return mayBeClaimed(this.#stateOf(domain).status) ? domain : undefined;
  }

  view(): DomainView {
    const { SERVICE_DOMAIN: domain } = this.#deps.config;
    return domain === undefined
      ? { status: "not_configured", verified: false }
      : this.#viewOf(this.#stateOf(domain));
  }

  #viewOf(state: DomainState): DomainView {
    const { config } = this.#deps;
    const { domain, verifiedAt, confirmedAt, lapsedAt, checkedAt, check } = state;
    return {
      domain,
      status: state.status,
      verified: state.status === "verified",
      record: {
        type: "TXT",
        name: domainRecordName(domain),
        value: domainRecordText({
          serviceId: config.serviceId,
          publicKey: config.signingKey.publicKeyText,
        }),
      },
      ...(verifiedAt === undefined ? {} : { verified_at: toTimestamp(verifiedAt) }),
      ...(confirmedAt === undefined ? {} : { confirmed_at: toTimestamp(confirmedAt) }),
      ...(lapsedAt === undefined ? {} : { lapsed_at: toTimestamp(lapsedAt) }),
      ...(checkedAt === undefined || check === undefined
        ? {}
        : {
            last_check: { at: toTimestamp(checkedAt), ...check },
            next_check_at: toTimestamp(state.nextCheckAt),
          }),
    };
  }

  /** For an operator who asks. */
  async verify(caller: Caller): Promise<RpcResult<DomainView>> {
    const { config, ledger } = this.#deps;
    const { SERVICE_DOMAIN: domain } = config;
    const check = domain === undefined ? undefined : await this.#look(domain);
    const request: Record<string, string> = domain === undefined ? {} : { domain };
    return ledger.command<DomainView>(caller, "domain.checked", request, () => {
      if (domain === undefined || check === undefined)
        return {
          answer: refuse({
            code: "conflict",
            detail: "no domain is configured: set SERVICE_DOMAIN, deploy, and publish the TXT record",
          }),
        };
      const { answer, ...rest } = this.#note(domain, check);
      return { ...rest, answer: { ok: true, value: answer } };
    });
  }

  /** When the alarm is to look; undefined: never was asked to, or no domain is configured any more. */
  dueAt(): number | undefined {
    const known = this.#stored();
    if (known === undefined) return undefined;
    return known.domain === this.#deps.config.SERVICE_DOMAIN ? known.nextCheckAt : 0;
  }

  /** The daily look, if its time has come. */
  async recheck(now: number): Promise<void> {
    const { config, ledger } = this.#deps;
    const { SERVICE_DOMAIN: domain } = config;
    const known = this.#stored();
    if (known === undefined) return;
    if (known.domain !== domain) {
      await ledger.change<void>(() => this.#forget(known.domain));
      return;
    }
    if (known.nextCheckAt > now) return;
    const check = await this.#look(domain);
    await ledger.change<DomainView>(() => this.#note(domain, check));
  }

  #look(domain: string): Promise<DomainCheck> {
    const { config, outside } = this.#deps;
    const service = { serviceId: config.serviceId, publicKey: config.signingKey.publicKeyText };
    return checkDomain(domain, service, config.dohResolvers, outside);
  }

  #note(domain: string, check: DomainCheck): Decision<DomainView> {
    const { sql, announcements, offerChanged } = this.#deps;
    const now = Date.now();
    const before = this.#stateOf(domain);
    const { state, event } = afterCheck(before, check, now);
    const stored = this.#stored();
    const write = () => {
      if (stored !== undefined && stored.domain !== domain) this.#announceEndOf(stored, now);
      sql.exec("INSERT OR REPLACE INTO domain (id, state) VALUES (1, ?)", JSON.stringify(state));
      if (event !== undefined) announcements.add(event, now, { domain, outcome: check.outcome });
      if (mayBeClaimed(before.status) !== mayBeClaimed(state.status)) offerChanged();
    };
    return {
      answer: this.#viewOf(state),
      entry: {
        operation: "domain.checked",
        status:
          check.outcome === "verified" ? "success" : check.outcome === "unresolved" ? "error" : "denied",
        request: { domain },
        response: { outcome: check.outcome, status: state.status },
      },
      write,
    };
  }

  /** SERVICE_DOMAIN names another domain, or none, since the last look. */
  #forget(domain: string): Decision<void> {
    const { sql, offerChanged } = this.#deps;
    const known = this.#stored();
    if (known?.domain !== domain) return { answer: undefined };
    return {
      answer: undefined,
      entry: {
        operation: "domain.checked",
        status: "success",
        request: { domain },
        response: { outcome: "not_configured", status: "unchecked" },
      },
      write: () => {
        sql.exec("DELETE FROM domain");
        this.#announceEndOf(known, Date.now());
        offerChanged();
      },
    };
  }

  /** The row is about to go: its domain is no longer the configured one. */
  #announceEndOf({ domain, status }: DomainState, now: number): void {
    if (status === "verified")
      this.#deps.announcements.add("domain.lapsed", now, { domain, outcome: "not_configured" });
  }

  #stateOf(domain: string): DomainState {
    const known = this.#stored();
    return known?.domain === domain ? known : { domain, status: "unchecked", nextCheckAt: 0 };
  }

  #stored(): DomainState | undefined {
    const [row] = this.#deps.sql.exec<{ state: string }>("SELECT state FROM domain").toArray();
    return row === undefined ? undefined : (JSON.parse(row.state) as DomainState);
  }
}
