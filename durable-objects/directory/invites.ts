// Invites: who may open a connection, how often, until when.
//
// The match code guards against a link that reached the wrong person. User ids cost nothing to make, so a limit per
// user alone would let the holder of a link try every code under a new id each time. Therefore: each user has one
// try, wrong tries count across all users, and an invite takes at most MAX_WRONG_CODES of them (a single-use
// invite: one) before it is closed for everyone. With six digits, whoever holds the link but not the code gets in
// with a chance of 1 in 1,000,000 (single use) or 1 in 100,000 at most. The price is that the holder of a link can
// close its invite; the inviter makes another.

import { sha256 } from "../../src/crypto/hash.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import { equalBytes, toBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomDigits } from "../../src/protocol/ids.ts";
import { canonicalJson, utf8 } from "../../src/protocol/json.ts";
import type { Offering } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { DirectoryForUsers, InviteRefusal, InviteTerms, Page, RpcResult } from "../../src/rpc.ts";
import { cursorFault, decodeCursor, encodeCursor } from "./cursor.ts";
import { type Caller, type Decision, type Ledger, refuse } from "./ledger.ts";
import type { Offerings } from "./offerings.ts";

export const MATCH_CODE_DIGITS = 6;
/** Wrong match codes an invite of many uses takes, over all users; one of fewer uses takes as many as it has uses. */
export const MAX_WRONG_CODES = 10;
/** An expired invite is listed this long, then deleted. */
export const INVITE_RETENTION_MS = 30 * 24 * 3_600_000;

export interface NewInvite {
  offeringId?: string;
  maxUses: number;
  expiresInSeconds: number;
  /** Whether the person must type a code; absent: when the offering asks for one. */
  matchCode?: boolean;
  metadata?: unknown;
}

/** Shown once, in the answer to the call that made it. */
export interface CreatedInvite {
  invite_id: string;
  invite_code: string;
  match_code?: string;
  expires_at: string;
  max_uses: number;
  offering_id?: string;
}

export interface InviteView {
  invite_id: string;
  offering_id?: string;
  status: "open" | "used_up" | "expired" | "deleted";
  uses: number;
  max_uses: number;
  match_code_required: boolean;
  wrong_match_codes: number;
  created_at: string;
  created_by: string;
  expires_at: string;
  metadata?: unknown;
}

interface InviteRow extends Record<string, SqlStorageValue> {
  invite_id: string;
  offering_id: string | null;
  match_code: ArrayBuffer | null;
  metadata: ArrayBuffer | null;
  max_uses: number;
  uses: number;
  wrong_codes: number;
  created_at: number;
  created_by: string;
  expires_at: number;
  deleted_at: number | null;
}

type Redemption = Parameters<DirectoryForUsers["redeemInvite"]>[0];
type Redeemed = Awaited<ReturnType<DirectoryForUsers["redeemInvite"]>>;

export class Invites {
  readonly #sql: SqlStorage;
  readonly #wrapper: Wrapper;
  readonly #ledger: Ledger;
  readonly #offerings: Offerings;

  constructor(sql: SqlStorage, wrapper: Wrapper, ledger: Ledger, offerings: Offerings) {
    this.#sql = sql;
    this.#wrapper = wrapper;
    this.#ledger = ledger;
    this.#offerings = offerings;
  }

