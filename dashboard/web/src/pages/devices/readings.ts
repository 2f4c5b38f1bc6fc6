/** What a row shows of a metric: the newer of what the list said and what came live. */

import type { Device, JsonValue } from '../../api/types';
import type { MetricType } from '../../live/frame';
import type { Series } from '../../live/store';

export interface Reading {
  /** Milliseconds since the Unix epoch. */
  atMs: number;
  unit: string;
  value: JsonValue;
}

/** A value of that age is shown as old. */
export const OLD_MS = 60_000;

export function readingOf(device: Device, metric: string, live: Series | undefined): Reading | null {
  const listed = device.latest?.[metric];
  const listedMs = listed === undefined ? Number.NaN : Date.parse(listed.time);
  const liveMs = live === undefined ? Number.NaN : live.time * 1_000;
  if (live !== undefined && !Number.isNaN(liveMs) && !(listedMs > liveMs)) return { atMs: liveMs, unit: live.unit, value: liveValue(live.type, live) };
  return listed === undefined ? null : { atMs: listedMs, unit: listed.unit, value: listed.value };
}

function liveValue(type: MetricType, { value, text }: { value: number; text: string | null }): JsonValue {
  if (type === 'text') return text ?? '';
  return type === 'bool' ? value !== 0 : value;
}
