// The client: one object for everything the vault does for a backend.

import { attachApi } from "./api.ts";
import { type EventsOptions, readEvents } from "./event-feed.ts";
import { operations } from "./generated/operations.ts";
import type { Api, Offer } from "./generated/types.ts";
import { type CallOptions, type Fetch, Transport } from "./transport.ts";
import type { WebhookEvent } from "./webhook-event.ts";

export interface ServiceVaultOptions {
  /** The vault's origin, as https://vault.example.com; http only to this very machine. */
  baseUrl: string;
  /** `svk_…`. Keep it on the server: it is as good as your service. */
  apiKey: string;
  /** Instead of the runtime's own. */
  fetch?: Fetch;
  /** Milliseconds an attempt may take; default 30,000. Waiting for a person has its own. */
  timeoutMs?: number;
  /** Repetitions of a call that did not go through; default 4. */
  maxRetries?: number;
}

/** Carries the generated methods; they are typed by `Api`. */
const Generated = class {
  constructor(transport: Transport) {
    attachApi(this, transport, operations);
  }
} as unknown as new (
  transport: Transport,
) => Api;

/**
 * A service vault. Inputs and answers are the HTTP API's, name by name (`user_id`, `expires_in_seconds`); what only
 * this package knows is in camel case (`timeoutMs`). Holds no connection: one for the whole process will do.
 */
export class ServiceVault extends Generated {
  readonly #transport: Transport;

  constructor(options: ServiceVaultOptions) {
    const transport = new Transport(options);
    super(transport);
    this.#transport = transport;
  }

  /**
   * Events in order: `for await (const event of vault.events({ after }))`. Store each `event_id` once you have
   * handled it, and begin after it next time.
   */
  events(options: EventsOptions = {}): AsyncGenerator<WebhookEvent, void, undefined> {
    return readEvents(this.#transport, options);
  }

  /** What the service publishes about itself, signed; public. */
  offer(options?: CallOptions): Promise<Offer> {
    return this.#transport.call(
      { method: "GET", path: "/.well-known/vettid-service", repeat: "always", gives: "json" },
      options,
    ) as Promise<Offer>;
  }

  /** The audit log's signed checkpoint, as text; public. */
  checkpoint(options?: CallOptions): Promise<string> {
    return this.#transport.call(
      { method: "GET", path: "/log/checkpoint", repeat: "always", gives: "text" },
      options,
    ) as Promise<string>;
  }
}
