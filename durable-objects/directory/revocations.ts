// NATS credentials of contracts that are over: the whole list, and bringing it to the cluster. A second line of
// defence: the user's object refuses whatever they send from the moment of the commit.
//
// The list here is the truth; the cluster's copy is compared with it and corrected, by one run at a time, so that two
// revocations at once end in one list that has both. A row is written before the user's object forgets the fact.
//
//   - A crash before the push, or before its outcome is written: the row has no `listed_at`, the alarm runs again, and
//     finds the entry on the cluster or puts it there.
//   - A cluster restored with an older JWT, or set up anew: found when the bridge's session comes up, or at the next
//     regular look.
//   - A row goes once its JWTs have expired and the cluster was seen without it.

import type { Config } from "../../src/config.ts";
import { errorText, log } from "../../src/log.ts";
import type { AccountChange } from "../../src/nats/account-jwt.ts";
import type { AccountUpdate } from "../../src/nats/account-update.ts";
import { lifetimeSeconds } from "../../src/nats/user-credentials.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { ContractIndexRow, NatsCredentialsState } from "../../src/rpc.ts";
import { inTime } from "../in-time.ts";
import type { Ledger } from "./ledger.ts";

/** While there is anything to be refused, the cluster's list is looked at this often. */
export const LOOK_INTERVAL_MS = 5 * 60_000;
/** After the cluster could not be reached. */
const RETRY_MS = 10_000;
/** After a refusal: the operator has to act. */
const REFUSED_RETRY_MS = 60_000;
/** Longer than the bridge takes at most. */
const UPDATE_TIMEOUT_MS = 30_000;
/** An expired JWT is taken for expired by every server's clock after this. */
const CLOCK_MARGIN_MS = 5 * 60_000;

interface RevocationRow extends Record<string, SqlStorageValue> {
  nats_key: string;
  contract_id: string;
  issued_at: number;
  expires_at: number;
  listed_at: number | null;
}

export interface RevocationsDeps {
  storage: DurableObjectStorage;
  config: Config;
  ledger: Ledger;
  /** Has the bridge change the account on the cluster. */
  update(change: AccountChange): Promise<AccountUpdate>;
  /** Makes sure the alarm fires no later than this, and that `work` is called then. */
  wakeBy(at: number): void;
}

export class Revocations {
  readonly #deps: RevocationsDeps;
  #running: Promise<void> | undefined;
  /** When the cluster is to be looked at next: at once in a new life of the object. */
  #dueAt = 0;
  #last: { at: number; update: AccountUpdate } | undefined;

  constructor(deps: RevocationsDeps) {
    this.#deps = deps;
  }

  /** Takes in what index rows say. Called in the transaction that writes them. True when something is new. */
  put(rows: readonly ContractIndexRow[], now: number): boolean {
    let isNew = false;
    for (const { contractId, natsKey, revocation } of rows) {
      if (natsKey === undefined || revocation === undefined || revocation.expiresAt <= now) continue;
      if (this.#isInUse(natsKey, contractId)) continue;
      const { rowsWritten } = this.#deps.storage.sql.exec(
        `INSERT INTO revocations (nats_key, contract_id, issued_at, expires_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (nats_key) DO UPDATE SET
           issued_at = excluded.issued_at, listed_at = NULL,
           expires_at = max(expires_at, excluded.expires_at)
         WHERE excluded.issued_at > issued_at`,
        natsKey,
        contractId,
        revocation.issuedAtSeconds,
        revocation.expiresAt,
      );
      if (rowsWritten > 0) isNew = true;
    }
    if (isNew) this.#dueNow();
    return isNew;
  }

