// An inbox of a session: one subscription, below which each question has a token of its own for its answers.

import { createInbox, type Msg } from "nats.ws";
import type { LiveSession } from "./session.ts";

/** Opens an inbox for as long as the session is; answers are expected at `<inbox>.<token>`. */
export function openInbox(session: LiveSession, onMessage: (message: Msg) => void): string {
  const inbox = createInbox(session.inboxPrefix);
  session.connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (session.signal.aborted) return;
      if (error) session.fail(`the inbox was refused: ${error.message}`);
      else onMessage(message);
    },
  });
  return inbox;
}
