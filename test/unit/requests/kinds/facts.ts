// A request as a machine sees it, for tests of machines alone.

import type { MachineFacts } from "../../../../src/requests/machine.ts";

export const REQUEST_ID = "2wJ5mKZ8Vq3R7tYbNc4XpLsDfGhEu";

export const factsAt = (now: number, input: unknown, change: Partial<MachineFacts> = {}): MachineFacts => ({
  now,
  requestId: REQUEST_ID,
  operation: "test",
  status: "approved",
  input,
  expiresAt: now + 900_000,
  allows: () => true,
  ...change,
});
