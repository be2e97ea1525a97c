// The floors: the same platform doing the same hops with nothing of the vault in them. Hono, one object for each
// user, one-row transactions, a bridge with a session to each cluster. No validation, no keys, no cryptography, no
// audit: what is left is what the runtime, SQLite and NATS cost by themselves.

import { DurableObject } from "cloudflare:workers";
import { Hono } from "hono";
import { connect, credsAuthenticator, type JetStreamClient, type JsMsg, type NatsConnection } from "nats.ws";
import { FLOOR_CONSUMER, FLOOR_STREAM, FLOOR_TO_USER } from "./names.ts";

interface FloorEnv {
  FLOOR_USER: DurableObjectNamespace<FloorUser>;
  FLOOR_BRIDGE: DurableObjectNamespace<FloorBridge>;
  SERVICESPACE_URL: string;
  SERVICESPACE_CREDS: string;
  MESSAGESPACE_URL: string;
  MESSAGESPACE_CREDS: string;
}

const MAX_CONCURRENT_OBJECTS = 16;
const MAX_GROUP = 100;
const MAX_MESSAGES = 1_000;
/** An object nobody calls is evicted after some 10 s, with its sessions: as the vault's, the floor's bridge wakes itself. */
const ALARM_INTERVAL_MS = 5_000;

export class FloorUser extends DurableObject<FloorEnv> {
  readonly #waiting = new Map<number, () => void>();

  constructor(ctx: DurableObjectState, env: FloorEnv) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS asked (n INTEGER PRIMARY KEY, body TEXT NOT NULL, answer BLOB)",
    );
  }

  async ask(body: string): Promise<number> {
    return this.ctx.storage.transactionSync(
      () =>
        this.ctx.storage.sql
          .exec<{ n: number }>("INSERT INTO asked (body) VALUES (?) RETURNING n", body)
          .one().n,
    );
  }

  /** Asks, and hands the message to the bridge once it is stored. */
  async send(user: string, body: string): Promise<number> {
    const n = await this.ask(body);
    const bridge = this.env.FLOOR_BRIDGE.getByName("bridge");
    this.ctx.waitUntil(bridge.publish(`${FLOOR_TO_USER}.${user}.${n}`, body, `${user}-${n}`));
    return n;
  }

  async read(n: number): Promise<{ n: number; body: string }> {
    return this.ctx.storage.sql
      .exec<{ n: number; body: string }>("SELECT n, body FROM asked WHERE n = ?", n)
      .one();
  }

  async wait(n: number): Promise<boolean> {
    const isAnswered = () =>
      this.ctx.storage.sql.exec("SELECT 1 FROM asked WHERE n = ? AND answer IS NOT NULL", n).toArray()
        .length > 0;
    if (!isAnswered()) await new Promise<void>((resolve) => this.#waiting.set(n, resolve));
    return isAnswered();
  }

  async receive(messages: { row: number; bytes: Uint8Array }[]): Promise<void> {
    this.ctx.storage.transactionSync(() => {
      for (const { row, bytes } of messages)
        this.ctx.storage.sql.exec(
          "INSERT INTO asked (n, body, answer) VALUES (?1, '', ?2) ON CONFLICT (n) DO UPDATE SET answer = ?2",
          row,
          bytes,
        );
    });
    for (const { row } of messages) this.#waiting.get(row)?.();
  }
}

/** Consumes, groups by user, one call for each user at a time, and acknowledges after it. */
export class FloorBridge extends DurableObject<FloorEnv> {
  #connections: Promise<{ service: NatsConnection; platform: JetStreamClient }> | undefined;
  readonly #lanes = new Map<string, JsMsg[]>();
  readonly #busy = new Set<string>();

  async start(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + ALARM_INTERVAL_MS);
    await this.#open();
  }

  override async alarm(): Promise<void> {
    await this.start();
  }

  async publish(subject: string, body: string, msgID: string): Promise<void> {
    const { platform } = await this.#open();
    await platform.publish(subject, body, { msgID });
  }

  #open() {
    this.#connections ??= (async () => {
      const dial = (servers: string, creds: string) =>
        connect({ servers, authenticator: credsAuthenticator(new TextEncoder().encode(creds)) });
      const { env } = this;
      const service = await dial(env.SERVICESPACE_URL, env.SERVICESPACE_CREDS);
      const platform = await dial(env.MESSAGESPACE_URL, env.MESSAGESPACE_CREDS);
      const consumer = await service.jetstream().consumers.get(FLOOR_STREAM, FLOOR_CONSUMER);
      await consumer.consume({ max_messages: MAX_MESSAGES, callback: (message) => this.#take(message) });
      return { service, platform: platform.jetstream() };
    })();
    return this.#connections;
  }

  #take(message: JsMsg): void {
    const user = message.subject.split(".")[1]!;
    const lane = this.#lanes.get(user) ?? [];
    lane.push(message);
    this.#lanes.set(user, lane);
    queueMicrotask(() => this.#dispatch());
  }

  #dispatch(): void {
    for (const [user, lane] of this.#lanes) {
      if (this.#busy.size >= MAX_CONCURRENT_OBJECTS) return;
      if (this.#busy.has(user)) continue;
      const group = lane.splice(0, MAX_GROUP);
      if (lane.length === 0) this.#lanes.delete(user);
      this.#busy.add(user);
      const messages = group.map(({ subject, data }) => ({
        row: Number(subject.split(".")[2]),
        bytes: data.slice(),
      }));
      void this.env.FLOOR_USER.getByName(user)
        .receive(messages)
        .then(() => {
          for (const message of group) message.ack();
        })
        .finally(() => {
          this.#busy.delete(user);
          this.#dispatch();
        });
    }
  }
}

const app = new Hono<{ Bindings: FloorEnv }>();

const userOf = (env: FloorEnv, user: string) => env.FLOOR_USER.getByName(user);

app.post("/ask/:user", async (c) => {
  const n = await userOf(c.env, c.req.param("user")).ask(await c.req.text());
  return c.json({ n }, 201);
});
app.get("/requests/:user/:n", async (c) => {
  const { user, n } = c.req.param();
  return c.json(await userOf(c.env, user).read(Number(n)));
});
app.post("/send/:user", async (c) => {
  const user = c.req.param("user");
  return c.json({ n: await userOf(c.env, user).send(user, await c.req.text()) }, 201);
});
app.get("/wait/:user/:n", async (c) => {
  const { user, n } = c.req.param();
  return c.json({ answered: await userOf(c.env, user).wait(Number(n)) });
});
app.post("/start", async (c) => {
  await c.env.FLOOR_BRIDGE.getByName("bridge").start();
  return c.json({ ok: true });
});

export default app;
