// What the service offers: versions of its offerings, the handler manifest, and the signed offer that carries both.

import { noteVerifierKey } from "../../src/audit/note.ts";
import type { Config } from "../../src/config.ts";
import { type OfferContent, signOffer } from "../../src/contracts/offer.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { canonicalJson, utf8 } from "../../src/protocol/json.ts";
import type {
  Attestation,
  HandlerManifest,
  Offer,
  Offering,
  OfferingContent,
} from "../../src/protocol/offer.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import type { RpcResult } from "../../src/rpc.ts";
import { type Caller, type Ledger, refuse } from "./ledger.ts";

/** How long a signed offer may be accepted: a person may open an invite today and decide next week. */
export const OFFER_VALIDITY_MS = 7 * 24 * 3_600_000;
/** A fresh offer is made once this much of the last one's validity is over, so that each has most of it left. */
export const OFFER_REFRESH_MS = OFFER_VALIDITY_MS / 3;
/** As many as an offer's schema admits. */
export const MAX_OFFERINGS = 64;
/** A contract's submission carries one offering, sealed, together with the profile. */
export const MAX_OFFERING_BYTES = 100_000;
/** An amendment carries the whole offer in one envelope (1,000,000 bytes, base64 taking a third more). */
export const MAX_OFFER_BYTES = 500_000;

const EMPTY_MANIFEST: HandlerManifest = { capabilities: [], event_handlers: [], plans: [] };

interface OfferingRow extends Record<string, SqlStorageValue> {
  offering_id: string;
  version: number;
  content: string;
}

const offeringOf = (row: OfferingRow): Offering => ({
  ...(JSON.parse(row.content) as OfferingContent),
  offering_id: row.offering_id,
  version: row.version,
});

/** What others say of the service, and what it may say of itself: the offer carries it. */
export interface Claims {
  domain(): string | undefined;
  attestations(now: number): Attestation[];
}

/** Each changed version is kept; contracts carry their own copy and never read it. */
export class Offerings {
  readonly #sql: SqlStorage;
  readonly #config: Config;
  readonly #ledger: Ledger;
  readonly #claims: Claims;
  /** Current offers by selection; emptied by every change. Everything in it is stored already. */
  readonly #current = new Map<string, { offer: Offer; refreshAt: number }>();
  /** Grows with every change: an offer made before one is not remembered after it. */
  #generation = 0;

  constructor(sql: SqlStorage, config: Config, ledger: Ledger, claims: Claims) {
    this.#sql = sql;
    this.#config = config;
    this.#ledger = ledger;
    this.#claims = claims;
  }

  list(): Offering[] {
    return this.#sql
      .exec<OfferingRow>("SELECT * FROM offerings WHERE retired_at IS NULL ORDER BY offering_id")
      .toArray()
      .map(offeringOf);
  }

