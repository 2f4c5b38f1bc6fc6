/** Alerts in words and numbers. */

import { formatValue } from '../../i18n';
import type { AlertView } from '../../live/alerts';

/** `-11.4 °C`; without a unit the number alone. */
export function quantity(value: number, unit: string | undefined): string {
  return unit ? `${formatValue(value)} ${unit}` : formatValue(value);
}

export function condition(alert: AlertView): string {
  return `${quantity(alert.value, alert.unit)} ${alert.comparison} ${quantity(alert.threshold, alert.unit)}`;
}

const SPANS_MS = [300_000, 900_000, 3_600_000, 86_400_000, 604_800_000];
const MARGIN_MS = 120_000;

/** What the chart of an alert shows: the time around it; while it goes on, up to now. */
export function around(alert: AlertView, nowMs: number) {
  const startMs = Date.parse(alert.started);
  if (alert.resolved === null) {
    const wanted = (nowMs - startMs) * 1.25 + MARGIN_MS;
    return { kind: 'live', rangeMs: SPANS_MS.find((span) => span >= wanted) ?? (SPANS_MS.at(-1) as number) } as const;
  }
  const endMs = Date.parse(alert.resolved);
  const margin = Math.max(MARGIN_MS, (endMs - startMs) * 0.3);
  return { kind: 'fixed', fromMs: Math.floor(startMs - margin), toMs: Math.ceil(endMs + margin) } as const;
}
