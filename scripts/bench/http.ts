// HTTP load from this process: connections kept alive, a fixed number of calls in flight, each timed.

import { type Dispatcher, Pool } from "undici";

const BROKEN: ReadonlySet<string> = new Set(["ECONNRESET", "UND_ERR_SOCKET"]);
const IDLE_CONNECTION_MS = 1_000;

export interface Reply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: benches read answers of every shape
  body: any;
  /** From the call to the whole answer. */
  ms: number;
}

export interface Call {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** One server, called through connections that stay open. */
export class HttpClient {
  readonly #pool: Pool;
  readonly #headers: Record<string, string>;

  constructor(baseUrl: string, connections: number, headers: Record<string, string> = {}) {
    this.#pool = new Pool(baseUrl, {
      connections,
      pipelining: 1,
      // Sooner than the server would: a connection that it closes while a call begins is that call's end.
      keepAliveTimeout: IDLE_CONNECTION_MS,
      headersTimeout: 60_000,
      bodyTimeout: 60_000,
    });
    this.#headers = headers;
  }

  async call({ method, path, body, headers }: Call): Promise<Reply> {
    const started = performance.now();
    const answer = await this.#send({
      method,
      path,
      headers: {
        ...this.#headers,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    const ms = performance.now() - started;
    return { status: answer.statusCode, body: text.startsWith("{") ? JSON.parse(text) : text, ms };
  }

  /** Once more where the connection broke: a busy machine is no finding. The call then counts with both tries. */
  async #send(options: Parameters<Pool["request"]>[0]): Promise<Dispatcher.ResponseData<unknown>> {
    try {
      return await this.#pool.request(options);
    } catch (error) {
      if (!BROKEN.has((error as { code?: string }).code ?? "")) throw error;
      return this.#pool.request(options);
    }
  }

  /** A call that must answer with `status`. */
  async expect(status: number, call: Call): Promise<Reply> {
    const reply = await this.call(call);
    if (reply.status !== status)
      throw new Error(`${call.method} ${call.path} answered ${reply.status}: ${JSON.stringify(reply.body)}`);
    return reply;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** Works a list off with so many under way at once; the results in the list's order. */
export async function each<Item, Result>(
  items: readonly Item[],
  inFlight: number,
  work: (item: Item, at: number) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(inFlight, items.length) }, async () => {
      while (next < items.length) {
        const at = next++;
        results[at] = await work(items[at]!, at);
      }
    }),
  );
  return results;
}

/** Calls per second over a list of calls. */
export async function rate<Item>(
  items: readonly Item[],
  inFlight: number,
  work: (item: Item, at: number) => Promise<unknown>,
): Promise<number> {
  const started = performance.now();
  await each(items, inFlight, work);
  return items.length / ((performance.now() - started) / 1_000);
}
