/** What became of messages, as the history is filtered by it. */

import type { PushMessage } from '../../api/types';
import type { MessageFilter } from '../../push/calls';

export const OUTCOMES = {
  waiting: { state: 'waiting' },
  sending: { state: 'sending' },
  done: { state: 'done' },
  watching: { reason: 'watching' },
  acknowledged: { reason: 'acknowledged' },
  quiet_hours: { reason: 'quiet_hours' },
  severity_unwanted: { reason: 'severity_unwanted' },
  group_unwanted: { reason: 'group_unwanted' },
  muted: { reason: 'muted' },
  no_endpoint: { reason: 'no_endpoint' },
} as const satisfies Record<string, MessageFilter>;

export type OutcomeFilter = keyof typeof OUTCOMES;

/** Newer messages before older ones, each once: what was on one page may be on the next one meanwhile. */
export function together(newer: readonly PushMessage[], older: readonly PushMessage[]): PushMessage[] {
  const known = new Set(newer.map((one) => one.id));
  return [...newer, ...older.filter((one) => !known.has(one.id))];
}
