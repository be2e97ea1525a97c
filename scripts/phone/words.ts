// Ids, times and other people's words as the screens print them.

import { formatInstant } from "../../src/http/pages/format.ts";

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 86_400;

/** What others wrote, without anything that turns text around or hides in it; line breaks stay. */
export const plain = (text: string): string => text.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");

/** `data_paths` → `Data paths`. */
export function label(name: string): string {
  const words = plain(name).replaceAll(/[_.]+/g, " ").trim();
  return words === "" ? name : words[0]!.toUpperCase() + words.slice(1);
}

export const when = (timestamp: string): string => formatInstant(Date.parse(timestamp));

/** How long until an instant, as the page's script goes on to count it. */
export function timeLeft(timestamp: string, now: number): string {
  const seconds = Math.ceil((Date.parse(timestamp) - now) / 1_000);
  const count = (value: number, unit: string) => `${value} ${unit}${value === 1 ? "" : "s"} left`;
  if (seconds <= 0) return "no time left";
  if (seconds < HOUR_SECONDS)
    return `${Math.floor(seconds / MINUTE_SECONDS)}:${String(seconds % MINUTE_SECONDS).padStart(2, "0")} left`;
  if (seconds < 2 * DAY_SECONDS) return count(Math.floor(seconds / HOUR_SECONDS), "hour");
  return count(Math.floor(seconds / DAY_SECONDS), "day");
}
