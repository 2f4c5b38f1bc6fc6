/** What became of messages, as the history is filtered by it. */

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
