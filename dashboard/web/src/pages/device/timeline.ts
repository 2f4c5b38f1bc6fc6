/** What happened to a device, as one list: alerts, commands and changes of presence, the newest first. */

import type { AlertView, CommandView } from '../../live/alerts';
import type { CommandState, Presence, Severity } from '../../live/frame';

export type Event =
  | { kind: 'alert'; what: 'fired' | 'resolved'; id: string; atMs: number; severity: Severity; name: string }
  | { kind: 'alert'; what: 'acknowledged'; id: string; atMs: number; severity: Severity; name: string; user: string }
  | { kind: 'command'; id: string; atMs: number; name: string; state: CommandState; user: string; text: string }
  | { kind: 'presence'; id: string; atMs: number; presence: Presence };

export const KINDS = ['alert', 'command', 'presence'] as const;
export type EventKind = (typeof KINDS)[number];

export interface PresenceChange {
  atMs: number;
  presence: Presence;
}

/** Changes of presence kept while the page is open. */
export const PRESENCE_CHANGES_MAX = 100;

export function timeline(alerts: readonly AlertView[], commands: readonly CommandView[], presences: readonly PresenceChange[], max: number): Event[] {
  const events: Event[] = [];
  for (const { id, severity, rule_name: name, fired, acknowledged, resolved } of alerts) {
    const about = { kind: 'alert', id, severity, name } as const;
    events.push({ ...about, what: 'fired', atMs: Date.parse(fired) });
    if (acknowledged) events.push({ ...about, what: 'acknowledged', atMs: Date.parse(acknowledged.time), user: acknowledged.user });
    if (resolved) events.push({ ...about, what: 'resolved', atMs: Date.parse(resolved) });
  }
  for (const { id, name, state, changed, created, created_by: user, code, text } of commands) {
    const ended = [code, text].filter((part) => part !== '').join(': ');
    events.push({ kind: 'command', id, atMs: Date.parse(changed || created || ''), name, state, user: user ?? '', text: ended });
  }
  for (const { atMs, presence } of presences) events.push({ kind: 'presence', id: `${presence}-${atMs}`, atMs, presence });
  return events
    .filter(({ atMs }) => Number.isFinite(atMs))
    .sort((a, b) => b.atMs - a.atMs)
    .slice(0, max);
}
