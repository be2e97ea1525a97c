// Every handler there is. Adding one is its file and a line here.

import { authz } from "./authz.ts";
import { call } from "./call.ts";
import { collaboration } from "./collaboration.ts";
import { data } from "./data.ts";
import type { Handler, Hears } from "./handler.ts";
import { notification } from "./notification.ts";
import { payment } from "./payment.ts";
import { presence } from "./presence.ts";
import { secret } from "./secret.ts";
import { sign } from "./sign.ts";

export const handlers: readonly Handler[] = [
  authz,
  data,
  sign,
  presence,
  secret,
  call,
  collaboration,
  payment,
  notification,
];

/** Handlers by kind, and what they hear by event type. */
export class Handlers {
  readonly #byKind: ReadonlyMap<string, Handler>;
  readonly #hears: ReadonlyMap<string, Hears>;

  constructor(list: readonly Handler[] = handlers) {
    this.#byKind = new Map(list.map((handler) => [handler.kind, handler]));
    this.#hears = new Map(list.flatMap(({ hears }) => Object.entries(hears ?? {})));
  }

  /** The handler of a kind; `custom.<name>` falls back on the one named `custom`. */
  of(kind: string): Handler | undefined {
    return this.#byKind.get(kind) ?? (kind.startsWith("custom.") ? this.#byKind.get("custom") : undefined);
  }

  hearing(eventType: string): Hears | undefined {
    return this.#hears.get(eventType);
  }
}
