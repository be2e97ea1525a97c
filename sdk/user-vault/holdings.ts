// What a person's vault holds: a table of JSON values by owner, collection and key. Data of the person's own belongs
// to no service; a service's namespace, its secrets and payments belong to that service's id.
//
// A handler computes an answer from the holdings, and signing and sealing that answer takes time. So it works on a
// draft: what it read is remembered, what it wrote waits. The draft is applied in the transaction that stores the
// answer, if everything read is still so; otherwise nothing happened and the answer is computed again. A crash at any
// instant leaves the answer with all its effects, or neither.

import { canonicalJson, type Json, utf8 } from "../../src/protocol/json.ts";
import { freeName } from "../../src/protocol/primitives.ts";
import { VaultError } from "./errors.ts";
import type { VaultTransaction } from "./store.ts";

/** The owner of what belongs to the person alone. */
export const PERSONAL = "";
/** Collection of the person's own data, keyed by path (`address/home`). */
export const DATA = "data";
/** UTF-16 code units of a key. */
export const MAX_HOLDING_KEY_CHARACTERS = 512;
/** A value's canonical JSON; nothing longer could be sent in one message. */
export const MAX_HOLDING_BYTES = 750_000;

export interface Holding {
  key: string;
  value: Json;
}

/** One owner's part of the holdings. Values are copies: to change one, put it. */
export interface Shelf {
  get(collection: string, key: string): Json | undefined;
  /** Sorted by key. */
  list(collection: string, prefix?: string): Holding[];
  /** Inserts or replaces. Throws VaultError `holding_invalid` for a name or value that cannot be kept. */
  put(collection: string, key: string, value: Json): void;
  delete(collection: string, key: string): void;
}

export interface Holdings {
  /** Of the service that asks. */
  readonly own: Shelf;
  /** The person's, belonging to no service. */
  readonly personal: Shelf;
  /** Of any service, by its id. */
  of(serviceId: string): Shelf;
}

/** Throws VaultError `holding_invalid`. */
export function checkHolding(collection: string, key: string, value: Json): void {
  if (!freeName.safeParse(collection).success)
    throw new VaultError("holding_invalid", "A collection's name must match [a-z0-9_]{1,32}.");
  if (key.length === 0 || key.length > MAX_HOLDING_KEY_CHARACTERS || !key.isWellFormed())
    throw new VaultError("holding_invalid", `A key has 1 to ${MAX_HOLDING_KEY_CHARACTERS} characters.`);
  let bytes: number;
  try {
    bytes = utf8(canonicalJson(value)).length;
  } catch (error) {
    throw new VaultError("holding_invalid", "The value is not JSON.", { cause: error });
  }
  if (bytes > MAX_HOLDING_BYTES)
    throw new VaultError("holding_invalid", `A value is at most ${MAX_HOLDING_BYTES} bytes of JSON.`);
}

type Read = <T>(work: (tx: VaultTransaction) => T) => T;
type Place = readonly [serviceId: string, collection: string, key: string];

const placeName = (place: Place): string => JSON.stringify(place);

/** Holdings as a handler sees them: reads from the store, writes of its own on top, nothing stored until `apply`. */
export class HoldingsDraft implements Holdings {
  readonly own: Shelf;
  readonly personal: Shelf;
  readonly #read: Read;
  /** What was read, as JSON text; undefined: nothing was there. */
  readonly #gets = new Map<string, { place: Place; seen: string | undefined }>();
  readonly #lists = new Map<string, { serviceId: string; collection: string; seen: string }>();
  /** An undefined value deletes. */
  readonly #writes = new Map<string, { place: Place; value: Json | undefined }>();

  constructor(read: Read, serviceId: string) {
    this.#read = read;
    this.own = this.of(serviceId);
    this.personal = this.of(PERSONAL);
  }

  of(serviceId: string): Shelf {
    return {
      get: (collection, key) => this.#get([serviceId, collection, key]),
      list: (collection, prefix = "") => this.#list(serviceId, collection, prefix),
      put: (collection, key, value) => {
        checkHolding(collection, key, value);
        const place: Place = [serviceId, collection, key];
        this.#writes.set(placeName(place), { place, value: structuredClone(value) });
      },
      delete: (collection, key) => {
        const place: Place = [serviceId, collection, key];
        this.#writes.set(placeName(place), { place, value: undefined });
      },
    };
  }

  #get(place: Place): Json | undefined {
    const name = placeName(place);
    const written = this.#writes.get(name);
    if (written !== undefined) return structuredClone(written.value);
    const value = this.#read((tx) => tx.holding(...place));
    // The first reading is the one the handler acted on first: a later one that differs makes the draft void.
    if (!this.#gets.has(name)) this.#gets.set(name, { place, seen: textOf(value) });
    return value;
  }

  #list(serviceId: string, collection: string, prefix: string): Holding[] {
    const held = this.#read((tx) => tx.holdings(serviceId, collection));
    const name = JSON.stringify([serviceId, collection]);
    if (!this.#lists.has(name)) this.#lists.set(name, { serviceId, collection, seen: JSON.stringify(held) });
    const byKey = new Map(held.map(({ key, value }) => [key, value]));
    for (const { place, value } of this.#writes.values()) {
      if (place[0] !== serviceId || place[1] !== collection) continue;
      if (value === undefined) byKey.delete(place[2]);
      else byKey.set(place[2], structuredClone(value));
    }
    return [...byKey]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => ({ key, value }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Whether everything read is still so. Called in the transaction that would apply it. */
  isCurrent(tx: VaultTransaction): boolean {
    return (
      [...this.#gets.values()].every(({ place, seen }) => textOf(tx.holding(...place)) === seen) &&
      [...this.#lists.values()].every(
        ({ serviceId, collection, seen }) => JSON.stringify(tx.holdings(serviceId, collection)) === seen,
      )
    );
  }

  /** Makes the writes; returns the collections they touched. */
  apply(tx: VaultTransaction): { service_id: string; collection: string }[] {
    const touched = new Map<string, { service_id: string; collection: string }>();
    for (const { place, value } of this.#writes.values()) {
      if (value === undefined) tx.deleteHolding(...place);
      else tx.saveHolding(...place, value);
      const [service_id, collection] = place;
      touched.set(JSON.stringify([service_id, collection]), { service_id, collection });
    }
    return [...touched.values()];
  }

  /** Whether anything may be replaced or deleted: what was there must not stay behind in the store. */
  get writes(): boolean {
    return this.#writes.size > 0;
  }
}

const textOf = (value: Json | undefined): string | undefined =>
  value === undefined ? undefined : JSON.stringify(value);
