/** Alerts in words and numbers. */

import { formatDateTime, formatValue, t } from '../../i18n';
import type { AlertView } from '../../live/alerts';
import type { IconName } from '../../ui/Icon.svelte';

/** `-11.4 °C`; without a unit the number alone. */
export function quantity(given: number, unit: string | undefined): string {
  // The API has no number for NaN and infinities, and says them as texts.
  const value = Number(given);
  return unit ? `${formatValue(value)} ${unit}` : formatValue(value);
}

/** What is wrong: a value beside its threshold, or what the condition says. */
export function condition(alert: AlertView): string {
  if (alert.kind === 'no_data') return t('alert.no_data');
  if (alert.kind === 'group') return t('alert.group_of', { count: alert.members });
  if (alert.kind === 'overflow') return t('alert.overflow_of', { count: alert.members });
  if (alert.threshold !== null && alert.comparison !== null) {
    return `${quantity(alert.value, alert.unit)} ${alert.comparison} ${quantity(alert.threshold, alert.unit)}`;
  }
  return alert.condition || quantity(alert.value, alert.unit);
}

/** What it is about; a group's name where there is no one device. */
export function aboutWhat(alert: AlertView): string {
  if (alert.kind === 'group') return alert.group ? t('rule.scope_group', { group: alert.group }) : t('alert.many_devices');
  if (alert.kind === 'overflow' && alert.device === '') return t('alert.many_devices');
  return alert.device_name || alert.device;
}

export interface Note {
  icon: IconName;
  text: string;
  /** The whole of it, where the text is short. */
  long: string;
}

/** How it stands beside its severity, each with a sign and a word. */
export function notes(alert: AlertView): Note[] {
  const found: Note[] = [];
  const add = (icon: IconName, text: string, long = text) => found.push({ icon, text, long });
  if (alert.state === 'firing') {
    if (alert.silenced) {
      const { until, by, reason } = alert.silenced;
      const when = until === null ? t('alert.silenced') : t('alert.silenced_until', { time: formatDateTime(Date.parse(until)) });
      add('silenced', t('alert.silenced'), [when, by && t('alert.by', { user: by }), reason].filter((part) => part).join(' · '));
    }
    if (alert.stale) add('stale', t('alert.stale'), t('alert.stale_long'));
    if (alert.flapping) add('flapping', t('alert.flapping'), t('alert.flapping_long'));
    if (alert.recovering) add('recovering', t('alert.recovering'), t('alert.recovering_long'));
  }
  if (alert.parent !== null && alert.parent !== undefined) add('group', t('alert.part'), t('alert.part_long'));
  if (alert.assigned) add('user', alert.assigned, t('alert.assigned_to', { user: alert.assigned }));
  return found;
}

/** Only a link that leads to a page, never one that runs something. */
export function safeLink(text: string | null | undefined): string | null {
  return text && /^https?:\/\//i.test(text) ? text : null;
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
