// Whether the person is there: what they choose now, else what they left word of (`presence`/`current` among their own
// holdings, `{available, until?}`), else yes, for they have just answered.

import { z } from "zod";
import type { Json } from "../../../src/protocol/json.ts";
import { fromTimestamp, timestamp } from "../../../src/protocol/primitives.ts";
import type { Handler } from "./handler.ts";

export const PRESENCE = "presence";
export const CURRENT = "current";

const word = z.object({ available: z.boolean(), until: timestamp.optional() });

export const presence: Handler = {
  kind: "presence",
  answer: ({ context }, { choices }, { personal }) => {
    for (const candidate of [choices, personal.get(PRESENCE, CURRENT)]) {
      const said = word.safeParse(candidate);
      if (!said.success) continue;
      const { available, until } = said.data;
      // Word that has run out says nothing.
      if (until !== undefined && fromTimestamp(until) <= context.now) continue;
      return { result: { available, ...(until === undefined ? {} : { until }) } satisfies Json };
    }
    return { result: { available: true } };
  },
};
