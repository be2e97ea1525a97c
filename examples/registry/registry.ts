// A registry of services, as small as one can be: it takes signed registrations, looks at the service itself, and
// says over its own signature what it found. PROTOCOL §9 is all it has to follow; whom it lists is its own affair.
//
// What it checks by itself: that the registration is signed by the service's identity key, and that the vault it
// names answers with an offer of that same key. What it attests beyond that, someone has to decide: a service stays
// pending until its operator approves it with a statement.

import { DatabaseSync } from "node:sqlite";
import { Hono } from "hono";
import { html } from "hono/html";
import { signAttestation, verifyRegistration } from "../../src/contracts/attestation.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import type { SigningKey } from "../../src/crypto/signing.ts";
import { fetchJson } from "../../src/discovery/fetch-json.ts";
import { parseJson } from "../../src/protocol/json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import {
  REGISTRATIONS_PATH,
  REGISTRY_DOCUMENT_PATH,
  type RegistryDocument,
} from "../../src/protocol/registry.ts";

/** An offer is larger than anything else a registry reads. */
const MAX_OFFER_BYTES = 2_000_000;
const MAX_REGISTRATION_BYTES = 8_192;
const DAY_MS = 24 * 3_600_000;

export interface RegistryOptions {
  /** Host, with a port where it is not 443: what attestations call it. */
  name: string;
  key: SigningKey;
  /** SQLite file; `:memory:` forgets. */
  file: string;
  /** How long its word holds. */
  lifetimeMs?: number;
  /** Also vaults on this machine, over http. For development. */
  allowLocal?: boolean;
  /** Approves whoever proves to be the service they say, with this statement. For development. */
  approveAll?: string;
  now?: () => number;
}

interface ServiceRow {
  service_id: string;
  vault_url: string;
  service_name: string;
  /** What the registry says of it; null while nobody has looked. */
  statement: string | null;
  withdrawn: number;
}

export class Registry {
  readonly app = new Hono();
  readonly #options: RegistryOptions;
  readonly #db: DatabaseSync;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#db = new DatabaseSync(options.file);
    this.#db.exec(
      `CREATE TABLE IF NOT EXISTS services (
         service_id TEXT PRIMARY KEY, vault_url TEXT NOT NULL, service_name TEXT NOT NULL,
         statement TEXT, withdrawn INTEGER NOT NULL DEFAULT 0
       ) STRICT`,
    );
    this.app.get(REGISTRY_DOCUMENT_PATH, (c) =>
      c.json({
        v: 1,
        registry: options.name,
        registry_key: options.key.publicKeyText,
        name: `Registry at ${options.name}`,
      } satisfies RegistryDocument),
    );
    this.app.post(REGISTRATIONS_PATH, async (c) => {
      const answer = await this.#register(await c.req.arrayBuffer());
      return c.json(answer.body, answer.status);
    });
    this.app.get("/", (c) => c.html(this.#page()));
  }

  /** The operator has looked, and says so. */
  approve(serviceId: string, statement: string): boolean {
    const { changes } = this.#db
      .prepare("UPDATE services SET statement = ?, withdrawn = 0 WHERE service_id = ?")
      .run(statement, serviceId);
    return changes > 0;
  }

  /** Its word no longer holds: the next time the service asks, it is told so. */
  withdraw(serviceId: string): boolean {
    const { changes } = this.#db
      .prepare("UPDATE services SET withdrawn = 1 WHERE service_id = ?")
      .run(serviceId);
    return changes > 0;
  }

  list(): ServiceRow[] {
    return this.#db.prepare("SELECT * FROM services ORDER BY service_name").all() as unknown as ServiceRow[];
  }

  close(): void {
    this.#db.close();
  }

  async #register(body: ArrayBuffer): Promise<{ status: 200 | 202 | 400 | 403 | 422 | 502; body: object }> {
    const { name, key, approveAll, lifetimeMs = 30 * DAY_MS, now = Date.now } = this.#options;
    if (body.byteLength > MAX_REGISTRATION_BYTES) return { status: 400, body: { detail: "too large" } };
    const json = parseJson(new Uint8Array(body));
    const verified = await verifyRegistration(json.ok ? json.value : undefined, {
      registry: name,
      now: now(),
    });
    if (!verified.ok)
      return { status: 400, body: { detail: `the registration does not hold (${verified.error})` } };
    const { service_id: serviceId, vault_url: vaultUrl } = verified.value;

    const found = await fetchJson(
      `${vaultUrl}/.well-known/vettid-service`,
      { policy: { allowLocal: this.#options.allowLocal ?? false, ownOrigin: "" }, fetcher: fetch },
      { maxBytes: MAX_OFFER_BYTES },
    );
    // The vault may be away for a moment: that is no reason to take back what was said.
    if (!found.answered || found.status !== 200)
      return { status: 502, body: { detail: "the vault does not answer with its offer" } };
    const offer = await verifyOffer(found.body, { pinnedServiceId: serviceId, now: now() });
    if (!offer.ok)
      return { status: 422, body: { detail: `the vault's offer does not hold (${offer.error})` } };

    this.#db
      .prepare(
        `INSERT INTO services (service_id, vault_url, service_name, statement) VALUES (?, ?, ?, ?)
         ON CONFLICT (service_id) DO UPDATE SET
           vault_url = excluded.vault_url, service_name = excluded.service_name`,
      )
      .run(serviceId, vaultUrl, offer.value.service_name, approveAll ?? null);
    const service = this.#db
      .prepare("SELECT * FROM services WHERE service_id = ?")
      .get(serviceId) as unknown as ServiceRow;
    if (service.withdrawn === 1) return { status: 403, body: { detail: "this service is no longer listed" } };
    if (service.statement === null) return { status: 202, body: { status: "pending" } };
    const attestation = await signAttestation(key, {
      registry: name,
      service_id: serviceId,
      statement: service.statement,
      issued_at: toTimestamp(now()),
      expires_at: toTimestamp(now() + lifetimeMs),
    });
    return { status: 200, body: { status: "attested", attestation } };
  }

  /** For people: who is listed, and with which words. */
  #page() {
    const listed = this.list().filter(({ statement, withdrawn }) => statement !== null && withdrawn === 0);
    return html`<!doctype html>
<html lang="en">
  <meta charset="utf-8" />
  <meta name="viewport" content="width=device-width, initial-scale=1" />
  <title>Services at ${this.#options.name}</title>
  <h1>Services at ${this.#options.name}</h1>
  <ul>
    ${listed.map(
      ({ service_name, service_id, statement }) =>
        html`<li><strong>${service_name}</strong>: ${statement}<br /><code>${service_id}</code></li>`,
    )}
  </ul>
</html>`;
  }
}
