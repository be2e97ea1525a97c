// What every handler finds in its context.

import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Config } from "../config.ts";
import type { Env } from "../env.ts";
import type { Json } from "../protocol/json.ts";
import type { ApiKeyFacts, Scope } from "../rpc.ts";

/** The scope the route needs, so that a class is who calls and what for. */
export type CallClass = Scope | "public";

export interface AppEnv {
  Bindings: Env;
  /** On the way of every call they are taken by `c.get`: `c.var` makes an object of all of them each time. */
  Variables: {
    /** Told to the caller in X-Request-Id, written to the log with everything that goes wrong. */
    requestId: string;
    config: Config;
    /** What the metrics count the call under; absent where no route matched. */
    callClass: CallClass;
    /** Whose key the call came with; only on routes that are not public. */
    caller: ApiKeyFacts;
    /** The body as parsed strictly; undefined when there was none. */
    body: Json | undefined;
  };
}

export type App = OpenAPIHono<AppEnv>;
