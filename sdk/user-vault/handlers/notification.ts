// What services tell the person: an inbox for each of them. Reading is the person's, and told to the service when they
// say so (`UserVault.readNotification`).

import type { Json } from "../../../src/protocol/json.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import type { Handler } from "./handler.ts";

/** By request: `{title, body, category, …, contract_id, received_at, read_at?}`. */
export const INBOX = "inbox";
/** Notifications kept for one service; the oldest go first. */
export const MAX_INBOX = 500;

export interface Notification {
  contract_id: string;
  title: string;
  body: string;
  category: string;
  priority?: string;
  action_url?: string;
  image_url?: string;
  data?: Json;
  received_at: string;
  read_at?: string;
}

const SHOWN = ["title", "body", "category", "priority", "data", "action_url", "image_url"] as const;

export const notification: Handler = {
  kind: "notification",
  receives: ({ requestId, payload, context }, { own }) => {
    const held = own
      .list(INBOX)
      .map(({ key, value }) => ({ key, at: (value as unknown as Notification).received_at }))
      .sort((a, b) => (a.at < b.at ? -1 : 1));
    for (const { key } of held.slice(0, Math.max(0, held.length - MAX_INBOX + 1))) own.delete(INBOX, key);
    own.put(INBOX, requestId, {
      ...Object.fromEntries(SHOWN.flatMap((name) => (name in payload ? [[name, payload[name]!]] : []))),
      contract_id: context.contractId,
      received_at: toTimestamp(context.now),
    });
    return undefined;
  },
};
