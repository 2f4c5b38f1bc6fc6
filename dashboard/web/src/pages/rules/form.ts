/** A rule as it is typed, and as the API takes it. */

import type { Day, Escalation, LevelRequest, Limit, NoDataThen, Rule, RuleFields, RuleRequest, Scope } from '../../api/types';
import { type Comparison, SEVERITIES, type Severity } from '../../live/frame';
import { seconds } from '../device/commands/form';
import { asApi, inWords } from './duration';
import { metricWord, readNumber } from './write';

export { metricWord, readNumber };

export type ScopeKind = 'all' | 'tag' | 'group' | 'profile' | 'devices';

export interface LevelDraft {
  severity: Severity;
  /** Of the sentence. */
  threshold: string;
  clear: string;
  clearsAt: Comparison | null;
  /** As expressions. */
  when: string;
  clearWhen: string;
}

export interface WindowDraft {
  days: Day[];
  from: string;
  to: string;
}

export interface EscalationDraft {
  after: string;
  to: string;
  times: string;
  every: string;
}

export interface Draft {
  name: string;
  enabled: boolean;
  scopeKind: ScopeKind;
  /** `kind:cold-room`, a group, a profile, or ids with commas between. */
  scopeValue: string;
  /** How the condition is written. */
  mode: 'sentence' | 'expression';
  metric: string;
  comparison: Comparison;
  levels: LevelDraft[];
  holding: 'for' | 'count';
  hold: string;
  atLeast: string;
  of: string;
  keep: string;
  samples: 'sampled' | 'on_change';
  staleness: string;
  lateness: string;
  noData: NoDataThen | 'off';
  noDataAfter: string;
  noDataSeverity: Severity;
  flapping: boolean;
  scheduled: boolean;
  zone: string;
  windows: WindowDraft[];
  reopen: string;
  /** `team=kitchen, site=north` */
  labels: string;
  message: string;
  runbook: string;
  groupBy: string;
  wait: string;
  interval: string;
  repeat: string;
  resolved: boolean;
  to: string;
  ackTimeout: string;
  escalation: EscalationDraft[];
}

export const LEVELS_MAX = SEVERITIES.length;

export function newLevel(severity: Severity): LevelDraft {
  return { severity, threshold: '', clear: '', clearsAt: null, when: '', clearWhen: '' };
}

/** What is empty has the server's default. */
export function empty(): Draft {
  return {
    name: '',
    enabled: true,
    scopeKind: 'all',
    scopeValue: '',
    mode: 'sentence',
    metric: '',
    comparison: '>',
    levels: [newLevel('warning')],
    holding: 'for',
    hold: '30 s',
    atLeast: '3',
    of: '5',
    keep: '',
    samples: 'sampled',
    staleness: '',
    lateness: '',
    noData: 'off',
    noDataAfter: '5 min',
    noDataSeverity: 'warning',
    flapping: true,
    scheduled: false,
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC',
    windows: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '18:00' }],
    reopen: '',
    labels: '',
    message: '',
    runbook: '',
    groupBy: '',
    wait: '',
    interval: '',
    repeat: '',
    resolved: true,
    to: '',
    ackTimeout: '',
    escalation: [],
  };
}

/** A new rule as a link wants it: `?device=pump-7&metric=load&comparison=>&threshold=4&for=30s&severity=warning&name=…`. */
export function prefilled(query: URLSearchParams): Draft {
  const draft = empty();
  const device = query.get('device');
  if (device !== null) Object.assign(draft, { scopeKind: 'devices', scopeValue: device });
  const comparison = (['>', '>=', '<', '<='] as const).find((one) => one === query.get('comparison'));
  const severity = SEVERITIES.find((one) => one === query.get('severity')) ?? 'warning';
  return {
    ...draft,
    name: query.get('name') ?? '',
    metric: query.get('metric') ?? '',
    comparison: comparison ?? draft.comparison,
    levels: [{ ...newLevel(severity), threshold: query.get('threshold') ?? '' }],
    hold: query.has('for') ? inWords(query.get('for') ?? '') : draft.hold,
  };
}

/** What is wrong, by the field's path in the API: a key of `rule.wrong_…`. */
export type Mistakes = Record<string, 'required' | 'number' | 'whole' | 'duration' | 'quiet_side' | 'tag' | 'label' | 'url' | 'count' | 'to' | 'time'>;

const DAY_S = 86_400;