  /** The published version, or the one named; undefined when there is none. */
  get(offeringId: string, version?: number): Offering | undefined {
    const [row] = (
      version === undefined
        ? this.#sql.exec<OfferingRow>(
            "SELECT * FROM offerings WHERE offering_id = ? AND retired_at IS NULL",
            offeringId,
          )
        : this.#sql.exec<OfferingRow>(
            "SELECT * FROM offerings WHERE offering_id = ? AND version = ?",
            offeringId,
            version,
          )
    ).toArray();
    return row === undefined ? undefined : offeringOf(row);
  }

  manifest(): HandlerManifest {
    const [row] = this.#sql
      .exec<{ content: string }>("SELECT content FROM published WHERE name = 'manifest'")
      .toArray();
    return row === undefined ? EMPTY_MANIFEST : (JSON.parse(row.content) as HandlerManifest);
  }

  /** Publishes a new version, unless nothing changed. */
  put(offeringId: string, content: OfferingContent, caller: Caller): Promise<RpcResult<Offering>> {
    const canonical = canonicalJson(content);
    return this.#ledger.command(caller, "offering.published", { offering_id: offeringId }, () => {
      const published = this.list();
      const current = published.find(({ offering_id }) => offering_id === offeringId);
      if (current !== undefined && canonicalJson(contentOf(current)) === canonical)
        return { answer: { ok: true, value: current } };
      const others = published.filter(({ offering_id }) => offering_id !== offeringId);
      if (others.length >= MAX_OFFERINGS) {
        return {
          answer: refuse({
            code: "conflict",
            detail: `${MAX_OFFERINGS} offerings are published already; delete one first`,
          }),
        };
      }
      const [{ last }] = this.#sql
        .exec<{ last: number }>(
          "SELECT coalesce(max(version), 0) AS last FROM offerings WHERE offering_id = ?",
          offeringId,
        )
        .toArray() as [{ last: number }];
      const offering: Offering = { ...content, offering_id: offeringId, version: last + 1 };
      const tooLarge = sizeFault([...others, offering], this.manifest(), offering);
      if (tooLarge !== undefined) return { answer: refuse(tooLarge) };
      return {
        answer: { ok: true, value: offering },
        entry: {
          operation: "offering.published",
          status: "success",
          response: { version: offering.version },
        },
        write: () => {
          const now = Date.now();
          this.#retire(offeringId, now);
          this.#sql.exec(
            "INSERT INTO offerings (offering_id, version, content, created_at) VALUES (?, ?, ?, ?)",
            offeringId,
            offering.version,
            canonical,
            now,
          );
          this.forgetOffers();
        },
      };
    });
  }

  /** Takes an offering off the offer. Contracts on it live on; its version count does, too. */
  remove(offeringId: string, caller: Caller): Promise<RpcResult<{ offering_id: string; status: "deleted" }>> {
    return this.#ledger.command(caller, "offering.removed", { offering_id: offeringId }, () => {
      if (this.get(offeringId) === undefined) {
        return { answer: refuse({ code: "not_found", detail: "no offering of this id is published" }) };
      }
      return {
        answer: { ok: true, value: { offering_id: offeringId, status: "deleted" } },
        entry: { operation: "offering.removed", status: "success" },
        write: () => {
          this.#retire(offeringId, Date.now());
          this.forgetOffers();
        },
      };
    });
  }

  #retire(offeringId: string, now: number): void {
    this.#sql.exec(
      "UPDATE offerings SET retired_at = ? WHERE offering_id = ? AND retired_at IS NULL",
      now,
      offeringId,
    );
  }

  putManifest(manifest: HandlerManifest, caller: Caller): Promise<RpcResult<HandlerManifest>> {
    const canonical = canonicalJson(manifest);
    return this.#ledger.command(caller, "manifest.published", {}, () => {
      if (canonicalJson(this.manifest()) === canonical) return { answer: { ok: true, value: manifest } };
      const tooLarge = sizeFault(this.list(), manifest);
      if (tooLarge !== undefined) return { answer: refuse(tooLarge) };
      return {
        answer: { ok: true, value: manifest },
        entry: {
          operation: "manifest.published",
          status: "success",
          response: { digest: fingerprintOf(manifest) },
        },
        write: () => {
          this.#sql.exec(
            "INSERT OR REPLACE INTO published (name, content) VALUES ('manifest', ?)",
            canonical,
          );
          this.forgetOffers();
        },
      };
    });
  }

  /** The current signed offer, with every offering or with one; undefined when that one is not published. */
  async offer(offeringId?: string): Promise<Offer | undefined> {
    const selection = offeringId ?? "";
    const cached = this.#current.get(selection);
    if (cached !== undefined && Date.now() < cached.refreshAt) return cached.offer;
    let generation = this.#generation;
    const offer = await this.#ledger.change<Offer | undefined>(async () => {
      generation = this.#generation;
      const offerings = offeringId === undefined ? this.list() : [this.get(offeringId)];
      if (!offerings.every((offering) => offering !== undefined)) return { answer: undefined };
      const now = Date.now();
      const content = this.#content(offerings, now);
      const fingerprint = fingerprintOf({ service_id: this.#config.serviceId, ...content });
      // Another caller, or this object before it was evicted, may have made it already.
      const stored = this.#stored(selection, fingerprint, now);
      if (stored !== undefined) return { answer: stored };
      const made = await signOffer(this.#config.signingKey, {
        ...content,
        issued_at: toTimestamp(now),
        valid_until: toTimestamp(now + OFFER_VALIDITY_MS),
      });
      return {
        answer: made,
        entry: {
          operation: "offer.issued",
          status: "success",
          request: { offerings: offerings.length },
          response: { offer_id: made.offer_id, valid_until: made.valid_until },
        },
        write: () =>
          this.#sql.exec(
            `INSERT INTO offers (offer_id, selection, fingerprint, issued_at, valid_until, body)
             VALUES (?, ?, ?, ?, ?, ?)`,
            made.offer_id,
            selection,
            fingerprint,
            now,
            now + OFFER_VALIDITY_MS,
            JSON.stringify(made),
          ),
      };
    });
    // Only now: an offer whose transaction failed is none of ours.
    if (offer !== undefined && generation === this.#generation)
      this.#current.set(selection, { offer, refreshAt: refreshTime(offer) });
    return offer;
  }

  /** Whether an offer is one of ours and can still be accepted. */
  isCurrent(offerId: string, now: number): boolean {
    return (
      this.#sql.exec("SELECT 1 FROM offers WHERE offer_id = ? AND valid_until > ?", offerId, now).toArray()
        .length > 0
    );
  }

  /** What goes into an offer has changed: the next one asked for is made anew. */
  forgetOffers(): void {
    this.#generation++;
    this.#current.clear();
  }

  #stored(selection: string, fingerprint: string, now: number): Offer | undefined {
    const [row] = this.#sql
      .exec<{ body: string }>(
        `SELECT body FROM offers WHERE selection = ? AND fingerprint = ? AND issued_at > ?
         ORDER BY issued_at DESC LIMIT 1`,
        selection,
        fingerprint,
        now - OFFER_REFRESH_MS,
      )
      .toArray();
    return row === undefined ? undefined : (JSON.parse(row.body) as Offer);
  }

  #content(offerings: Offering[], now: number): Omit<OfferContent, "issued_at" | "valid_until"> {
    const config = this.#config;
    const domain = this.#claims.domain();
    return {
      service_name: config.SERVICE_NAME,
      service_type: config.SERVICE_TYPE,
      service_encryption_key: config.encryptionKey.publicKeyText,
      service_nats_endpoint: config.SERVICESPACE_PUBLIC_ENDPOINT,
      ...(domain === undefined ? {} : { domain }),
      attestations: this.#claims.attestations(now),
      offerings,
      handler_manifest: this.manifest(),
      log_vkey: noteVerifierKey(config.logOrigin, config.logKey.publicKey),
      log_url: `${config.PUBLIC_URL}/log`,
    };
  }

  /** Forgets offers nobody can accept any more. */
  sweep(now: number): void {
    this.#sql.exec("DELETE FROM offers WHERE valid_until <= ?", now);
  }
}

