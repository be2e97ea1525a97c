// Attempts run outside the journal's object, each in an invocation of its own: the platform lets one invocation have
// six connections waiting for an answer, so two endpoints that hang would otherwise hold up every other one.

import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { type AttemptRequest, attempt } from "./attempt.ts";
import type { AttemptResult } from "./schedule.ts";

/** Reached through `ctx.exports`, from this Worker only. */
export class WebhookSender extends WorkerEntrypoint<Env> {
  send(request: AttemptRequest): Promise<AttemptResult> {
    return attempt(request);
  }
}
