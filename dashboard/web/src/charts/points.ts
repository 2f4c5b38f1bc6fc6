/** Turns samples into what a chart draws: never more than two points per pixel, and gaps where samples are missing. */

import type { Ring } from '../live/ring';

export interface Points {
  /** Seconds since the Unix epoch, ascending. */
  x: number[];
  /** One column per line; null is a gap. */
  lines: (number | null)[][];
}

/**
 * The longest distance in seconds that is still joined by a line: five usual intervals, at least three seconds. The
 * usual interval is the median of the last 64, so one outage does not change it.
 */
export function joinLimit(ring: Ring, end: number): number {
  const intervals: number[] = [];
  for (let index = Math.max(1, end - 64); index < end; index += 1) {
    intervals.push(ring.time(index) - ring.time(index - 1));
  }
  intervals.sort((a, b) => a - b);
  const median = intervals[intervals.length >> 1] ?? 0;
  return Math.max(3, 5 * median);
}

/**
 * Samples from `from` to `to` (seconds) for a chart `width` pixels wide. Above two samples per pixel each bucket gives
 * its smallest and its largest one. Buckets are fixed in time, not relative to the edge, so a moving chart does not
 * shimmer.
 */
export function ringPoints(ring: Ring, from: number, to: number, width: number): Points {
  // One sample beyond each edge, so that lines run off the chart instead of beginning inside.
  const first = Math.max(0, ring.lowerBound(from) - 1);
  const end = Math.min(ring.length, ring.lowerBound(to) + 1);
  const limit = joinLimit(ring, end);
  const x: number[] = [];
  const y: (number | null)[] = [];
  const bucket = end - first > 2 * width ? (to - from) / width : 0;

  let previous = NaN;
  let low: [number, number] | null = null;
  let high: [number, number] | null = null;
  let current = NaN;
  const flush = () => {
    if (low === null || high === null) return;
    const [one, two] = low[0] <= high[0] ? [low, high] : [high, low];
    x.push(one[0]);
    y.push(one[1]);
    if (two[0] !== one[0]) {
      x.push(two[0]);
      y.push(two[1]);
    }
    low = null;
    high = null;
  };

  for (let index = first; index < end; index += 1) {
    const time = ring.time(index);
    const value = ring.value(index);
    if (!Number.isFinite(value)) {
      flush();
      x.push(time);
      y.push(null);
      previous = time;
      continue;
    }
    if (time - previous > limit || ring.breaksBetween(previous, time)) {
      flush();
      x.push((previous + time) / 2);
      y.push(null);
    }
    previous = time;
    if (bucket === 0) {
      x.push(time);
      y.push(value);
      continue;
    }
    const slot = Math.floor(time / bucket);
    if (slot !== current) {
      flush();
      current = slot;
    }
    if (low === null || value < low[1]) low = [time, value];
    if (high === null || value > high[1]) high = [time, value];
  }
  flush();
  return { x, lines: [y] };
}

/** Steps in seconds that read well on an axis. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];

/** The bucket length for a window: about 300 buckets, which is what a chart of usual width shows. */
export function stepFor(windowS: number): number {
  const wanted = windowS / 300;
  return STEPS.find((step) => step >= wanted) ?? Math.ceil(wanted / 86_400) * 86_400;
}

/** Adds a gap wherever neighbouring buckets are further apart than `limit` seconds. */
export function withGaps(points: Points, limit: number): Points {
  const x: number[] = [];
  const lines: (number | null)[][] = points.lines.map(() => []);
  for (let index = 0; index < points.x.length; index += 1) {
    const time = points.x[index] as number;
    const before = points.x[index - 1];
    if (before !== undefined && time - before > limit) {
      x.push((before + time) / 2);
      for (const line of lines) line.push(null);
    }
    x.push(time);
    for (const [column, line] of lines.entries()) line.push(points.lines[column]?.[index] ?? null);
  }
  return { x, lines };
}

/** Positions of points without a neighbour on either side: a line through them would show nothing. */
export function isolated(line: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  for (let index = 0; index < line.length; index += 1) {
    if (line[index] == null) continue;
    if (line[index - 1] == null && line[index + 1] == null) found.push(index);
  }
  return found;
}
