// Registries the service is registered with, and what they say of it. A registry is asked outside of any step; the
// step only notes what it said. Registering again is how an attestation is renewed: a crash in between asks again.
//
// What a registry said is shown until it expires, also while the registry is away. When it refuses, its earlier word
// no longer holds and leaves the offer at once.

import type { Config } from "../../src/config.ts";
import type { Outside } from "../../src/discovery/fetch-json.ts";
import { type RegistryOutcome, registerWith } from "../../src/discovery/registry-client.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import type { Attestation } from "../../src/protocol/offer.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import type { RegistryStatus, RegistryView, RpcResult } from "../../src/rpc.ts";
import { checkTarget } from "../../src/webhooks/target.ts";
import { type Caller, type Decision, type Ledger, refuse } from "./ledger.ts";

/** As many attestations as an offer's schema admits. */
export const MAX_REGISTRIES = 16;
/** An attestation is renewed when this share of its life is over, */
const RENEW_AFTER = 2 / 3;
/** at the latest after this, so that a registry that has changed its mind is heard; */
const MAX_RENEWAL_MS = 7 * 24 * 3_600_000;
/** and never more often than this, which is also how often a registry that is away is asked. */
export const RETRY_MS = 3_600_000;

export interface RegistriesDeps {
  sql: SqlStorage;
  config: Config;
  ledger: Ledger;
  outside: Outside;
  /** Called inside a step's `write` that changes what the offer says. */
  offerChanged: () => void;
}

interface RegistryRow extends Record<string, SqlStorageValue> {
  registry_id: string;
  url: string;
  registry_key: string | null;
  attestation: string | null;
  status: RegistryStatus;
  detail: string | null;
  created_at: number;
  asked_at: number | null;
  next_at: number;
}

const NO_SUCH_REGISTRY = refuse({ code: "not_found", detail: "there is no registry of this id" });

export class Registries {
  readonly #deps: RegistriesDeps;

  constructor(deps: RegistriesDeps) {
    this.#deps = deps;
  }

  /** Oldest first. */
  list(): RegistryView[] {
    return this.#rows().map(viewOf);
  }

  /** What the offer carries, and until when it may be carried. */
  attestations(now: number): Attestation[] {
    return this.#rows().flatMap((row) => currentAttestation(row, now) ?? []);
  }

