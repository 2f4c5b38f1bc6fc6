/** The time that all charts of a page show, kept in the address so that it can be shared and survives a reload. */

/** What a chart shows: the last so many milliseconds, or a fixed stretch of time. */
export type View =
  | { readonly kind: 'live'; readonly rangeMs: number }
  | { readonly kind: 'fixed'; readonly fromMs: number; readonly toMs: number };

/** From and to; in one unit, which the caller chooses. */
export type Span = readonly [number, number];

export const RANGES = [
  { key: '5m', ms: 300_000 },
  { key: '15m', ms: 900_000 },
  { key: '1h', ms: 3_600_000 },
  { key: '6h', ms: 21_600_000 },
  { key: '24h', ms: 86_400_000 },
  { key: '7d', ms: 604_800_000 },
  { key: '30d', ms: 2_592_000_000 },
] as const;

export type RangeKey = (typeof RANGES)[number]['key'];

export const SPAN_MIN_MS = 1_000;
export const SPAN_MAX_MS = 366 * 86_400_000;

/** Milliseconds since the Unix epoch, or RFC 3339; NaN for anything else. */
export function readMoment(text: string | null): number {
  if (text === null || text.trim() === '') return NaN;
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
}

/**
 * `?range=15m` is live; `?from=…&to=…` (ms since the Unix epoch, or RFC 3339) stands still. What makes no sense is
 * ignored.
 */
export function readView(query: URLSearchParams): { view: View; range: RangeKey } {
  const range = RANGES.find((one) => one.key === query.get('range')) ?? RANGES[0];
  const fromMs = readMoment(query.get('from'));
  const toMs = readMoment(query.get('to'));
  const span = toMs - fromMs;
  if (fromMs > 0 && span >= SPAN_MIN_MS && span <= SPAN_MAX_MS) {
    return { view: { kind: 'fixed', fromMs, toMs }, range: range.key };
  }
  return { view: { kind: 'live', rangeMs: range.ms }, range: range.key };
}

/** Changes of the query that stop the time at what is shown. Widened to a second, the shortest that is shown. */
export function pausedAt(fromMs: number, toMs: number): { from: string; to: string } {
  const from = Math.max(1, Math.floor(fromMs));
  // As long as it was: panning there and back leads back.
  return { from: String(from), to: String(from + Math.max(SPAN_MIN_MS, Math.round(toMs - fromMs))) };
}

/** Moves by a part of its length: 0.5 is half of it later. Never beyond `end`. */
export function panned([from, to]: Span, part: number, end = Number.POSITIVE_INFINITY): Span {
  const by = Math.min((to - from) * part, Math.max(0, end - to));
  return [from + by, to + by];
}

/**
 * Longer by a factor, or shorter by one below 1; what is at `part` of its length (0–1) stays where it is. `unit` is how many
 * milliseconds one of its units is.
 */
export function zoomed([from, to]: Span, factor: number, part = 0.5, unit = 1): Span {
  const length = Math.min(SPAN_MAX_MS / unit, Math.max(SPAN_MIN_MS / unit, (to - from) * factor));
  const fixed = from + (to - from) * part;
  return [fixed - length * part, fixed + length * (1 - part)];
}

/**
 * What two fingers make of a span: each keeps the time it was put on. `at` are the times below them at first, `parts` where
 * they are now, as parts of the chart's width.
 */
export function pinched(at: readonly [number, number], parts: readonly [number, number], unit = 1): Span {
  // Fingers that meet or cross would turn time around.
  const apart = Math.max(0.02, Math.abs(parts[1] - parts[0]));
  const length = Math.min(SPAN_MAX_MS / unit, Math.max(SPAN_MIN_MS / unit, Math.abs(at[1] - at[0]) / apart));
  const middle = (at[0] + at[1]) / 2;
  const from = middle - ((parts[0] + parts[1]) / 2) * length;
  return [from, from + length];
}

/** Where the table, the files and the words of a chart begin and end, in seconds. */
export function spanOf(view: View, nowMs: number): Span {
  return view.kind === 'fixed' ? [view.fromMs / 1000, view.toMs / 1000] : [(nowMs - view.rangeMs) / 1000, nowMs / 1000];
}
