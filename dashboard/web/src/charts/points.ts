/** Turns samples into what a chart draws: never more than two points per pixel, and gaps where samples are missing. */

import type { Columns, Line, Samples } from './line';

/**
 * The longest distance in seconds that is still joined by a line: five usual intervals, at least three seconds. The
 * usual interval is the median of the last 64, so one outage does not change it.
 */
export function joinLimit(samples: Samples, end: number): number {
  return Math.max(3, 5 * medianInterval(samples, end));
}

/** In seconds; 0 when there are fewer than two. */
function medianInterval(samples: Samples, end: number): number {
  const intervals: number[] = [];
  for (let index = Math.max(1, end - 64); index < end; index += 1) {
    intervals.push(samples.time(index) - samples.time(index - 1));
  }
  intervals.sort((a, b) => a - b);
  return intervals[intervals.length >> 1] ?? 0;
}

/**
 * Samples from `from` to `to` (seconds) for a chart `width` pixels wide. Above two samples per pixel each bucket gives
 * its smallest and its largest one. Buckets are fixed in time, not relative to the edge, so a moving chart does not
 * shimmer. Samples further apart than `limit` are not joined; without it, as `joinLimit` says.
 */
export function samplePoints(samples: Samples, from: number, to: number, width: number, line: Line, limit?: number): void {
  line.clear();
  // One sample beyond each edge, so that lines run off the chart instead of beginning inside.
  const first = Math.max(0, samples.lowerBound(from) - 1);
  const end = Math.min(samples.length, samples.lowerBound(to) + 1);
  const joinS = limit ?? joinLimit(samples, end);
  line.joinS = joinS;
  // In whole milliseconds: a difference of two times of today is not exact, and a billion buckets since 1970 would all move.
  const bucket = end - first > 2 * width ? Math.round((to - from) * 1000) / 1000 / width : 0;

  let previous = NaN;
  let slot = NaN;
  let lowX = NaN;
  let lowY = 0;
  let highX = 0;
  let highY = 0;
  const flush = () => {
    if (Number.isNaN(lowX)) return;
    if (lowX <= highX) line.push(lowX, lowY);
    if (lowX !== highX) line.push(highX, highY);
    if (lowX > highX) line.push(lowX, lowY);
    lowX = NaN;
  };

  for (let index = first; index < end; index += 1) {
    const time = samples.time(index);
    const value = samples.value(index);
    if (!Number.isFinite(value)) {
      flush();
      if (line.length > 0 && !Number.isNaN(line.y[line.length - 1])) line.gap(time);
      previous = time;
      continue;
    }
    if (index > first && (time - previous > joinS || samples.breaksBetween(previous, time))) {
      flush();
      line.gap((previous + time) / 2);
    }
    previous = time;
    if (bucket === 0) {
      line.push(time, value);
      continue;
    }
    const now = Math.floor(time / bucket);
    if (now !== slot) {
      flush();
      slot = now;
    }
    if (Number.isNaN(lowX)) {
      lowX = highX = time;
      lowY = highY = value;
    } else if (value < lowY) {
      lowX = time;
      lowY = value;
    } else if (value > highY) {
      highX = time;
      highY = value;
    }
  }
  flush();
}

/**
 * Buckets of so many seconds from `from` to `to` with their smallest and largest value. Those that are not neighbours are not
 * joined; where samples are rarer than buckets, those further apart than two usual distances.
 */
export function bucketPoints(buckets: Columns, from: number, to: number, stepS: number, line: Line): void {
  const { x, y, low, high } = buckets;
  line.clear(low !== null);
  const first = Math.max(0, buckets.lowerBound(from) - 1);
  const end = Math.min(buckets.length, buckets.lowerBound(to) + 1);
  const usual = medianInterval(buckets, end);
  const joinS = usual > 1.5 * stepS ? 2.5 * usual : 1.5 * stepS;
  line.joinS = joinS;
  for (let index = first; index < end; index += 1) {
    const time = x[index] as number;
    const before = x[index - 1] as number;
    if (index > first && time - before > joinS) line.gap((before + time) / 2);
    line.push(time, y[index] as number, low?.[index], high?.[index]);
  }
}

/**
 * The states of a text metric: a point where a state begins, with its place among the words, and a gap where samples are
 * missing. A state holds until the next one is told. Changes within one pixel are joined to `MIXED`.
 */
export function statePoints(samples: Samples, from: number, to: number, width: number, line: Line): void {
  line.clear();
  line.joinS = Number.POSITIVE_INFINITY;
  const first = Math.max(0, samples.lowerBound(from) - 1);
  const end = samples.lowerBound(to);
  const pixel = (to - from) / Math.max(1, width);
  let previous = NaN;
  for (let index = first; index < end; index += 1) {
    const time = samples.time(index);
    const word = samples.value(index);
    if (index > first && samples.breaksBetween(previous, time)) line.gap(previous);
    previous = time;
    const at = line.length - 1;
    if (at < 0 || line.y[at] !== word) {
      if (at >= 0 && time - (line.x[at] as number) < pixel && !Number.isNaN(line.y[at])) line.y[at] = MIXED;
      else line.push(time, word);
    }
  }
}

/** In place of a state that lasted less than a pixel. */
export const MIXED = -1;

/** Steps in seconds that read well on an axis. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];

/** The bucket length for a window: about 300 buckets, which is what a chart of usual width shows. */
export function stepFor(windowS: number): number {
  const wanted = windowS / 300;
  return STEPS.find((step) => step >= wanted) ?? Math.ceil(wanted / 86_400) * 86_400;
}