export function holds(value: number, comparison: Comparison, threshold: number): boolean {
  switch (comparison) {
    case '>':
      return value > threshold;
    case '>=':
      return value >= threshold;
    case '<':
      return value < threshold;
    default:
      return value <= threshold;
  }
}

/** What has commas or blanks between. */
export function words(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '');
}

/** The scope that was typed; null while it is incomplete. */
export function readScope({ scopeKind, scopeValue }: Pick<Draft, 'scopeKind' | 'scopeValue'>): Scope | null {
  const given = scopeValue.trim();
  if (scopeKind === 'all') return { all: true };
  if (given === '') return null;
  if (scopeKind === 'group') return { group: given };
  if (scopeKind === 'profile') return { profile: given };
  if (scopeKind === 'tag') {
    const tag = given.replace('=', ':');
    return /^[^:]+:.+$/.test(tag) ? { tag } : null;
  }
  const devices = words(given);
  return devices.length === 1 ? { device: devices[0] as string } : { devices };
}

/** The comparison that ends what another begins, with nothing between. */
export const QUIET: Record<Comparison, Comparison> = { '>': '<=', '>=': '<', '<': '>=', '<=': '>' };
const isUp = (comparison: Comparison) => comparison === '>' || comparison === '>=';

const limit = ({ metric, comparison, value }: Limit) => `${metricWord(metric)} ${comparison} ${value}`;

/** The expressions of a level of the sentence, as far as it can be read. */
export function expressionOf(draft: Pick<Draft, 'metric' | 'comparison'>, level: LevelDraft): { when: string; clear: string } {
  const metric = draft.metric.trim();
  const value = readNumber(level.threshold);
  const clear = readNumber(level.clear);
  return {
    when: metric === '' || value === null ? '' : limit({ metric, comparison: draft.comparison, value }),
    clear: metric === '' || clear === null ? '' : limit({ metric, comparison: clearsAt(draft.comparison, level), value: clear }),
  };
}

function clearsAt(comparison: Comparison, { clearsAt: chosen }: LevelDraft): Comparison {
  return chosen !== null && isUp(chosen) !== isUp(comparison) ? chosen : QUIET[comparison];
}

function readLevels(draft: Draft, wrong: Mistakes): LevelRequest[] {
  const expression = draft.mode === 'expression';
  if (!expression && draft.metric.trim() === '') wrong.metric = 'required';
  return draft.levels.map((level, index) => {
    const at = `levels[${index}]`;
    if (expression) {
      if (level.when.trim() === '') wrong[`${at}.when`] = 'required';
      return { severity: level.severity, when: level.when.trim(), clear: level.clearWhen.trim() || null };
    }
    const threshold = readNumber(level.threshold);
    const clear = level.clear.trim() === '' ? threshold : readNumber(level.clear);
    if (threshold === null) wrong[`${at}.when`] = level.threshold.trim() === '' ? 'required' : 'number';
    if (clear === null && threshold !== null) wrong[`${at}.clear`] = 'number';
    // On the loud side it would never stop.
    else if (threshold !== null && clear !== null && (isUp(draft.comparison) ? clear > threshold : clear < threshold)) wrong[`${at}.clear`] = 'quiet_side';
    const { when, clear: clears } = expressionOf(draft, level);
    return { severity: level.severity, when, clear: clears === '' ? null : clears };
  });
}

/** `team=kitchen, site=north`; null if it is not that. */
export function readLabels(text: string): Record<string, string> | null {
  const pairs = text.split(',').map((pair) => pair.trim()).filter((pair) => pair !== '');
  const found = pairs.map((pair) => /^([A-Za-z0-9_.-]+)\s*[=:]\s*(.+)$/.exec(pair));
  return found.includes(null) ? null : Object.fromEntries(found.map((pair) => [pair?.[1] ?? '', pair?.[2] ?? '']));
}

const RECIPIENT = /^(everyone|role:(admin|operator|viewer)|user:.+)$/;

/** `everyone`, `role:admin`, `user:kim`, or a user's name alone. */
export function readRecipients(text: string): string[] {
  return words(text).map((one) => (RECIPIENT.test(one) || one.includes(':') ? one : `user:${one}`));
}

