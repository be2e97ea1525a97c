// Amounts and times as the pages print them. Pages are in English and know no visitor's time zone.

import type { z } from "zod";
import type { pricing } from "../../protocol/offer.ts";
import type { Money } from "../../protocol/primitives.ts";

/** Minor units in the currency's own notation: 4990 EUR is €49.90, 500 JPY is ¥500. */
export function formatMoney({ amount, currency }: Money): string {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(amount / 10 ** digits);
}

const instant = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });

/** `January 31, 2026 at 8:15 AM UTC`. */
export const formatInstant = (ms: number): string => `${instant.format(ms)} UTC`;

const days = (count: number): string => (count === 1 ? "1 day" : `${count} days`);

/** What an offering costs, in one sentence. */
export function priceWords(price: z.infer<typeof pricing> | undefined): string {
  if (
    price === undefined ||
    price.type === "free" ||
    price.amount === undefined ||
    price.currency === undefined
  )
    return "Free";
  const amount = formatMoney({ amount: price.amount, currency: price.currency });
  if (price.type === "one_time") return `${amount} once`;
  const cycle = price.billing_cycle === undefined ? ", recurring" : ` per ${price.billing_cycle}`;
  const trial =
    price.trial_days === undefined || price.trial_days === 0 ? "" : `, after ${days(price.trial_days)} free`;
  return `${amount}${cycle}${trial}`;
}
