// A service's backend, as scripts and tests play it: HTTPS calls with an API key.

const CALL_TIMEOUT_MS = 45_000;

/** What a call answered. `body` is parsed JSON; undefined when there was none. */
export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: scripts and tests read answers of every shape
  body: any;
}

/** A call as it was made, and what it answered. */
export interface Exchange {
  baseUrl: string;
  method: string;
  /** From the root, with its query. */
  path: string;
  body?: unknown;
  answer: Answer;
}

export interface CallOptions {
  /** Another key; null: none. */
  key?: string | null;
  headers?: Record<string, string>;
}

/** The offering that the demo, the dev stack and the end-to-end tests publish. */
export const LOGIN_OFFERING = {
  name: "Customer login",
  description: "Log in to the shop without a password, and confirm what you order.",
  capabilities: [
    {
      capability: "authenticate",
      description: "Ask you to confirm that it is you who logs in",
      requires_approval_each_use: true,
    },
  ],
  required_data: [
    { data_type: "email", required: true, purpose: "Order confirmations and receipts" },
    { data_type: "nickname", required: false, purpose: "How the shop greets you" },
  ],
  pricing: { type: "free" },
  acceptance: "automatic",
};

export class Backend {
  /** Sees every exchange of every backend: tests hold answers against the API's description. May throw. */
  static witness: ((exchange: Exchange) => void | Promise<void>) | undefined;

  readonly #baseUrl: string;
  readonly #key: string;

  constructor(baseUrl: string, key: string) {
    this.#baseUrl = baseUrl;
    this.#key = key;
  }

  /** `path` below /api/v1, or from the root when it starts with a slash. */
  async call(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<Answer> {
    const key = options.key === undefined ? this.#key : options.key;
    const fromRoot = path.startsWith("/") ? path : `/api/v1/${path}`;
    const response = await fetch(`${this.#baseUrl}${fromRoot}`, {
      method,
      headers: {
        accept: "application/json",
        // A Worker that is killed and started again leaves dead sockets in the client's pool.
        connection: "close",
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    const answer = {
      status: response.status,
      headers: response.headers,
      body: isJson ? JSON.parse(text) : text,
    };
    await Backend.witness?.({ baseUrl: this.#baseUrl, method, path: fromRoot, body, answer });
    return answer;
  }

  /** A call that must answer with `status`; anything else is an error that quotes the answer. */
  async expect(status: number, method: string, path: string, body?: unknown, options?: CallOptions) {
    const answer = await this.call(method, path, body, options);
    if (answer.status !== status)
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Publishes an offering and makes an invite to it. */
  async invite(
    offeringId = "login",
    offering: Record<string, unknown> = LOGIN_OFFERING,
    invite: Record<string, unknown> = {},
  ): Promise<{
    invite_id: string;
    invite_code: string;
    invite_url: string;
    deep_link: string;
    match_code?: string;
  }> {
    await this.expect(200, "PUT", `offerings/${offeringId}`, offering);
    return this.expect(201, "POST", "contracts/invite", { offering_id: offeringId, ...invite });
  }

  /** Asks for a login. */
  ask(userId: string, purpose: string, more: Record<string, unknown> = {}) {
    return this.expect(201, "POST", "auth/request", { user_id: userId, purpose, ...more });
  }

  /** The request once it is no longer pending, or as it is after `seconds`. */
  async settled(requestId: string, seconds = 30) {
    const deadline = Date.now() + seconds * 1_000;
    for (;;) {
      const left = Math.max(1, Math.min(30, Math.ceil((deadline - Date.now()) / 1_000)));
      const view = await this.expect(200, "GET", `auth/request/${requestId}?wait=${left}`);
      if (view.status !== "pending" || Date.now() >= deadline) return view;
    }
  }
}