  /**
   * Registers, or asks again at once where the service is registered already. The registry is noted first: when it is
   * away, or has yet to look, it is asked again each hour until it is deleted.
   */
  async add(wanted: { url: string; registryKey?: string }, caller: Caller): Promise<RpcResult<RegistryView>> {
    const { sql, ledger, outside } = this.#deps;
    const added = await ledger.command<RegistryView>(
      caller,
      "registry.added",
      {},
      (): Decision<RpcResult<RegistryView>> => {
        const target = checkTarget(wanted.url, outside.policy);
        const fault = !target.ok
          ? target.error
          : target.value.href !== `${target.value.origin}/`
            ? "must be an origin without a path, as https://registry.example"
            : undefined;
        if (!target.ok || fault !== undefined)
          return {
            answer: refuse({
              code: "invalid_request",
              detail: `url ${fault}`,
              details: [{ path: "url", message: fault! }],
            }),
          };
        const url = target.value.origin;
        const rows = this.#rows();
        const known = rows.find((row) => row.url === url);
        if (known !== undefined) {
          const { registry_id, registry_key } = known;
          if (
            wanted.registryKey !== undefined &&
            registry_key !== null &&
            wanted.registryKey !== registry_key
          )
            return {
              answer: refuse({
                code: "conflict",
                detail: "the registry is known with another key; delete it first if the new key is right",
              }),
            };
          return {
            answer: { ok: true, value: viewOf(known) },
            entry: { operation: "registry.added", status: "success", response: { registry_id } },
          };
        }
        if (rows.length >= MAX_REGISTRIES)
          return {
            answer: refuse({
              code: "conflict",
              detail: `there are ${MAX_REGISTRIES} registries; delete one first`,
            }),
          };
        const row: RegistryRow = {
          registry_id: newEventId(),
          url,
          registry_key: wanted.registryKey ?? null,
          attestation: null,
          status: "pending",
          detail: null,
          created_at: Date.now(),
          asked_at: null,
          next_at: Date.now(),
        };
        return {
          answer: { ok: true, value: viewOf(row) },
          entry: {
            operation: "registry.added",
            status: "success",
            response: { registry_id: row.registry_id, registry: target.value.host },
          },
          write: () => {
            const names = Object.keys(row);
            sql.exec(
              `INSERT INTO registries (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
              ...Object.values(row),
            );
          },
        };
      },
    );
    if (!added.ok) return added;
    const { registry_id: registryId } = added.value;
    const noted = this.#row(registryId);
    if (noted !== undefined) await this.#ask(noted);
    const row = this.#row(registryId);
    // Deleted since: the answer of then is what there is to say.
    return row === undefined ? added : { ok: true, value: viewOf(row) };
  }

  /** Leaves the offer at once; the registry's own entry ends when it is not renewed. */
  remove(registryId: string, caller: Caller): Promise<RpcResult<{ registry_id: string; status: "deleted" }>> {
    const { sql, ledger, offerChanged } = this.#deps;
    return ledger.command(caller, "registry.removed", { registry_id: registryId }, () => {
      if (this.#row(registryId) === undefined) return { answer: NO_SUCH_REGISTRY };
      return {
        answer: { ok: true, value: { registry_id: registryId, status: "deleted" as const } },
        entry: { operation: "registry.removed", status: "success" },
        write: () => {
          sql.exec("DELETE FROM registries WHERE registry_id = ?", registryId);
          offerChanged();
        },
      };
    });
  }

  /** When the alarm is to ask next. */
  dueAt(): number | undefined {
    const [row] = this.#deps.sql
      .exec<{ next_at: number | null }>("SELECT min(next_at) AS next_at FROM registries")
      .toArray();
    return row?.next_at ?? undefined;
  }

  /** Asks every registry whose time has come. */
  async renew(now: number): Promise<void> {
    const due = this.#deps.sql
      .exec<RegistryRow>("SELECT * FROM registries WHERE next_at <= ?", now)
      .toArray();
    await Promise.allSettled(due.map((row) => this.#ask(row)));
  }

  async #ask(row: RegistryRow): Promise<void> {
    const { config, ledger, outside } = this.#deps;
    const outcome = await registerWith(
      row.url,
      {
        ...(row.registry_key === null ? {} : { knownKey: row.registry_key }),
        key: config.signingKey,
        vaultUrl: config.PUBLIC_URL,
        now: Date.now(),
      },
      outside,
    );
    await ledger.change<void>(() => this.#note(row.registry_id, outcome));
  }

  #note(registryId: string, outcome: RegistryOutcome): Decision<void> {
    const { sql, offerChanged } = this.#deps;
    // Deleted while the registry was asked.
    const row = this.#row(registryId);
    if (row === undefined) return { answer: undefined };
    const now = Date.now();
    const { status, attestation, detail, nextAt } = settled(row, outcome, now);
    return {
      answer: undefined,
      entry: {
        operation: "registry.asked",
        status: outcome.outcome === "refused" ? "denied" : outcome.outcome === "failed" ? "error" : "success",
        request: { registry_id: registryId },
        response: {
          outcome: outcome.outcome,
          ...(outcome.outcome === "attested" ? { expires_at: outcome.attestation.expires_at } : {}),
        },
      },
      write: () => {
        sql.exec(
          `UPDATE registries SET registry_key = coalesce(registry_key, ?), attestation = ?, status = ?, detail = ?,
             asked_at = ?, next_at = ? WHERE registry_id = ?`,
          outcome.registryKey ?? null,
          attestation,
          status,
          detail,
          now,
          nextAt,
          registryId,
        );
        if (attestation !== row.attestation) offerChanged();
      },
    };
  }

  #rows(): RegistryRow[] {
    return this.#deps.sql
      .exec<RegistryRow>("SELECT * FROM registries ORDER BY created_at, registry_id")
      .toArray();
  }

  #row(registryId: string): RegistryRow | undefined {
    return this.#deps.sql
      .exec<RegistryRow>("SELECT * FROM registries WHERE registry_id = ?", registryId)
      .toArray()[0];
  }
}

/** What one answer makes of a registry. */
function settled(row: RegistryRow, outcome: RegistryOutcome, now: number) {
  const later = now + RETRY_MS;
  switch (outcome.outcome) {
    case "attested": {
      const { issued_at, expires_at } = outcome.attestation;
      const life = fromTimestamp(expires_at) - fromTimestamp(issued_at);
      const renewal = Math.min(life * RENEW_AFTER, MAX_RENEWAL_MS);
      return {
        status: "attested" as const,
        attestation: JSON.stringify(outcome.attestation),
        detail: null,
        nextAt: Math.max(later, now + renewal),
      };
    }
    case "pending":
      return { status: "pending" as const, attestation: row.attestation, detail: null, nextAt: later };
    case "refused":
      return { status: "refused" as const, attestation: null, detail: outcome.detail, nextAt: later };
    case "failed":
      return {
        status: "failing" as const,
        attestation: row.attestation,
        detail: outcome.detail,
        nextAt: later,
      };
  }
}

function currentAttestation(row: RegistryRow, now: number): Attestation | undefined {
  if (row.attestation === null) return undefined;
  const attestation = JSON.parse(row.attestation) as Attestation;
  return fromTimestamp(attestation.expires_at) > now ? attestation : undefined;
}

function viewOf(row: RegistryRow): RegistryView {
  const now = Date.now();
  const attestation = currentAttestation(row, now);
  const hasExpired = row.attestation !== null && attestation === undefined;
  return {
    registry_id: row.registry_id,
    url: row.url,
    registry: new URL(row.url).host,
    status: hasExpired && row.status !== "refused" ? "expired" : row.status,
    ...(row.registry_key === null ? {} : { registry_key: row.registry_key }),
    ...(attestation === undefined ? {} : { attestation }),
    ...(row.detail === null ? {} : { detail: row.detail }),
    created_at: toTimestamp(row.created_at),
    ...(row.asked_at === null ? {} : { asked_at: toTimestamp(row.asked_at) }),
    next_ask_at: toTimestamp(row.next_at),
  };
}
