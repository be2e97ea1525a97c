// The vault as it is deployed, with every object counted: rows its SQL reads and writes, alarms set, calls taken and
// how long it was at work. The classes are the built ones; what is wrapped is what the platform hands them.

import type { DurableObject } from "cloudflare:workers";
import type { Env } from "../../src/env.ts";
import type * as Vault from "../../src/index.ts";
import { newRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { journalFor } from "../../src/webhooks/shards.ts";
// @ts-expect-error the bundle of the vault, beside this one
import * as built from "./built-vault.js";

const vault = built as unknown as typeof Vault;

/** What one class of objects has cost. */
export interface ClassCount {
  rowsRead: number;
  rowsWritten: number;
  /** setAlarm: each is a row written, and not among `rowsWritten`. */
  alarmsSet: number;
  /** Calls over RPC, requests and alarms: each is billed as a request. */
  calls: number;
  alarms: number;
  /** Milliseconds in which at least one call or promised work was under way, over all objects of the class. */
  activeMs: number;
}

export interface Counts {
  classes: Record<string, ClassCount>;
  /** Calls of the Worker itself. */
  workerRequests: number;
  /** R2 operations that write, list or delete; and those that read. */
  r2Writes: number;
  r2Reads: number;
  /** Messages that each bridge shard handed to users' objects. */
  handedOn: Record<string, number>;
}

type Cursor = { rowsRead: number; rowsWritten: number };
type Anything = (...args: unknown[]) => unknown;

const zero = (): ClassCount => ({
  rowsRead: 0,
  rowsWritten: 0,
  alarmsSet: 0,
  calls: 0,
  alarms: 0,
  activeMs: 0,
});
const counts = new Map<string, ClassCount>();
const handedOn = new Map<string, number>();
let cursors: { of: ClassCount; cursor: Cursor }[] = [];
let workerRequests = 0;
let r2Writes = 0;
let r2Reads = 0;

const countOf = (name: string): ClassCount => {
  const known = counts.get(name) ?? zero();
  counts.set(name, known);
  return known;
};

/**
 * Rows of a cursor are final once it was read to its end or left. Looked at before the next statement: one that was
 * left early is closed by the next use of its statement, and says no more.
 */
function settle(): void {
  for (const { of, cursor } of cursors) {
    of.rowsRead += cursor.rowsRead;
    of.rowsWritten += cursor.rowsWritten;
  }
  cursors = [];
}

function countStorage(storage: DurableObjectStorage, of: ClassCount): void {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  sql.exec = ((...args: Parameters<typeof exec>) => {
    settle();
    const cursor = exec(...args);
    cursors.push({ of, cursor });
    return cursor;
  }) as typeof sql.exec;
  const setAlarm = storage.setAlarm.bind(storage);
  storage.setAlarm = (...args) => {
    of.alarmsSet += 1;
    return setAlarm(...args);
  };
}

/** Time in which something is under way, counted once however much. */
class Activity {
  readonly #of: ClassCount;
  #open = 0;
  #since = 0;

  constructor(of: ClassCount) {
    this.#of = of;
  }

  async during<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#open++ === 0) this.#since = Date.now();
    try {
      return await work();
    } finally {
      if (--this.#open === 0) this.#of.activeMs += Date.now() - this.#since;
    }
  }
}

/** Counts what a shard hands to users' objects. */
function watched(env: Cloudflare.Env, shard: string): Cloudflare.Env {
  const namespace = env.USER_CONNECTION;
  const counted = new Proxy(namespace, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (name !== "getByName")
        return typeof member === "function" ? (member as Anything).bind(target) : member;
      return (id: string) => ({
        receive: (messages: unknown[]) => {
          handedOn.set(shard, (handedOn.get(shard) ?? 0) + messages.length);
          return (
            target.getByName(id) as unknown as { receive(messages: unknown[]): Promise<unknown> }
          ).receive(messages);
        },
      });
    },
  });
  return new Proxy(env, {
    get: (target, name) => (name === "USER_CONNECTION" ? counted : Reflect.get(target, name, target)),
  });
}

function countBucket(env: Cloudflare.Env): Cloudflare.Env {
  const bucket = (env as unknown as { AUDIT_R2: R2Bucket }).AUDIT_R2;
  const counted = new Proxy(bucket, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        // Deleting is free.
        if (name === "put" || name === "list") r2Writes += 1;
        else if (name !== "delete") r2Reads += 1;
        return (member as Anything).apply(target, args);
      };
    },
  });
  return new Proxy(env, {
    get: (target, name) => (name === "AUDIT_R2" ? counted : Reflect.get(target, name, target)),
  });
}

type ObjectClass = new (ctx: DurableObjectState, env: Cloudflare.Env) => DurableObject;

