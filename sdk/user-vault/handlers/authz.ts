// The approval is the permission; the person keeps a note of what they permitted, to look it up.

import type { Handler } from "./handler.ts";

/** On the service's shelf: `<action>:<resource>` → the newest permission. */
export const PERMISSIONS = "permissions";

export const authz: Handler = {
  kind: "authz",
  answer: ({ requestId, payload }, { valid_until, constraints }, { own }) => {
    own.put(PERMISSIONS, `${payload.action}:${payload.resource}`.slice(0, 512), {
      request_id: requestId,
      ...(valid_until === undefined ? {} : { valid_until }),
      ...(constraints === undefined ? {} : { constraints }),
    });
    return {};
  },
};
