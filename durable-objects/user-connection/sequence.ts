// Which sequence numbers of the other side have arrived: the highest, and the ranges below it that have not.
// Pure; a table of every number seen would cost a row per message.

export interface Received {
  /** The highest number taken in; 0 before the first. */
  readonly highest: number;
  /** Inclusive ranges below `highest` still missing, ascending. */
  readonly missing: readonly (readonly [from: number, to: number])[];
}

/** More gaps than this and the oldest is given up: its messages are refused if they still come. */
export const MAX_GAPS = 64;

export const hasArrived = ({ highest, missing }: Received, seq: number): boolean =>
  seq <= highest && !missing.some(([from, to]) => from <= seq && seq <= to);

/** The state after `seq` (at least 1, not yet arrived) was taken in. */
export function take(received: Received, seq: number): Received {
  const { highest, missing } = received;
  if (seq > highest) {
    const gap: (readonly [number, number])[] = seq > highest + 1 ? [[highest + 1, seq - 1]] : [];
    return { highest: seq, missing: [...missing, ...gap].slice(-MAX_GAPS) };
  }
  const rest = missing.flatMap(([from, to]): [number, number][] => {
    if (seq < from || to < seq) return [[from, to]];
    const halves: [number, number][] = [
      [from, seq - 1],
      [seq + 1, to],
    ];
    return halves.filter(([start, end]) => start <= end);
  });
  return { highest, missing: rest.slice(-MAX_GAPS) };
}

/** The lowest `limit` missing numbers. */
export function missingNumbers({ missing }: Received, limit: number): number[] {
  const numbers: number[] = [];
  for (const [from, to] of missing) {
    for (let seq = from; seq <= to; seq++) {
      if (numbers.length >= limit) return numbers;
      numbers.push(seq);
    }
  }
  return numbers;
}
