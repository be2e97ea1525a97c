// The bounds both clusters share, in bytes.

import { MAX_ENVELOPE_BYTES } from "../protocol/limits.ts";

/** What the NATS headers of a message may take beside the envelope; they count toward every size limit of NATS. */
export const MESSAGE_HEADER_ROOM_BYTES = 4_096;

/** A message as NATS counts it: headers and envelope. */
export const MAX_MESSAGE_BYTES = MAX_ENVELOPE_BYTES + MESSAGE_HEADER_ROOM_BYTES;