/** When another offer is due: in time, and before one carries an attestation that has expired. */
const refreshTime = ({ issued_at, attestations }: Offer): number =>
  Math.min(
    fromTimestamp(issued_at) + OFFER_REFRESH_MS,
    ...attestations.map(({ expires_at }) => fromTimestamp(expires_at)),
  );

function contentOf(offering: Offering): OfferingContent {
  const { offering_id: _id, version: _version, ...content } = offering;
  return content;
}

const fingerprintOf = (value: unknown): string => toBase64(sha256(utf8(canonicalJson(value))));
const bytesOf = (value: unknown): number => utf8(canonicalJson(value)).length;

function sizeFault(offerings: Offering[], manifest: HandlerManifest, changed?: Offering) {
  if (changed !== undefined && bytesOf(changed) > MAX_OFFERING_BYTES) {
    return {
      code: "payload_too_large" as const,
      detail: `an offering is at most ${MAX_OFFERING_BYTES} bytes of JSON; shorten its descriptions or scopes`,
    };
  }
  if (bytesOf(offerings) + bytesOf(manifest) > MAX_OFFER_BYTES) {
    return {
      code: "payload_too_large" as const,
      detail: `all offerings and the manifest together are at most ${MAX_OFFER_BYTES} bytes of JSON; shorten or delete some`,
    };
  }
  return undefined;
}
