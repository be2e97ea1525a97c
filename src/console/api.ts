// What the console does, it does by calling the API: the same routes in the same isolate, for the key that signed in.
// Scopes, validation, limits, audit and idempotency are therefore the API's own, and there is nothing that the console
// can do and the key cannot.

import type { Problem, ProblemDetail } from "../http/errors.ts";
import { allows, vouchFor } from "../http/middleware/authenticate.ts";
import { API_PREFIX } from "../http/route.ts";
import type { ApiKeyFacts, Scope } from "../rpc.ts";
import type { ConsoleContext } from "./env.ts";

export interface Refusal {
  status: number;
  code: string;
  detail: string;
  details: readonly ProblemDetail[];
}
export type Outcome<T> = { ok: true; value: T } | { ok: false; refusal: Refusal };

/** A refused read: there is no page to show it on but its own. */
export class Refused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.detail);
    this.refusal = refusal;
  }
}

/** What came, or the refusal as the page. */
export function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Refused(outcome.refusal);
}

export function noSuch(what: string): never {
  throw new Refused({
    status: 404,
    code: "not_found",
    detail: `there is no ${what} of this id`,
    details: [],
  });
}

type Query = Readonly<Record<string, string | number | undefined>>;
/** Answers a request as the Worker does. */
export type Dispatch = (request: Request) => Response | Promise<Response>;

const pathOf = (path: string, query: Query): string => {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") search.set(name, String(value));
  return `${path.startsWith("/") ? path : `${API_PREFIX}/${path}`}${search.size === 0 ? "" : `?${search}`}`;
};

export class Api {
  readonly facts: ApiKeyFacts;
  readonly #c: ConsoleContext;
  readonly #dispatch: Dispatch;

  constructor(c: ConsoleContext, facts: ApiKeyFacts, dispatch: Dispatch) {
    this.#c = c;
    this.facts = facts;
    this.#dispatch = dispatch;
  }

  /** What the key may not do is not offered; the API refuses it besides. */
  may(scope: Scope): boolean {
    return allows(this.facts.scopes, scope);
  }

  get<T>(path: string, query: Query = {}): Promise<Outcome<T>> {
    return this.#call<T>("GET", pathOf(path, query));
  }

  /** `once` makes sending the same form twice the same as once. */
  send<T>(
    method: "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
    once?: string,
  ): Promise<Outcome<T>> {
    return this.#call<T>(method, pathOf(path, {}), body, once);
  }

  async #call<T>(method: string, path: string, body?: unknown, once?: string): Promise<Outcome<T>> {
    const headers = new Headers({ accept: "application/json" });
    const address = this.#c.req.header("cf-connecting-ip");
    if (address !== undefined) headers.set("cf-connecting-ip", address);
    if (once !== undefined) headers.set("idempotency-key", once);
    if (body !== undefined) headers.set("content-type", "application/json");
    const request = new Request(new URL(path, this.#c.req.url), {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    vouchFor(request, this.facts);
    const response = await this.#dispatch(request);
    const answer = (await response.json()) as unknown;
    // /ready answers 503 with what is not ready, which is what was asked for.
    const isProblem = response.headers.get("content-type")?.includes("problem+json") === true;
    if (!isProblem) return { ok: true, value: answer as T };
    const { code, detail, details = [] } = answer as Problem;
    return { ok: false, refusal: { status: response.status, code, detail, details } };
  }
}