export function read(draft: Draft): { rule: RuleRequest } | { wrong: Mistakes } {
  const wrong: Mistakes = {};
  /** Undefined when nothing was typed: the default holds. */
  const time = (field: string, text: string, minS = 0, maxS = DAY_S): string | undefined => {
    if (text.trim() === '') return undefined;
    const found = seconds(text);
    if (found === null || found < minS || found > maxS) wrong[field] = 'duration';
    return found === null ? '' : asApi(found);
  };
  if (draft.name.trim() === '') wrong.name = 'required';
  const scope = readScope(draft);
  if (scope === null) wrong.scope = draft.scopeKind === 'tag' && draft.scopeValue.trim() !== '' ? 'tag' : 'required';
  const levels = readLevels(draft, wrong);
  const count = draft.holding === 'count' ? { at_least: Number(draft.atLeast), of: Number(draft.of) } : null;
  const whole = count === null || (Number.isInteger(count.at_least) && Number.isInteger(count.of));
  if (count !== null && (!whole || count.at_least < 1 || count.at_least > count.of || count.of > 64)) wrong.count = 'count';
  const labels = readLabels(draft.labels);
  if (labels === null) wrong.labels = 'label';
  const runbook = draft.runbook.trim();
  if (runbook !== '' && !/^https?:\/\/\S+$/.test(runbook)) wrong.runbook = 'url';
  for (const [index, window] of draft.windows.entries()) {
    if (!draft.scheduled) continue;
    const clock = /^([01]\d|2[0-3]):[0-5]\d$|^24:00$/;
    if (window.days.length === 0 || !clock.test(window.from) || !clock.test(window.to)) wrong[`schedule.windows[${index}]`] = 'time';
  }
  const to = readRecipients(draft.to);
  const recipients = (field: string, text: string, found: readonly string[]) => {
    if (found.some((one) => !RECIPIENT.test(one)) || (text.trim() === '' && field !== 'notify.to')) wrong[field] = 'to';
  };
  recipients('notify.to', draft.to, to);
  const escalation = draft.escalation.map((step, index): Escalation => {
    const at = `notify.escalation[${index}]`;
    const found = readRecipients(step.to);
    recipients(`${at}.to`, step.to, found);
    const times = Number(step.times);
    if (!Number.isInteger(times) || times < 1) wrong[`${at}.times`] = 'whole';
    const after = time(`${at}.after`, step.after, 1, 7 * DAY_S) ?? '';
    if (after === '') wrong[`${at}.after`] = 'required';
    return { after, to: found, times, every: time(`${at}.every`, step.every, 1, DAY_S) ?? '10m' };
  });
  const notify = {
    group_by: draft.groupBy.trim() === '' ? undefined : words(draft.groupBy),
    wait: time('notify.wait', draft.wait),
    interval: time('notify.interval', draft.interval),
    repeat: time('notify.repeat', draft.repeat, 0, 30 * DAY_S),
    resolved: draft.resolved,
    to: to.length === 0 ? undefined : to,
    ack_timeout: time('notify.ack_timeout', draft.ackTimeout, 0, 7 * DAY_S) ?? null,
    escalation,
  };
  const rule = {
    name: draft.name.trim(),
    enabled: draft.enabled,
    scope: scope ?? { all: true },
    levels,
    // One of the two: with a count there is no time.
    for: count === null ? (time('for', draft.hold) ?? '0s') : undefined,
    count,
    keep_firing_for: time('keep_firing_for', draft.keep) ?? '0s',
    mode: draft.samples,
    staleness: time('staleness', draft.staleness, 1, 30 * DAY_S),
    lateness: time('lateness', draft.lateness, 0, 600) ?? '0s',
    no_data:
      draft.noData === 'off'
        ? null
        : {
            after: time('no_data.after', draft.noDataAfter, 1, 30 * DAY_S) ?? '300s',
            then: draft.noData,
            ...(draft.noData === 'fire' ? { severity: draft.noDataSeverity } : {}),
          },
    flapping: draft.flapping,
    schedule: draft.scheduled ? { zone: draft.zone.trim() || 'UTC', windows: draft.windows } : null,
    reopen_window: time('reopen_window', draft.reopen),
    labels: labels ?? {},
    message: draft.message.trim(),
    runbook,
    notify,
  };
  // What is undefined is not sent, and has the default.
  return Object.keys(wrong).length > 0 ? { wrong } : { rule: JSON.parse(JSON.stringify(rule)) as RuleRequest };
}

function draftScope(scope: Scope): [ScopeKind, string] {
  if ('tag' in scope) return ['tag', scope.tag];
  if ('group' in scope) return ['group', scope.group];
  if ('profile' in scope) return ['profile', scope.profile];
  if ('devices' in scope) return ['devices', scope.devices.join(', ')];
  return 'device' in scope ? ['devices', scope.device] : ['all', ''];
}

