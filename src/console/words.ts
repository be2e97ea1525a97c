// Times and numbers as the console says them. Pages know no visitor's time zone: everything is UTC.

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const dateFormat = new Intl.DateTimeFormat("en", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
  timeZone: "UTC",
});

/** `Jan 31, 2026, 08:15 UTC`. */
export const dateWords = (ms: number): string => `${dateFormat.format(ms)} UTC`;

const spanWords = (ms: number): string => {
  if (ms < HOUR_MS) return `${Math.max(1, Math.round(ms / MINUTE_MS))} min`;
  if (ms < DAY_MS) return `${Math.round(ms / HOUR_MS)} h`;
  const days = Math.round(ms / DAY_MS);
  return days === 1 ? "1 day" : `${days} days`;
};

const dayFormat = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });

/** `just now`, `12 min ago`, `in 3 days`; beyond a week, the date alone. */
export function agoWords(ms: number, now: number): string {
  const past = now - ms;
  if (Math.abs(past) > 7 * DAY_MS) return dayFormat.format(ms);
  if (past >= 0) return past < MINUTE_MS ? "just now" : `${spanWords(past)} ago`;
  return past > -MINUTE_MS ? "in a moment" : `in ${spanWords(-past)}`;
}

/** A duration in the unit that suits it: `850 µs`, `12 ms`, `1.4 s`. */
export function durationWords(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1_000)} ms`;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

/** `0.4/min`, `12/s`: per second from one a second on. */
export function rateWords(perSecond: number): string {
  if (perSecond === 0) return "0/min";
  if (perSecond >= 1) return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`;
  const perMinute = perSecond * 60;
  return `${perMinute < 10 ? perMinute.toFixed(1) : Math.round(perMinute)}/min`;
}

const things = (count: string, what: string): string =>
  what === "string" ? `${count} characters` : what === "array" ? `${count} entries` : count;

/** The validator's own messages in plain words; those that the schemas word themselves are plain already. */
export function plainly(message: string): string {
  const [, size, what = "", bound = ""] =
    /^Too (small|big): expected (\w+)(?: to have| to be)? [<>]=?(-?\d+)/.exec(message) ?? [];
  if (size === "small" && bound === "1" && what === "string") return "must not be empty";
  if (size === "small" && bound === "1" && what === "array") return "must have at least one entry";
  if (size !== undefined)
    return `must ${what === "number" || what === "int" ? "be" : "have"} at ${size === "small" ? "least" : "most"} ${things(bound, what)}`;
  const [, wanted] = /^Invalid input: expected (\w+)/.exec(message) ?? [];
  if (wanted !== undefined)
    return wanted === "int" || wanted === "number" ? "must be a whole number" : "is not filled in correctly";
  const [, options] = /^Invalid option: expected one of (.+)$/.exec(message) ?? [];
  return options === undefined
    ? message
    : `must be one of ${options.replaceAll('"', "").replaceAll("|", ", ")}`;
}

const FIELD_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?$/;

/** What a field of date and time holds, as the API has it, in UTC; anything else stays as it is, to be refused. */
export function instantOfField(text: string): string {
  const ms = FIELD_TIME.test(text) ? Date.parse(`${text}Z`) : Number.NaN;
  return Number.isNaN(ms) ? text : new Date(ms).toISOString();
}

export const countWords = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
