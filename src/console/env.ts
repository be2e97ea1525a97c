// What every handler of the console finds in its context.

import type { Context } from "hono";
import type { AppEnv } from "../http/app-env.ts";
import type { Api, Dispatch } from "./api.ts";
import type { Session } from "./session.ts";

export interface ConsoleEnv {
  Bindings: AppEnv["Bindings"];
  Variables: AppEnv["Variables"] & {
    /** Calls the API in this isolate. */
    dispatch: Dispatch;
    session: Session;
    api: Api;
    /** The body of a form that was checked to be one of ours. */
    form: URLSearchParams;
  };
}

export type ConsoleContext = Context<ConsoleEnv>;
