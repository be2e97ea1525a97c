// Whether a call with an Idempotency-Key repeats an earlier one.

import type { Idempotency } from "../rpc.ts";

/** `kept`: the digest the earlier call came with. */
export const isRepetition = (kept: string | null, { digest, earlier }: Idempotency): boolean =>
  kept !== null && (kept === digest || kept === earlier);
