/** A time range as people write it. */

import { SPAN_MAX_MS, SPAN_MIN_MS, type Span } from './time';

/** As the browser's field for date and time has it, in local time, or in UTC. */
export function localText(ms: number, utc = false): string {
  if (utc) return new Date(ms).toISOString().slice(0, 19);
  const at = new Date(ms);
  const two = (number: number) => String(number).padStart(2, '0');
  const date = `${String(at.getFullYear()).padStart(4, '0')}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export type Wrong = 'missing' | 'order' | 'short' | 'long' | 'future';

/** What is wrong with which end, or the range in ms. */
export function checkRange(from: string, to: string, nowMs: number, utc = false): { span: Span | null; wrong: { from?: Wrong; to?: Wrong } } {
  const [fromMs, toMs] = [from, to].map((text) => Date.parse(utc && text !== '' ? `${text}Z` : text)) as [number, number];
  const wrong: { from?: Wrong; to?: Wrong } = {};
  if (!(fromMs > 0)) wrong.from = 'missing';
  if (!(toMs > 0)) wrong.to = 'missing';
  if (wrong.from === undefined && wrong.to === undefined) {
    if (fromMs >= nowMs) wrong.from = 'future';
    else if (toMs <= fromMs) wrong.to = 'order';
    else if (toMs - fromMs < SPAN_MIN_MS) wrong.to = 'short';
    else if (toMs - fromMs > SPAN_MAX_MS) wrong.to = 'long';
  }
  return { span: Object.keys(wrong).length === 0 ? [fromMs, toMs] : null, wrong };
}
