/** What became of a message, in plain words. */

import type { Delivery, PushMessage } from '../api/types';
import { formatDateTime, t, type TextKey } from '../i18n';
import type { IconName } from '../ui/Icon.svelte';

/** Why a message or a delivery was not sent, as the server names it. */
const REASONS = [
  'watching',
  'acknowledged',
  'resolved_in_grace',
  'never_told',
  'no_endpoint',
  'expired',
  'stale',
  'damaged',
  'severity_unwanted',
  'group_unwanted',
  'resolved_unwanted',
  'muted',
  'digested',
  'quiet_hours',
] as const;

const EVENTS = [
  'sent',
  'retry',
  'unclear',
  'dead',
  'dropped',
  'withdrawn',
  'replayed',
  'held',
  'digested',
  'shown',
  'opened',
  'dismissed',
  'acknowledged',
  'silenced',
  'refused',
] as const;

const HELD = ['quiet_hours', 'digest', 'storm', 'paused'] as const;

const known = <Name extends string>(names: readonly Name[], name: string): name is Name => (names as readonly string[]).includes(name);

/** Null for one that this page does not know. */
export function reasonWords(reason: string): string | null {
  return known(REASONS, reason) ? t(`push.reason_${reason}`) : null;
}

/** Where the reason is a text of the server already, that. */
export function whyWords(reason: string): string {
  return reasonWords(reason) ?? reason.charAt(0).toUpperCase() + reason.slice(1);
}

/** `Held until …: your quiet hours`. */
export function heldWords({ held, next_attempt: next }: Pick<Delivery, 'held' | 'next_attempt'>): string | null {
  if (!held) return null;
  const why = known(HELD, held) ? t(`push.held_${held}`) : held;
  return next === null ? t('push.held', { why }) : t('push.held_until', { why, time: soon(Date.parse(next)) });
}

const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const DAYS_6_MS = 6 * 86_400_000;

/** `Sun 06:00`, or the date where that would not be clear. */
function soon(ms: number): string {
  return Math.abs(ms - Date.now()) < DAYS_6_MS ? weekday.format(ms) : formatDateTime(ms);
}

/** What happened to a delivery: an event of a later server is its name. */
export function eventWords(event: string): string {
  return known(EVENTS, event) ? t(`push.event_${event}`) : event.replaceAll('_', ' ');
}

export interface Outcome {
  icon: IconName;
  text: string;
}

const PENDING: readonly string[] = ['queued', 'sending'];

export function outcome(message: PushMessage): Outcome {
  const { deliveries, reason } = message;
  if (reason !== '') return { icon: 'silenced', text: reasonWords(reason) ?? (message.reason_text || reason) };
  if (message.state === 'waiting') return { icon: 'wait', text: t('message.waiting') };
  const pending = deliveries.filter((one) => PENDING.includes(one.state));
  const held = pending.filter((one) => one.held);
  const delivered = deliveries.filter((one) => one.state === 'delivered').length;
  if (held.length > 0 && held.length === pending.length) {
    const first = held.reduce((a, b) => ((a.next_attempt ?? '') <= (b.next_attempt ?? '') ? a : b));
    const words = heldWords(first) ?? '';
    return { icon: 'wait', text: delivered === 0 ? words : `${deliveredOf(delivered, deliveries.length)} · ${words}` };
  }
  if (pending.length > 0 || message.state !== 'done') return { icon: 'send', text: t('message.sending') };
  const count = (state: Delivery['state']) => deliveries.filter((one) => one.state === state).length;
  const parts: string[] = [];
  if (delivered > 0) parts.push(deliveredOf(delivered, deliveries.length));
  const failed = count('dead') + count('dropped');
  if (failed > 0) parts.push(t('push.failed', { count: failed }));
  if (delivered === 0 && failed === 0) {
    const reasons = [...new Set(deliveries.map((one) => one.reason).filter((one) => one !== ''))];
    const only = reasons.length === 1 ? whyWords(reasons[0] as string) : null;
    parts.push(only ?? t(count('digested') > 0 ? 'push.reason_digested' : 'push.nowhere'));
  }
  if (message.opened) parts.push(t('push.opened'));
  else if (message.dismissed) parts.push(t('push.dismissed'));
  return { icon: failed > 0 ? 'warning' : delivered > 0 ? 'check' : 'silenced', text: parts.join(' · ') };
}

function deliveredOf(delivered: number, all: number): string {
  return t('message.delivered', { delivered, all });
}

/** What a message is about; of a later server its own word. */
export function kindWords(kind: string): string {
  const key = `message.kind_${kind}` as TextKey;
  const text = t(key);
  return text === key ? kind : text;
}
