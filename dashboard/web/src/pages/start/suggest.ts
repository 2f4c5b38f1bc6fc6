/** A first rule out of what a metric has shown so far. */

import type { Comparison } from '../../live/frame';

export interface Observed {
  count: number;
  min: number;
  max: number;
}

export interface Suggestion {
  comparison: Extract<Comparison, '>' | '<'>;
  threshold: number;
}

/** Of these it is the low values that matter. */
const LOW = /batter|fuel|level|free|remaining|voltage|signal|rssi|soc\b|pressure/i;

export function observe(values: Iterable<number>): Observed | null {
  let count = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    count += 1;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return count === 0 ? null : { count, min, max };
}

/** The lowest and the highest value within one minute, and how many there were. */
export interface Minute {
  min: number;
  max: number;
  count: number;
}

/** Of the columns of a query for `min,max,count`; minutes without a number are left out. */
export function readMinutes(columns: { min?: readonly unknown[]; max?: readonly unknown[]; count?: readonly unknown[] }): Minute[] {
  const number = (value: unknown) => (typeof value === 'number' ? value : NaN);
  const minutes = (columns.min ?? []).map((min, at) => ({ min: number(min), max: number(columns.max?.[at]), count: number(columns.count?.[at]) }));
  return minutes.filter((one) => Object.values(one).every(Number.isFinite));
}

export function observeMinutes(minutes: readonly Minute[]): Observed | null {
  const seen = observe(minutes.flatMap(({ min, max }) => [min, max]));
  return seen === null ? null : { ...seen, count: minutes.reduce((sum, { count }) => sum + count, 0) };
}

/** 1, 2 or 5 times a power of ten, not above what is wanted. */
function niceStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * ([5, 2, 1].find((one) => one * power <= wanted * 1.000_001) ?? 1);
}

/** How far beyond what was seen: half of its range, or a tenth of the value where it hardly moved. */
function margin({ min, max }: Observed): number {
  const size = Math.max(Math.abs(min), Math.abs(max));
  return Math.max((max - min) / 2, size * 0.1, size === 0 ? 1 : 0);
}

/**
 * A round threshold just outside of what was seen: above it, or below it for what runs low. Percent ends at 100, and what
 * was never negative is not asked to be.
 */
export function suggest(metric: string, unit: string, seen: Observed): Suggestion {
  const beyond = margin(seen);
  const step = niceStep(beyond / 2);
  const round = (value: number) => Number((Math.round(value / step) * step).toPrecision(12));
  const percent = unit === '%' && seen.min >= 0 && seen.max <= 100;
  const above = () => {
    const wanted = Math.max(round(seen.max + beyond), round(seen.max) + step);
    return Number((percent ? Math.min(wanted, seen.max < 90 ? 95 : 99.5) : wanted).toPrecision(12));
  };
  const below = () => {
    const wanted = Math.min(round(seen.min - beyond), round(seen.min) - step);
    // Half of the lowest is outside of what was seen too, and still positive.
    return Number((seen.min > 0 && wanted <= 0 ? Number((seen.min / 2).toPrecision(1)) : wanted).toPrecision(12));
  };
  const low = LOW.test(metric) && !(percent && seen.min < 1) && seen.min !== 0;
  return low ? { comparison: '<', threshold: below() } : { comparison: '>', threshold: above() };
}

/** How many of the values that were seen are beyond the threshold. */
export function crossings(values: Iterable<number>, { comparison, threshold }: Suggestion): number {
  let count = 0;
  for (const value of values) if (comparison === '>' ? value > threshold : value < threshold) count += 1;
  return count;
}