  create(wanted: NewInvite, caller: Caller): Promise<RpcResult<CreatedInvite>> {
    const summary = {
      max_uses: wanted.maxUses,
      ...(wanted.offeringId === undefined ? {} : { offering_id: wanted.offeringId }),
    };
    return this.#ledger.command(caller, "invite.created", summary, () => {
      const offered =
        wanted.offeringId === undefined ? this.#offerings.list() : [this.#offerings.get(wanted.offeringId)];
      if (!offered.every((offering) => offering !== undefined)) {
        return { answer: refuse({ code: "not_found", detail: "no offering of this id is published" }) };
      }
      if (offered.length === 0) {
        return {
          answer: refuse({
            code: "conflict",
            detail: "nothing is offered yet: publish an offering first (PUT /api/v1/offerings/{id})",
          }),
        };
      }
      const codeAsked = offered.some((offering) => offering.match_code === true);
      if (codeAsked && wanted.matchCode === false) {
        return {
          answer: refuse({
            code: "conflict",
            detail: "the offering asks for a match code; leave `match_code` out or set it to true",
          }),
        };
      }
      const now = Date.now();
      const inviteId = newEventId();
      const code = newEventId();
      const matchCode = (wanted.matchCode ?? codeAsked) ? randomDigits(MATCH_CODE_DIGITS) : undefined;
      const expiresAt = now + wanted.expiresInSeconds * 1_000;
      return {
        answer: {
          ok: true,
          value: {
            invite_id: inviteId,
            invite_code: code,
            ...(matchCode === undefined ? {} : { match_code: matchCode }),
            expires_at: toTimestamp(expiresAt),
            max_uses: wanted.maxUses,
            ...(wanted.offeringId === undefined ? {} : { offering_id: wanted.offeringId }),
          },
        },
        entry: {
          operation: "invite.created",
          status: "success",
          response: {
            invite_id: inviteId,
            expires_at: toTimestamp(expiresAt),
            match_code_required: matchCode !== undefined,
          },
        },
        write: () =>
          this.#sql.exec(
            `INSERT INTO invites (invite_id, code_hash, offering_id, match_code, metadata, max_uses, created_at,
                                  created_by, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
            inviteId,
            hashOfCode(code),
            wanted.offeringId ?? null,
            matchCode === undefined ? null : this.#wrapper.wrap(matchCode, place("match_code", inviteId)),
            wanted.metadata === undefined
              ? null
              : this.#wrapper.wrap(wanted.metadata, place("metadata", inviteId)),
            wanted.maxUses,
            now,
            caller.keyId,
            expiresAt,
          ),
      };
    });
  }

  /** Newest first. Codes are not among what is listed: they were shown once. */
  list(query: { limit: number; cursor?: string }): RpcResult<Page<InviteView>> {
    const from = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    if (query.cursor !== undefined && from === undefined) return refuse(cursorFault);
    const rows = this.#sql
      .exec<InviteRow>(
        `SELECT * FROM invites ${from === undefined ? "" : "WHERE (created_at, invite_id) < (?, ?)"}
         ORDER BY created_at DESC, invite_id DESC LIMIT ?`,
        ...(from === undefined ? [] : [from.createdAt, from.id]),
        query.limit + 1,
      )
      .toArray();
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    return {
      ok: true,
      value: {
        items: page.map((row) => this.#view(row)),
        ...(rows.length > page.length && last !== undefined
          ? { nextCursor: encodeCursor({ createdAt: last.created_at, id: last.invite_id }) }
          : {}),
      },
    };
  }

  #view(row: InviteRow): InviteView {
    return {
      invite_id: row.invite_id,
      ...(row.offering_id === null ? {} : { offering_id: row.offering_id }),
      status: statusOf(row, Date.now()),
      uses: row.uses,
      max_uses: row.max_uses,
      match_code_required: row.match_code !== null,
      wrong_match_codes: row.wrong_codes,
      created_at: toTimestamp(row.created_at),
      created_by: row.created_by,
      expires_at: toTimestamp(row.expires_at),
      ...(row.metadata === null
        ? {}
        : { metadata: this.#wrapper.unwrap(new Uint8Array(row.metadata), place("metadata", row.invite_id)) }),
    };
  }

  /** Nobody can use it from here on. What was agreed through it stays. */
  remove(inviteId: string, caller: Caller): Promise<RpcResult<{ invite_id: string; status: "deleted" }>> {
    return this.#ledger.command(caller, "invite.deleted", { invite_id: inviteId }, () => {
      const [row] = this.#sql
        .exec("SELECT 1 FROM invites WHERE invite_id = ? AND deleted_at IS NULL", inviteId)
        .toArray();
      if (row === undefined)
        return { answer: refuse({ code: "not_found", detail: "there is no invite of this id" }) };
      return {
        answer: { ok: true, value: { invite_id: inviteId, status: "deleted" } },
        entry: { operation: "invite.deleted", status: "success" },
        write: () =>
          this.#sql.exec("UPDATE invites SET deleted_at = ? WHERE invite_id = ?", Date.now(), inviteId),
      };
    });
  }

  /** Whether an invite can be used now, without using it. */
  look(code: string): { ok: true; terms: InviteTerms } | { ok: false; reason: InviteRefusal } {
    const row = this.#byCode(code);
    if (row === undefined) return { ok: false, reason: "invite_invalid" };
    if (row.offering_id !== null && this.#offerings.get(row.offering_id) === undefined)
      return { ok: false, reason: "invite_invalid" };
    const refusal = refusalOf(row, Date.now());
    if (refusal !== undefined) return { ok: false, reason: refusal };
    return {
      ok: true,
      terms: {
        inviteId: row.invite_id,
        ...(row.offering_id === null ? {} : { offeringId: row.offering_id }),
        expiresAt: row.expires_at,
        maxUses: row.max_uses,
        matchCodeRequired: row.match_code !== null,
      },
    };
  }

  /**
   * Counts one use by a contract. It is decided in this order: a contract that used the invite before is let
   * through again; the invite must be open and for this offering; offer and offering must be what is published now;
   * the match code must be right. Refusals other than a wrong match code leave no entry here: they change nothing,
   * anyone can cause them, and the user's own chain records them.
   */
  redeem(use: Redemption): Promise<Redeemed> {
    return this.#ledger.change((): Decision<Redeemed> => {
      const row = this.#byCode(use.code);
      if (row === undefined) return { answer: { ok: false, reason: "invite_invalid" } };
      const answer: Redeemed = { ok: true };
      if (this.#used(row.invite_id, use.contractId)) return { answer };

      const refusal = refusalOf(row, use.now);
      if (refusal !== undefined) return { answer: { ok: false, reason: refusal } };
      const offeringId = use.offering.offering_id;
      if (row.offering_id !== null && row.offering_id !== offeringId)
        return { answer: { ok: false, reason: "invite_invalid" } };
      // Terms before code: a vault that holds an old offer fetches the new one and has not lost its try.
      if (!this.#offerings.isCurrent(use.offerId, use.now))
        return { answer: { ok: false, reason: "offer_outdated" } };
      const offering = this.#offerings.get(offeringId);
      if (offering === undefined || canonicalJson(offering) !== canonicalJson(use.offering))
        return { answer: { ok: false, reason: "offering_changed" } };

      const matched = this.#match(row, use, offering);
      if (matched === "invite_without_code") return { answer: { ok: false, reason: "invite_invalid" } };
      if (matched === "no_try_left") return { answer: { ok: false, reason: "match_code_wrong" } };
      if (matched === "wrong") {
        return {
          answer: { ok: false, reason: "match_code_wrong" },
          entry: {
            operation: "invite.redeemed",
            status: "denied",
            contractId: use.contractId,
            request: { invite_id: row.invite_id, offering_id: offeringId },
            response: { reason: "match_code_wrong", wrong_codes: row.wrong_codes + 1 },
          },
          write: () => {
            this.#sql.exec(
              "UPDATE invites SET wrong_codes = wrong_codes + 1 WHERE invite_id = ?",
              row.invite_id,
            );
            this.#sql.exec(
              "INSERT INTO invite_tries (invite_id, user_id) VALUES (?, ?)",
              row.invite_id,
              use.userId,
            );
          },
        };
      }
      return {
        answer,
        entry: {
          operation: "invite.redeemed",
          status: "success",
          contractId: use.contractId,
          request: { invite_id: row.invite_id, offering_id: offeringId },
          response: { uses: row.uses + 1, max_uses: row.max_uses },
        },
        write: () => {
          this.#sql.exec("UPDATE invites SET uses = uses + 1 WHERE invite_id = ?", row.invite_id);
          this.#sql.exec(
            "INSERT INTO invite_uses (invite_id, contract_id, used_at) VALUES (?, ?, ?)",
            row.invite_id,
            use.contractId,
            use.now,
          );
        },
      };
    });
  }

  #match(
    row: InviteRow,
    use: Redemption,
    offering: Offering,
  ): "matched" | "wrong" | "no_try_left" | "invite_without_code" {
    if (row.match_code === null) {
      // The offering began to ask for a code after this invite was given out.
      return offering.match_code === true ? "invite_without_code" : "matched";
    }
    const tried = this.#sql
      .exec("SELECT 1 FROM invite_tries WHERE invite_id = ? AND user_id = ?", row.invite_id, use.userId)
      .toArray();
    // A submission without a code guesses nothing and uses up no try.
    if (tried.length > 0 || use.matchCode === undefined) return "no_try_left";
    const code = this.#wrapper.unwrap(
      new Uint8Array(row.match_code),
      place("match_code", row.invite_id),
    ) as string;
    return equalBytes(utf8(code), utf8(use.matchCode)) ? "matched" : "wrong";
  }

  /** What invites know of a user; a use stays counted. Called in a transaction. */
  forget(userId: string, contractIds: readonly string[]): void {
    this.#sql.exec("DELETE FROM invite_tries WHERE user_id = ?", userId);
    for (const id of contractIds) this.#sql.exec("DELETE FROM invite_uses WHERE contract_id = ?", id);
  }

  #used(inviteId: string, contractId: string): boolean {
    return (
      this.#sql
        .exec("SELECT 1 FROM invite_uses WHERE invite_id = ? AND contract_id = ?", inviteId, contractId)
        .toArray().length > 0
    );
  }

  #byCode(code: string): InviteRow | undefined {
    return this.#sql
      .exec<InviteRow>("SELECT * FROM invites WHERE code_hash = ? AND deleted_at IS NULL", hashOfCode(code))
      .toArray()[0];
  }

  /** Forgets invites long expired. */
  sweep(now: number): void {
    const old = now - INVITE_RETENTION_MS;
    for (const table of ["invite_uses", "invite_tries"]) {
      this.#sql.exec(
        `DELETE FROM ${table} WHERE invite_id IN (SELECT invite_id FROM invites WHERE expires_at <= ?)`,
        old,
      );
    }
    this.#sql.exec("DELETE FROM invites WHERE expires_at <= ?", old);
  }
}

const place = (column: "match_code" | "metadata", inviteId: string): string =>
  `invites/${column}/${inviteId}`;

/** Codes hold 128 random bits, so a plain hash tells nothing about them. */
const hashOfCode = (code: string): string => toBase64(sha256(utf8(code)));

const wrongCodesTaken = (row: InviteRow): number => Math.min(row.max_uses, MAX_WRONG_CODES);

function statusOf(row: InviteRow, now: number): InviteView["status"] {
  if (row.deleted_at !== null) return "deleted";
  if (row.uses >= row.max_uses || row.wrong_codes >= wrongCodesTaken(row)) return "used_up";
  return row.expires_at <= now ? "expired" : "open";
}

function refusalOf(row: InviteRow, now: number): InviteRefusal | undefined {
  const status = statusOf(row, now);
  switch (status) {
    case "open":
      return undefined;
    case "deleted":
      return "invite_invalid";
    case "used_up":
      return "invite_used_up";
    case "expired":
      return "invite_expired";
    default:
      return status satisfies never;
  }
}