function counted(name: string, given: unknown): ObjectClass {
  const Class = given as ObjectClass;
  const activities = new WeakMap<object, Activity>();
  class Counted extends Class {
    constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
      const of = countOf(name);
      const activity = new Activity(of);
      countStorage(ctx.storage, of);
      const waitUntil = ctx.waitUntil.bind(ctx);
      ctx.waitUntil = (promise) => waitUntil(activity.during(() => promise));
      super(
        ctx,
        name === "NatsBridge"
          ? watched(env, ctx.id.name ?? "")
          : name === "AuditLog"
            ? countBucket(env)
            : env,
      );
      activities.set(this, activity);
    }
  }
  for (const method of Object.getOwnPropertyNames(Class.prototype)) {
    const member = Object.getOwnPropertyDescriptor(Class.prototype, method)?.value as unknown;
    if (method === "constructor" || typeof member !== "function") continue;
    Object.defineProperty(Counted.prototype, method, {
      value(this: object, ...args: unknown[]) {
        const of = countOf(name);
        if (method === "alarm") of.alarms += 1;
        else of.calls += 1;
        return activities.get(this)!.during(() => (member as Anything).apply(this, args));
      },
      configurable: true,
      writable: true,
    });
  }
  // Out of reach of the vault's own code: the bench alone asks for it.
  Object.defineProperty(Counted.prototype, "benchSql", {
    value(this: { ctx: DurableObjectState }, query: string) {
      const rows = this.ctx.storage.sql.exec(query).toArray();
      // The bench's own statement is not the vault's cost.
      cursors.pop();
      return rows;
    },
  });
  Object.defineProperty(Counted.prototype, "benchAlarm", {
    value(this: { ctx: DurableObjectState }) {
      return this.ctx.storage.getAlarm();
    },
  });
  return Counted;
}

export const UserConnection = counted("UserConnection", vault.UserConnection);
export const NatsBridge = counted("NatsBridge", vault.NatsBridge);
export const Directory = counted("Directory", vault.Directory);
export const Journal = counted("Journal", vault.Journal);
export const AuditLog = counted("AuditLog", vault.AuditLog);

/** Every other entry point of the built Worker. */
export const WebhookSender = vault.WebhookSender;

interface BenchObject {
  benchSql(query: string): Promise<unknown>;
  benchAlarm(): Promise<number | null>;
  restart(): Promise<void>;
}

/** One event for each user, each by a call of its own, as the users' objects make them. */
async function appendEvents(env: Cloudflare.Env, userIds: string[]): Promise<Response> {
  const timestamp = toTimestamp(Date.now());
  await Promise.all(
    userIds.map((user_id, at) => {
      const event_id = newRoutedId(user_id, at + 1);
      const event = { type: "auth.response", timestamp, event_id, user_id, data: { status: "approved" } };
      return journalFor(env as unknown as Env, user_id).append([{ event }]);
    }),
  );
  return Response.json({ events: userIds.length });
}

/** One batch for the audit log, as a Journal shard makes it. */
async function offerLeaves(env: Cloudflare.Env, count: number): Promise<Response> {
  const leaves = Array.from({ length: count }, () => ({ leaf: randomBytes(32) }));
  const answer = await (
    env.AUDIT_LOG.getByName("audit-log") as unknown as { offer(leaves: unknown): Promise<{ ok: boolean }> }
  ).offer(leaves);
  return Response.json(answer.ok);
}

async function bench(request: Request, env: Cloudflare.Env, path: string): Promise<Response> {
  if (path === "/counts") {
    settle();
    const answer: Counts = {
      classes: Object.fromEntries(counts),
      workerRequests,
      r2Writes,
      r2Reads,
      handedOn: Object.fromEntries(handedOn),
    };
    return Response.json(answer);
  }
  if (path === "/journal") return appendEvents(env, (await request.json()) as string[]);
  if (path === "/leaves") return offerLeaves(env, ((await request.json()) as { leaves: number }).leaves);
  const { userId, query } = (await request.json()) as { userId: string; query?: string };
  const object = env.USER_CONNECTION.getByName(userId) as unknown as BenchObject;
  if (path === "/restart") {
    // It ends the call, too.
    await object.restart().catch(() => {});
    return Response.json({ answer: null });
  }
  const answer = query === undefined ? await object.benchAlarm() : await object.benchSql(query);
  return Response.json({ answer });
}

const entry = vault.default as unknown as ExportedHandler<Cloudflare.Env>;
export default {
  ...entry,
  fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/__bench")) return bench(request, env, pathname.slice("/__bench".length));
    workerRequests += 1;
    return entry.fetch!(request, env, ctx);
  },
} satisfies ExportedHandler<Cloudflare.Env>;
