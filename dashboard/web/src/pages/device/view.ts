/** The time shown by a device's charts, kept in the address so that it can be shared and survives a reload. */

import type { View } from '../../charts/source';

export const RANGES = [
  { key: '5m', ms: 300_000 },
  { key: '15m', ms: 900_000 },
  { key: '1h', ms: 3_600_000 },
  { key: '24h', ms: 86_400_000 },
  { key: '7d', ms: 604_800_000 },
] as const;

export type RangeKey = (typeof RANGES)[number]['key'];

const SPAN_MIN_MS = 1_000;
const SPAN_MAX_MS = 366 * 86_400_000;

/** `?range=15m` is live; `?from=…&to=…` (ms since the Unix epoch) stands still. What makes no sense is ignored. */
export function readView(query: URLSearchParams): { view: View; range: RangeKey } {
  const range = RANGES.find((one) => one.key === query.get('range')) ?? RANGES[0];
  const fromMs = Number(query.get('from') ?? NaN);
  const toMs = Number(query.get('to') ?? NaN);
  const span = toMs - fromMs;
  if (fromMs > 0 && span >= SPAN_MIN_MS && span <= SPAN_MAX_MS) {
    return { view: { kind: 'fixed', fromMs, toMs }, range: range.key };
  }
  return { view: { kind: 'live', rangeMs: range.ms }, range: range.key };
}

/** Changes of the query that stop the time at what is shown. Widened to a second, the shortest that is shown. */
export function pausedAt(fromMs: number, toMs: number): { from: string; to: string } {
  const from = Math.floor(fromMs);
  return { from: String(from), to: String(Math.max(from + SPAN_MIN_MS, Math.ceil(toMs))) };
}
