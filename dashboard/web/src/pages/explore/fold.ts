/** Many devices as one line: over what each of them said last, as the server does it for live values. */

import type { FoldKind } from './wanted';

/** One device's buckets: seconds and values, oldest first. */
export interface Told {
  times: readonly number[];
  values: readonly number[];
}

/** A value counts for so long, as on the server (`live.across_stale_after`). */
export const STALE_S = 300;

export function fold(kind: FoldKind, values: number[]): number {
  if (values.length === 0) return NaN;
  if (kind === 'min') return values.reduce((a, b) => Math.min(a, b));
  if (kind === 'max') return values.reduce((a, b) => Math.max(a, b));
  if (kind === 'avg') return values.reduce((a, b) => a + b, 0) / values.length;
  // The smallest value that 95 % are not above.
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.ceil(values.length * 0.95) - 1)] as number;
}

/** A point for each step from `from` to before `to` at which any device has said something that still counts. */
export function foldOver(kind: FoldKind, told: readonly Told[], from: number, to: number, step: number): { times: number[]; values: number[] } {
  const at = told.map(() => -1);
  const times: number[] = [];
  const values: number[] = [];
  // A bucket stands for the time up to the next one.
  const stale = Math.max(STALE_S, 2 * step);
  for (let time = Math.ceil(from / step) * step; time < to; time += step) {
    const current: number[] = [];
    for (const [index, one] of told.entries()) {
      let place = at[index] as number;
      while (place + 1 < one.times.length && (one.times[place + 1] as number) <= time) place += 1;
      at[index] = place;
      if (place < 0 || time - (one.times[place] as number) > stale) continue;
      const value = one.values[place] as number;
      if (Number.isFinite(value)) current.push(value);
    }
    if (current.length === 0) continue;
    times.push(time);
    values.push(fold(kind, current));
  }
  return { times, values };
}
