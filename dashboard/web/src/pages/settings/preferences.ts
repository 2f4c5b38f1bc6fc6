/** Preferences as they are edited, and as the API has them. */

import type { Day, EndpointPreferences, Preferences } from '../../api/types';
import { SEVERITIES, type Severity } from '../../live/frame';
import { DAYS } from '../rules/days';
import { asApi } from '../rules/duration';
import { seconds } from '../device/commands/form';

export interface WindowDraft {
  days: Day[];
  from: string;
  to: string;
}

/** What an endpoint may have of its own. */
export const OWN = ['severities', 'groups', 'resolved', 'quiet_hours', 'digest', 'sound', 'require_interaction'] as const;
export type Own = (typeof OWN)[number];

export interface Draft {
  severities: Severity[];
  allGroups: boolean;
  groups: string[];
  /** A group that is typed and not added yet: it counts. */
  typed: string;
  resolved: boolean;
  quiet: boolean;
  zone: string;
  windows: WindowDraft[];
  criticalPasses: boolean;
  /** Empty: at once. */
  digest: string;
  perMinute: string;
  sound: Preferences['sound'];
  stay: Preferences['require_interaction'];
  language: Preferences['language'];
}

export const DIGESTS = ['5m', '15m', '30m', '1h', '4h', '1d'] as const;
export const PER_MINUTE_MAX = 60;
const NIGHT: WindowDraft = { days: [...DAYS], from: '22:00', to: '06:00' };

/** `mon-fri 22:00-06:00`; null if it is none. */
export function readWindow(text: string): WindowDraft | null {
  const parts = /^\s*(\S+)\s+(\d\d:\d\d)\s*-\s*(\d\d:\d\d)\s*$/.exec(text);
  if (parts === null) return null;
  const [, given = '', from = '', to = ''] = parts;
  const chosen = new Set<Day>();
  for (const part of given.toLowerCase().split(',')) {
    if (part === 'daily') {
      for (const day of DAYS) chosen.add(day);
      continue;
    }
    const [first = '', last = first] = part.split('-');
    const start = DAYS.indexOf(first as Day);
    const end = DAYS.indexOf(last as Day);
    if (start < 0 || end < 0) return null;
    for (let at = start; ; at = (at + 1) % DAYS.length) {
      chosen.add(DAYS[at] as Day);
      if (at === end) break;
    }
  }
  return { days: DAYS.filter((day) => chosen.has(day)), from, to };
}

/** Days as people write them: `daily`, `mon-fri`, `sat,sun`. */
export function writeDays(days: readonly Day[]): string {
  if (days.length === DAYS.length) return 'daily';
  const at = DAYS.map((day) => days.includes(day));
  const first = at.indexOf(true);
  const last = at.lastIndexOf(true);
  const whole = last - first >= 2 && at.slice(first, last + 1).every(Boolean);
  return whole ? `${DAYS[first]}-${DAYS[last]}` : days.join(',');
}

/** A whole day ends at midnight, which a field for times writes as 00:00. */
const writeWindow = ({ days, from, to }: WindowDraft) => `${writeDays(days)} ${from}-${to === '00:00' ? '24:00' : to}`;

export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** `60m` and `3600s` as `1h`. */
function asWritten(time: string): string {
  const length = time === '' ? null : seconds(time);
  return length === null ? time : asApi(length);
}

export function draftOf(preferences: Preferences): Draft {
  const { quiet_hours: quiet } = preferences;
  const windows = quiet?.windows.map(readWindow).filter((window) => window !== null) ?? [];
  return {
    severities: SEVERITIES.filter((one) => preferences.severities.includes(one)),
    allGroups: preferences.groups === null,
    groups: [...(preferences.groups ?? [])],
    typed: '',
    resolved: preferences.resolved,
    quiet: quiet !== null,
    zone: quiet?.zone ?? browserZone(),
    windows: (windows.length > 0 ? windows : [NIGHT]).map((window) => ({ ...window, days: [...window.days], to: window.to === '24:00' ? '00:00' : window.to })),
    criticalPasses: quiet?.critical_passes ?? true,
    digest: asWritten(preferences.digest ?? ''),
    perMinute: String(preferences.per_minute),
    sound: preferences.sound,
    stay: preferences.require_interaction,
    language: preferences.language,
  };
}

/** Field of the API to a key of `prefs.wrong_…`. */
export type Mistakes = Record<string, 'severities' | 'groups' | 'zone' | 'days' | 'time' | 'per_minute'>;