  /**
   * Whether another contract in force names the nkey. Who signs a contract does not prove that the nkey in it is
   * theirs: ending one's own contract must not end another person's session.
   */
  #isInUse(natsKey: string, contractId: string): boolean {
    return (
      this.#deps.storage.sql
        .exec(
          `SELECT 1 FROM contracts WHERE nats_key = ? AND contract_id <> ? AND status IN ('active', 'paused')
           LIMIT 1`,
          natsKey,
          contractId,
        )
        .toArray().length > 0
    );
  }

  /** Has the cluster looked at even if nothing seems to be due: it may have been set up anew. */
  async look(): Promise<void> {
    this.#dueAt = 0;
    await this.#start();
  }

  /** What the alarm is for. Resolves when the cluster is as it should be, or when that has to wait. */
  async work(now: number): Promise<void> {
    if (!this.#hasRows()) return;
    if (this.#dueAt > now) this.#deps.wakeBy(this.#dueAt);
    else await this.#start();
  }

  #dueNow(): void {
    this.#dueAt = 0;
    // Behind the run that begins once the rows are committed.
    this.#deps.wakeBy(Date.now() + RETRY_MS);
  }

  #start(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    const { config, update, wakeBy } = this.#deps;
    // Behind what follows: it asks another object, and either may be killed.
    if (this.#hasRows()) wakeBy(Date.now() + RETRY_MS);
    for (;;) {
      const now = Date.now();
      const rows = this.#rows();
      const [expired, valid] = [
        rows.filter((row) => row.expires_at + CLOCK_MARGIN_MS <= now),
        rows.filter((row) => row.expires_at + CLOCK_MARGIN_MS > now),
      ];
      if (config.revoking === undefined) {
        this.#forget(expired);
        const next = Math.min(...valid.map((row) => row.expires_at + CLOCK_MARGIN_MS));
        this.#dueAt = next;
        if (valid.length > 0) wakeBy(next);
        return;
      }
      const change = { revoke: listOf(valid), forget: listOf(expired) };
      const outcome = await inTime(update(change), UPDATE_TIMEOUT_MS).catch(
        (error): AccountUpdate => ({ outcome: "failed", reason: errorText(error) }),
      );
      this.#last = { at: Date.now(), update: outcome };
      if (outcome.outcome !== "current") {
        log("warn", "revocations.not_listed", { waiting: this.#waiting(), ...outcome });
        this.#dueAt = Date.now() + (outcome.outcome === "refused" ? REFUSED_RETRY_MS : RETRY_MS);
        if (rows.length > 0) wakeBy(this.#dueAt);
        return;
      }
      await this.#settle(valid, expired, outcome.pushed);
      // What came while this ran.
      if (this.#waiting() > 0) continue;
      this.#dueAt = Date.now() + LOOK_INTERVAL_MS;
      if (this.#hasRows()) wakeBy(this.#dueAt);
      return;
    }
  }

  /** Writes down what the cluster was seen to hold, and records it: a change of the cluster is an operation. */
  async #settle(valid: RevocationRow[], expired: RevocationRow[], pushed: boolean): Promise<void> {
    const { storage, ledger } = this.#deps;
    const fresh = valid.filter((row) => row.listed_at === null);
    const now = Date.now();
    const write = () => {
      for (const { nats_key, issued_at } of fresh)
        storage.sql.exec(
          "UPDATE revocations SET listed_at = ? WHERE nats_key = ? AND issued_at = ?",
          now,
          nats_key,
          issued_at,
        );
      this.#forget(expired);
    };
    // A push of a life that died before it could say so is recorded by this one.
    if (!pushed && fresh.length === 0 && expired.length === 0) return;
    await ledger.change(() => ({
      answer: undefined,
      entry: {
        operation: "credentials.revoked",
        status: "success",
        response: { listed: valid.length, added: fresh.length, forgotten: expired.length },
      },
      write,
    }));
  }

  #forget(expired: readonly RevocationRow[]): void {
    for (const { nats_key, issued_at } of expired)
      this.#deps.storage.sql.exec(
        "DELETE FROM revocations WHERE nats_key = ? AND issued_at = ?",
        nats_key,
        issued_at,
      );
  }

  #rows(): RevocationRow[] {
    return this.#deps.storage.sql.exec<RevocationRow>("SELECT * FROM revocations").toArray();
  }

  #hasRows(): boolean {
    return this.#deps.storage.sql.exec("SELECT 1 FROM revocations LIMIT 1").toArray().length > 0;
  }

  /** Those the cluster was not seen to refuse yet. */
  #waiting(): number {
    return this.#deps.storage.sql
      .exec<{ n: number }>("SELECT count(*) AS n FROM revocations WHERE listed_at IS NULL")
      .one().n;
  }

  state(): NatsCredentialsState {
    const { config } = this.#deps;
    const lifetime = { user_jwt_lifetime_seconds: lifetimeSeconds(config, "lasting") };
    if (config.revoking === undefined) return { mode: "short_lived", ...lifetime };
    const waiting = this.#waiting();
    const last = this.#last;
    const problem = last === undefined || last.update.outcome === "current" ? undefined : last.update.reason;
    return {
      mode: "revocable",
      ...lifetime,
      revocations: this.#deps.storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM revocations").one()
        .n,
      waiting,
      ...(last === undefined ? {} : { checked_at: toTimestamp(last.at) }),
      ...(problem === undefined ? {} : { problem }),
    };
  }
}

const listOf = (rows: readonly RevocationRow[]): Record<string, number> =>
  Object.fromEntries(rows.map(({ nats_key, issued_at }) => [nats_key, issued_at]));