/** The metric and comparison that all levels share, if the rule can be said as a sentence. */
export function sentenceOf({ levels }: Pick<Rule, 'levels'>): { metric: string; comparison: Comparison } | null {
  const first = levels[0]?.threshold;
  if (!first) return null;
  const simple = levels.every(
    ({ threshold, clear, clear_threshold }) =>
      threshold?.metric === first.metric &&
      threshold.comparison === first.comparison &&
      (clear === null || (clear_threshold?.metric === first.metric && isUp(clear_threshold.comparison) !== isUp(first.comparison))),
  );
  return simple ? { metric: first.metric, comparison: first.comparison } : null;
}

/** The draft of a rule that exists. */
export function draftOf(rule: Rule): Draft {
  const [scopeKind, scopeValue] = draftScope(rule.scope);
  const sentence = sentenceOf(rule);
  const blank = empty();
  const { notify } = rule;
  return {
    ...blank,
    name: rule.name,
    enabled: rule.enabled,
    scopeKind,
    scopeValue,
    mode: sentence === null ? 'expression' : 'sentence',
    metric: sentence?.metric ?? '',
    comparison: sentence?.comparison ?? '>',
    levels: rule.levels.map(({ severity, when, clear, threshold, clear_threshold }) => ({
      severity,
      threshold: threshold === null ? '' : String(threshold.value),
      clear: clear_threshold === null ? '' : String(clear_threshold.value),
      clearsAt: clear_threshold?.comparison ?? null,
      when,
      clearWhen: clear ?? '',
    })),
    holding: rule.count == null ? 'for' : 'count',
    hold: rule.count === null ? inWords(rule.for ?? '') : '',
    atLeast: String(rule.count?.at_least ?? blank.atLeast),
    of: String(rule.count?.of ?? blank.of),
    keep: inWords(rule.keep_firing_for),
    samples: rule.mode,
    staleness: inWords(rule.staleness ?? ''),
    lateness: inWords(rule.lateness),
    noData: rule.no_data?.then ?? 'off',
    noDataAfter: rule.no_data == null ? blank.noDataAfter : inWords(rule.no_data.after),
    noDataSeverity: rule.no_data?.severity ?? 'warning',
    flapping: rule.flapping,
    scheduled: rule.schedule != null,
    zone: rule.schedule?.zone ?? blank.zone,
    windows: rule.schedule?.windows.map((window) => ({ ...window, days: [...window.days] })) ?? blank.windows,
    reopen: inWords(rule.reopen_window),
    labels: Object.entries(rule.labels).map(([key, value]) => `${key}=${value}`).join(', '),
    message: rule.message,
    runbook: rule.runbook ?? '',
    groupBy: notify.group_by.join(', '),
    wait: inWords(notify.wait),
    interval: inWords(notify.interval),
    repeat: inWords(notify.repeat ?? ''),
    resolved: notify.resolved,
    to: notify.to.join(', '),
    ackTimeout: inWords(notify.ack_timeout ?? ''),
    escalation: (notify.escalation ?? []).map((step) => ({
      after: inWords(step.after),
      to: step.to.join(', '),
      times: String(step.times),
      every: inWords(step.every),
    })),
  };
}

const FIELDS: readonly (keyof RuleFields)[] = [
  'name',
  'enabled',
  'scope',
  'for',
  'count',
  'keep_firing_for',
  'mode',
  'staleness',
  'lateness',
  'no_data',
  'flapping',
  'schedule',
  'reopen_window',
  'labels',
  'message',
  'runbook',
  'notify',
];

/** What people said of a rule, without what the server adds. Of a version, what is empty may be missing. */
export function fieldsOf(rule: Rule): RuleFields & { levels: LevelRequest[] } {
  const fields = Object.fromEntries(FIELDS.map((field) => [field, rule[field] ?? null])) as unknown as RuleFields;
  return {
    ...fields,
    labels: rule.labels ?? {},
    message: rule.message ?? '',
    runbook: rule.runbook ?? '',
    levels: rule.levels.map(({ severity, when, clear }) => ({ severity, when, clear: clear ?? null })),
  };
}

const NOTIFY: readonly string[] = ['group_by', 'wait', 'interval', 'repeat', 'resolved', 'to', 'ack_timeout', 'escalation'];

/** With what the stored rule says of telling people beyond what the form knows. */
export function keeping(rule: RuleRequest, stored: Rule): RuleRequest {
  const others = Object.entries(stored.notify).filter(([name]) => !NOTIFY.includes(name));
  return { ...rule, notify: { ...Object.fromEntries(others), ...rule.notify } };
}