const CLOCK = /^([01]\d|2[0-3]):[0-5]\d$/;

/** The groups that are chosen, with the one that is typed. */
export function groupsOf({ groups, typed }: Draft): string[] {
  return [...new Set([...groups, typed.trim()])].filter((group) => group !== '');
}

function mistakes(draft: Draft): Mistakes {
  const wrong: Mistakes = {};
  if (draft.severities.length === 0) wrong.severities = 'severities';
  if (!draft.allGroups && groupsOf(draft).length === 0) wrong.groups = 'groups';
  if (draft.quiet) {
    if (draft.zone.trim() === '') wrong['quiet_hours.zone'] = 'zone';
    for (const [index, window] of draft.windows.entries()) {
      const at = `quiet_hours.windows[${index}]`;
      if (window.days.length === 0) wrong[at] = 'days';
      else if (!CLOCK.test(window.from) || !CLOCK.test(window.to) || (window.from === window.to && window.from !== '00:00')) wrong[at] = 'time';
    }
  }
  const perMinute = Number(draft.perMinute);
  if (!Number.isInteger(perMinute) || perMinute < 1 || perMinute > PER_MINUTE_MAX) wrong.per_minute = 'per_minute';
  return wrong;
}

/** As the API has them. Means something only where there is no mistake. */
function written(draft: Draft): Preferences {
  return {
    severities: SEVERITIES.filter((one) => draft.severities.includes(one)),
    groups: draft.allGroups ? null : groupsOf(draft),
    resolved: draft.resolved,
    quiet_hours: draft.quiet ? { zone: draft.zone.trim(), windows: draft.windows.map(writeWindow), critical_passes: draft.criticalPasses } : null,
    digest: draft.digest === '' ? null : draft.digest,
    per_minute: Number(draft.perMinute),
    sound: draft.sound,
    require_interaction: draft.stay,
    language: draft.language,
  };
}

export function read(draft: Draft): { preferences: Preferences } | { wrong: Mistakes } {
  const wrong = mistakes(draft);
  return Object.keys(wrong).length > 0 ? { wrong } : { preferences: written(draft) };
}

/** What an endpoint has of its own. Mistakes in the rest, which is as everywhere, do not count. */
export function readOwn(draft: Draft, own: readonly Own[]): { preferences: EndpointPreferences } | { wrong: Mistakes } {
  const here = Object.entries(mistakes(draft)).filter(([field]) => own.some((key) => field === key || field.startsWith(`${key}.`)));
  return here.length > 0 ? { wrong: Object.fromEntries(here) } : { preferences: ownOf(written(draft), own) };
}

/** What counts at an endpoint. */
export function at(person: Preferences, own: EndpointPreferences): Preferences {
  return { ...person, ...own };
}

/** Of what was read, that which the endpoint has of its own. */
export function ownOf(preferences: Preferences, own: readonly Own[]): EndpointPreferences {
  return Object.fromEntries(own.map((key) => [key, preferences[key]])) as EndpointPreferences;
}

/** Whether two drafts say the same, whatever is typed in parts that are switched off. */
export function sameDraft(a: Draft, b: Draft): boolean {
  const [first, second] = [read(a), read(b)];
  if ('wrong' in first || 'wrong' in second) return JSON.stringify(a) === JSON.stringify(b);
  return JSON.stringify(first.preferences) === JSON.stringify(second.preferences);
}

/** The same, of what an endpoint has of its own. */
export function sameOwn(a: Draft, b: Draft, own: readonly Own[]): boolean {
  const [first, second] = [readOwn(a, own), readOwn(b, own)];
  if ('wrong' in first || 'wrong' in second) return JSON.stringify(a) === JSON.stringify(b);
  return JSON.stringify(first.preferences) === JSON.stringify(second.preferences);
}

/** An endpoint as it is edited, and as it was when that began. */
export interface Place {
  label: string;
  own: Own[];
  draft: Draft;
  readonly began: { readonly label: string; readonly own: readonly Own[]; readonly draft: Draft };
}

export function placeOf(label: string, preferences: EndpointPreferences, person: Preferences): Place {
  const own = OWN.filter((key) => key in preferences);
  const all = at(person, preferences);
  return { label, own: [...own], draft: draftOf(all), began: { label, own, draft: draftOf(all) } };
}

export function placeChanged({ label, own, draft, began }: Place): boolean {
  return label.trim() !== began.label || own.toSorted().join() !== began.own.toSorted().join() || !sameOwn(draft, began.draft, own);
}
