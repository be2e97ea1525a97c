// Small charts, drawn on the server. Each says in words what it shows, for whoever does not see it.

import type { Child } from "hono/jsx";
import type { Bucket, Calls } from "./measures.ts";
import { callCount } from "./measures.ts";
import { countWords, durationWords, rateWords } from "./words.ts";

/** Drawing units: about a phone's width, so that the words in it can be read there. */
const WIDTH = 340;
const HEIGHT = 150;
const FOOT = 22;
const HEAD = 16;

const Figure = ({
  title,
  also,
  says,
  height = HEIGHT,
  children,
  legend,
}: {
  title: string;
  also: Child;
  says: string;
  height?: number;
  children: Child;
  legend?: Child;
}) => (
  <figure class="card chart">
    <figcaption>
      <h2>{title}</h2>
      <span class="small">{also}</span>
    </figcaption>
    <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={says}>
      {children}
    </svg>
    {legend}
  </figure>
);

const rounded = (value: number): number => Math.round(value * 10) / 10;

/** How long calls took: a bar for each bucket. */
export function DurationChart({
  buckets,
  p50,
  p95,
}: {
  buckets: readonly Bucket[];
  p50: number;
  p95: number;
}) {
  const most = Math.max(1, ...buckets.map(({ count }) => count));
  const step = WIDTH / buckets.length;
  const room = HEIGHT - FOOT - HEAD;
  const name = ({ upTo }: Bucket, at: number) =>
    upTo === Infinity ? `over ${durationWords(buckets[at - 1]?.upTo ?? 0)}` : durationWords(upTo);
  const says = buckets
    .map((bucket, at) =>
      bucket.count === 0
        ? ""
        : `${bucket.upTo === Infinity ? "" : "up to "}${name(bucket, at)}: ${countWords(bucket.count, "call")}`,
    )
    .filter((text) => text !== "")
    .join("; ");
  return (
    <Figure
      title="How long calls take"
      also={`half within ${durationWords(p50)}, 95 % within ${durationWords(p95)}`}
      says={`Calls by how long they took. ${says}`}
    >
      <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT - FOOT} y2={HEIGHT - FOOT} />
      {buckets.map((bucket, at) => {
        const height = bucket.count === 0 ? 0 : Math.max(2, (bucket.count / most) * room);
        const x = rounded(at * step + step * 0.14);
        return (
          <g>
            <rect
              class="bar"
              x={x}
              y={rounded(HEIGHT - FOOT - height)}
              width={rounded(step * 0.72)}
              height={rounded(height)}
              rx="2"
            />
            {bucket.count > 0 && (
              <text
                class="value-label"
                x={rounded(at * step + step / 2)}
                y={rounded(HEIGHT - FOOT - height - 4)}
                text-anchor="middle"
              >
                {short(bucket.count)}
              </text>
            )}
            {/* Every other one: they are to be read on a phone, too. */}
            {at % 2 === 1 && bucket.upTo !== Infinity && (
              <text class="label" x={rounded(at * step + step / 2)} y={HEIGHT - 6} text-anchor="middle">
                {durationWords(bucket.upTo)}
              </text>
            )}
          </g>
        );
      })}
    </Figure>
  );
}

/** `1.2k`, `3.4M`: where there is room for few characters. */
const short = (count: number): string =>
  count < 1_000
    ? String(count)
    : count < 1_000_000
      ? `${rounded(count / 1_000)}k`
      : `${rounded(count / 1_000_000)}M`;

const ROW = 26;
const NAME_WIDTH = 108;
const COUNT_WIDTH = 38;

/** Classes that are no scope. */
const CLASS_WORDS: Record<string, string> = { wait: "held the line", public: "without a key" };

/** Calls by the scope they need, and how they ended. */
export function CallsChart({ calls, since }: { calls: readonly Calls[]; since: Child }) {
  const most = Math.max(1, ...calls.map(callCount));
  const room = WIDTH - NAME_WIDTH - COUNT_WIDTH;
  const says = calls
    .map(
      ({ scope, succeeded, refused, failed }) =>
        `${scope}: ${countWords(succeeded, "answer")}, ${refused} refused, ${failed} failed`,
    )
    .join("; ");
  return (
    <Figure
      title="Calls"
      also={since}
      says={`Calls by the scope they need. ${says}`}
      height={calls.length * ROW + 4}
      legend={
        <ul class="legend-list" aria-hidden="true">
          {(
            [
              ["bar", "answered"],
              ["bar refused", "refused (4xx)"],
              ["bar failed", "failed (5xx)"],
            ] as const
          ).map(([kind, words]) => (
            <li>
              <svg viewBox="0 0 10 10" aria-hidden="true">
                <rect class={kind} width="10" height="10" rx="2" />
              </svg>
              {words}
            </li>
          ))}
        </ul>
      }
    >
      {calls.map((row, at) => {
        const y = at * ROW + 5;
        let x = NAME_WIDTH;
        const parts = (
          [
            ["bar", row.succeeded],
            ["bar refused", row.refused],
            ["bar failed", row.failed],
          ] as const
        ).map(([kind, count]) => {
          const width = count === 0 ? 0 : Math.max(2, (count / most) * room);
          const part = <rect class={kind} x={rounded(x)} y={y} width={rounded(width)} height="15" rx="2" />;
          x += width;
          return part;
        });
        return (
          <g>
            <text class="label" x="0" y={y + 12}>
              {Object.hasOwn(CLASS_WORDS, row.scope) ? CLASS_WORDS[row.scope] : row.scope}
            </text>
            {parts}
            <text class="value-label" x={rounded(Math.min(x + 6, WIDTH - COUNT_WIDTH + 6))} y={y + 12}>
              {short(callCount(row))}
            </text>
          </g>
        );
      })}
    </Figure>
  );
}

const RATE_HEIGHT = 84;

/** Calls a second while the page is open. */
export function RateChart({ points }: { points: readonly { at: number; perSecond: number }[] }) {
  const peak = Math.max(...points.map(({ perSecond }) => perSecond));
  // A line of nothing lies at the bottom.
  const most = peak === 0 ? 1 : peak;
  const first = points[0]!.at;
  const last = points.at(-1)!;
  const span = Math.max(1, last.at - first);
  const room = RATE_HEIGHT - FOOT - 4;
  const places = points.map(({ at, perSecond }) => [
    rounded(((at - first) / span) * WIDTH),
    rounded(RATE_HEIGHT - FOOT - (perSecond / most) * room),
  ]);
  const line = places.map(([x, y], at) => `${at === 0 ? "M" : "L"}${x} ${y}`).join("");
  const minutes = Math.max(1, Math.round(span / 60_000));
  return (
    <Figure
      title="Rate"
      also={`${rateWords(last.perSecond)} now, ${rateWords(peak)} at most`}
      says={`Calls a second over the last ${countWords(minutes, "minute")}: ${rateWords(last.perSecond)} now, ${rateWords(peak)} at most`}
      height={RATE_HEIGHT}
    >
      <line class="axis" x1="0" x2={WIDTH} y1={RATE_HEIGHT - FOOT} y2={RATE_HEIGHT - FOOT} />
      <path class="area" d={`${line}L${WIDTH} ${RATE_HEIGHT - FOOT}L0 ${RATE_HEIGHT - FOOT}Z`} />
      <path class="line" d={line} />
      <text class="label" x="0" y={RATE_HEIGHT - 6}>
        {countWords(minutes, "minute")} ago
      </text>
      <text class="label" x={WIDTH} y={RATE_HEIGHT - 6} text-anchor="end">
        now
      </text>
    </Figure>
  );
}
