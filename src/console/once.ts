// The Idempotency-Key a form carries: made with the form, so that sending it twice is the same as once. A form that
// was refused gets another, because what is sent next is another call.

import { newEventId } from "../protocol/ids.ts";
import type { ConsoleContext } from "./env.ts";

export const newOnce = (): string => newEventId();

/** Only a form of ours has got here; should its key be missing, the call is made without. */
export const onceOf = (c: ConsoleContext): string | undefined => {
  const once = c.var.form.get("once");
  return once === null || once === "" ? undefined : once;
};
