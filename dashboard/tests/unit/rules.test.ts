/** The rule editor: what is typed and what the API takes, versions, mistakes, and what a backtest says. */

import { describe, expect, it } from 'vitest';
import type { BacktestOutcome, BacktestResult, Rule, RuleRequest } from '../../web/src/api/types';
import { comparison, figure, isNoisy, nowWords, rateWords } from '../../web/src/pages/rules/backtest';
import { asApi, inWords } from '../../web/src/pages/rules/duration';
import { type Draft, draftOf, empty, expressionOf, fieldsOf, holds, keeping, metricWord, newLevel, read, readLabels, readRecipients, readScope, sentenceOf } from '../../web/src/pages/rules/form';
import { differences, mergePatch, same } from '../../web/src/pages/rules/patch';
import { byControl, controlOf, pointed } from '../../web/src/pages/rules/wrong';

const rule: Rule = {
  id: 'cold-room-warm',
  name: 'Cold room too warm',
  enabled: true,
  scope: { tag: 'kind:cold-room' },
  levels: [
    {
      severity: 'warning',
      when: 'temperature > -12',
      clear: 'temperature < -15',
      threshold: { metric: 'temperature', comparison: '>', value: -12 },
      clear_threshold: { metric: 'temperature', comparison: '<', value: -15 },
    },
    { severity: 'critical', when: 'temperature > -8', clear: null, threshold: { metric: 'temperature', comparison: '>', value: -8 }, clear_threshold: null },
  ],
  metrics: ['temperature'],
  for: '30s',
  count: null,
  keep_firing_for: '0s',
  mode: 'sampled',
  staleness: '15m',
  lateness: '0s',
  no_data: { after: '5m', then: 'fire', severity: 'warning' },
  flapping: true,
  schedule: { zone: 'Europe/Berlin', windows: [{ days: ['mon', 'tue'], from: '08:00', to: '18:00' }] },
  reopen_window: '5m',
  labels: { team: 'kitchen' },
  message: '{{ device.name }} is warm.',
  runbook: 'https://wiki.example/cold-rooms',
  notify: {
    group_by: ['rule'],
    wait: '10s',
    interval: '1m',
    repeat: '4h',
    resolved: true,
    to: ['everyone'],
    ack_timeout: null,
    escalation: [{ after: '15m', to: ['role:admin'], times: 3, every: '10m' }],
  },
  version: 3,
  created: '2026-11-21T09:00:00Z',
  updated: '2026-11-21T09:00:00Z',
  updated_by: 'kim',
  devices: 10,
  firing: 1,
  pending: 2,
  stale: 0,
};

const request = (draft: Draft) => (read(draft) as { rule: RuleRequest }).rule;
const wrong = (draft: Draft) => (read(draft) as { wrong: Record<string, string> }).wrong;
const draft = (change: Partial<Draft> = {}): Draft => ({
  ...empty(),
  name: 'Warm',
  metric: 'temperature',
  levels: [{ ...newLevel('warning'), threshold: '-12', clear: '-15' }],
  scopeKind: 'tag',
  scopeValue: 'kind=cold-room',
  ...change,
});

describe('a rule that exists', () => {
  it('is opened and saved as it was', () => {
    expect(mergePatch({ ...fieldsOf(rule) }, { ...request(draftOf(rule)) })).toEqual({});
  });

  it.each([{ all: true }, { tag: 'a:b' }, { group: 'pumps' }, { profile: 'p' }, { device: 'd' }, { devices: ['d', 'e'] }] as const)('of scope %o, too', (scope) => {
    expect(request(draftOf({ ...rule, scope })).scope).toEqual(scope);
  });

  it('keeps what the form does not know, and a version without its empty fields is no difference', () => {
    const stored = { ...rule, notify: { ...rule.notify, stale: true } };
    expect(mergePatch({ ...fieldsOf(stored) }, { ...keeping(request(draftOf(stored)), stored) })).toEqual({});
    const { labels: _, schedule: __, ...bare } = { ...rule, labels: {}, schedule: null };
    const sparse = JSON.parse(JSON.stringify(bare)) as Rule;
    expect(differences(fieldsOf(sparse), fieldsOf({ ...rule, labels: {}, schedule: null }))).toEqual([]);
  });

  it('as a count of samples has no time', () => {
    const counted = { ...rule, for: null, count: { at_least: 3, of: 5 } };
    expect(request(draftOf(counted))).toMatchObject({ count: { at_least: 3, of: 5 } });
    expect(request(draftOf(counted))).not.toHaveProperty('for');
  });

  it('is a sentence only if each level compares one metric with a number, the same way', () => {
    const [first, second] = rule.levels as [Rule['levels'][number], Rule['levels'][number]];
    expect(sentenceOf(rule)).toEqual({ metric: 'temperature', comparison: '>' });
    const other = { ...second, when: 'temperature > -8 && !defrost', threshold: null };
    expect(sentenceOf({ levels: [first, other] })).toBeNull();
    expect(sentenceOf({ levels: [{ ...first, clear: '!defrost', clear_threshold: null }] })).toBeNull();
    expect(sentenceOf({ levels: [first, { ...second, threshold: { metric: 'temperature', comparison: '<', value: 1 } }] })).toBeNull();
    const kept = draftOf({ ...rule, levels: [first, other] });
    expect(kept.mode).toBe('expression');
    expect(request(kept).levels?.[1]).toEqual({ severity: 'critical', when: 'temperature > -8 && !defrost', clear: null });
  });
});

describe('a sentence', () => {
  it('becomes a rule, with the server deciding what is empty', () => {
    const made = request(draft());
    expect(made).toMatchObject({
      name: 'Warm',
      scope: { tag: 'kind:cold-room' },
      levels: [{ severity: 'warning', when: 'temperature > -12', clear: 'temperature <= -15' }],
      for: '30s',
      count: null,
      no_data: null,
      schedule: null,
      labels: {},
    });
    expect(made).not.toHaveProperty('staleness');
    expect(made.notify).not.toHaveProperty('wait');
  });

  it('has a level for each threshold', () => {
    const levels = [
      { ...newLevel('warning'), threshold: '30' },
      { ...newLevel('critical'), threshold: '40,5', clear: '38' },
    ];
    expect(request(draft({ comparison: '>=', levels })).levels).toEqual([
      { severity: 'warning', when: 'temperature >= 30', clear: null },
      { severity: 'critical', when: 'temperature >= 40.5', clear: 'temperature < 38' },
    ]);
  });

  it('names of metrics are quoted where they are no words', () => {
    expect(['temp', 'a.b:c', 'room temp', 'x`y', 'not', '1st'].map(metricWord)).toEqual(['temp', 'a.b:c', '`room temp`', '`x``y`', '`not`', '`1st`']);
  });

  it('is read as far as it goes when it becomes an expression', () => {
    expect(expressionOf({ metric: 'a', comparison: '<' }, { ...newLevel('info'), threshold: '1', clear: '2' })).toEqual({ when: 'a < 1', clear: 'a >= 2' });
    expect(expressionOf({ metric: 'a', comparison: '<' }, newLevel('info'))).toEqual({ when: '', clear: '' });
  });
});

describe('mistakes', () => {
  it('are told all at once, by the paths of the API', () => {
    expect(wrong({ ...empty(), hold: 'long', scopeKind: 'group', levels: [{ ...newLevel('info'), threshold: 'hot' }] })).toEqual({
      name: 'required',
      metric: 'required',
      'levels[0].when': 'number',
      for: 'duration',
      scope: 'required',
    });
  });

  it.each([
    [{ levels: [{ ...newLevel('info'), threshold: '-12', clear: '-10' }] }, { 'levels[0].clear': 'quiet_side' }],
    [{ comparison: '<', levels: [{ ...newLevel('info'), threshold: '-12', clear: '-15' }] }, { 'levels[0].clear': 'quiet_side' }],
    [{ hold: '25 h' }, { for: 'duration' }],
    [{ scopeValue: 'cold' }, { scope: 'tag' }],
    [{ holding: 'count', atLeast: '6', of: '5' }, { count: 'count' }],
    [{ holding: 'count', atLeast: '1.5', of: '5' }, { count: 'count' }],
    [{ lateness: '11 min' }, { lateness: 'duration' }],
    [{ labels: 'kitchen' }, { labels: 'label' }],
    [{ runbook: 'javascript:alert(1)' }, { runbook: 'url' }],
    [{ to: 'group:x' }, { 'notify.to': 'to' }],
    [{ escalation: [{ after: '', to: '', times: '0', every: '' }] }, { 'notify.escalation[0].after': 'required', 'notify.escalation[0].to': 'to', 'notify.escalation[0].times': 'whole' }],
    [{ scheduled: true, windows: [{ days: [], from: '08:00', to: '18:00' }] }, { 'schedule.windows[0]': 'time' }],
    [{ mode: 'expression' }, { 'levels[0].when': 'required' }],
  ] as [Partial<Draft>, object][])('%o', (change, expected) => {
    expect(wrong(draft(change))).toEqual(expected);
  });

  it('of the server are shown at the nearest control', () => {
    const controls = ['scope', 'levels', 'levels[0].when', 'notify.escalation[0].to'];
    expect(controlOf('scope.tag', controls)).toBe('scope');
    expect(controlOf('levels[0].when', controls)).toBe('levels[0].when');
    expect(controlOf('levels[2].when', controls)).toBe('levels');
    expect(controlOf('notify.escalation[0].to[1]', controls)).toBe('notify.escalation[0].to');
    expect(controlOf('body', controls)).toBeNull();
    const problem = { text: 'no', at: [0, 1] as const };
    expect(byControl([{ field: 'scope.tag', ...problem }, { field: 'body', ...problem }], controls)).toEqual({ wrong: { scope: problem }, rest: ['no'] });
  });

  it('in an expression are pointed at, in bytes as the server counts', () => {
    expect(pointed('temp > x', [7, 8])).toMatchObject({ before: 'temp > ', bad: 'x', after: '', from: 7, to: 8 });
    // Five letters, six bytes.
    expect(pointed('`wärm` > x', [10, 11])).toMatchObject({ bad: 'x', from: 9 });
    expect(pointed('a > 1 &&\n b => 2\n|| c', [12, 14])).toMatchObject({ before: ' b ', bad: '=>', after: ' 2' });
    expect(pointed('a >', [3, 3])).toMatchObject({ before: 'a >', bad: '', after: '' });
    expect(pointed('a', [90, 99])).toMatchObject({ before: 'a', bad: '' });
  });
});

it('small parts', () => {
  expect([holds(1, '>', 1), holds(1, '>=', 1), holds(1, '<', 1), holds(Number.NaN, '<=', 1)]).toEqual([false, true, false, false]);
  expect(readScope({ scopeKind: 'devices', scopeValue: ' a, b  c ' })).toEqual({ devices: ['a', 'b', 'c'] });
  expect(readLabels('team=kitchen, a : b c')).toEqual({ team: 'kitchen', a: 'b c' });
  expect(readRecipients('kim, role:admin everyone')).toEqual(['user:kim', 'role:admin', 'everyone']);
  expect(['30s', '5m', '4h', '90s', '0s', '15m', '48h', 'soon'].map(inWords)).toEqual(['30 s', '5 min', '4 h', '90 s', '0 s', '15 min', '2 d', 'soon']);
  expect([30, 300, 14_400, 90, 0, 172_800].map(asApi)).toEqual(['30s', '5m', '4h', '90s', '0s', '2d']);
});

describe('a merge patch', () => {
  it('says what is gone as null and leaves out what stays', () => {
    expect(mergePatch({ a: 1, scope: { tag: 'x:y' }, labels: { a: '1', b: '2' } }, { a: 1, scope: { group: 'g' }, labels: { a: '1' } })).toEqual({
      scope: { tag: null, group: 'g' },
      labels: { b: null },
    });
    // Half of a schedule says nothing.
    expect(mergePatch({ schedule: { zone: 'UTC', windows: [1] } }, { schedule: { zone: 'Europe/Berlin', windows: [1] } })).toEqual({ schedule: { zone: 'Europe/Berlin', windows: [1] } });
    expect(mergePatch({ for: '30s', count: null }, { count: { at_least: 1, of: 2 } })).toEqual({ for: null, count: { at_least: 1, of: 2 } });
    expect(mergePatch({ list: [1, { a: 1 }] }, { list: [1, { a: 1 }] })).toEqual({});
    expect(same({ a: null }, {})).toBe(true);
  });

  it('is told to people field by field', () => {
    const after = structuredClone(rule);
    (after.levels[0] as { when: string }).when = 'temperature > -10';
    after.labels = {};
    after.notify.to = ['role:admin', 'user:kim'];
    expect(differences(fieldsOf(rule), fieldsOf(after))).toEqual([
      { field: 'labels.team', before: 'kitchen', after: null },
      { field: 'notify.to', before: 'everyone', after: 'role:admin, user:kim' },
      { field: 'levels[0].when', before: 'temperature > -12', after: 'temperature > -10' },
    ]);
    const fewer = { ...rule, levels: rule.levels.slice(0, 1) };
    expect(differences(fieldsOf(rule), fieldsOf(fewer))).toEqual([{ field: 'levels[1]', before: 'severity: critical, when: temperature > -8', after: null }]);
  });
});

describe('a backtest in words', () => {
  const outcome = (alerts: number, alerts_per_day: number): BacktestOutcome => ({
    alerts,
    alerts_per_day,
    firing_s: 5_400,
    flapping: 1,
    by_device: [],
    spans_cut: false,
    notifications: { total: 44, per_person: [] },
  });
  it.each([
    [0, 0, 'backtest.never', undefined],
    [21, 3, 'backtest.per_day', '3'],
    [7, 1, 'backtest.per_day', '1'],
    [2, 2 / 7, 'backtest.per_week', '2'],
    [1, 1 / 30, 'backtest.rarely', undefined],
    [960, 96, 'backtest.per_hour', '4'],
    [88, 12.571, 'backtest.per_day', '13'],
  ])('%d alerts, %d a day: %s', (alerts, perDay, key, rate) => {
    const [found, values] = rateWords(outcome(alerts, perDay));
    expect(found).toBe(key);
    expect(values.rate).toBe(rate);
  });

  it('what it would do now, and how it compares', () => {
    expect(nowWords({ devices: 12, now: { firing: 2, pending: 1, stale: 0 } })).toEqual([
      ['backtest.now', { count: 2 }],
      ['backtest.now_pending', { count: 1 }],
    ]);
    expect(nowWords({ devices: 0, now: { firing: 0, pending: 0, stale: 0 } })).toEqual([]);
    const rows = comparison({ candidate: outcome(3, 3), current: outcome(21, 21) });
    expect(rows.find((row) => row.what === 'backtest.alerts')).toMatchObject({ candidate: 3, current: 21 });
    expect(rows.find((row) => row.what === 'backtest.firing_h')?.candidate).toBe(1.5);
    expect(comparison({ candidate: outcome(3, 3), current: null }).every((row) => row.current === null)).toBe(true);
    expect([figure(0), figure(1_234), figure(0.04), figure(3.14)]).toEqual(['0', '1,234', '< 0.1', '3.1']);
  });

  it('more than twenty a day is asked about', () => {
    const result = (perDay: number) => ({ candidate: outcome(1, perDay) }) as BacktestResult;
    expect([isNoisy(null), isNoisy(result(20)), isNoisy(result(20.1))]).toEqual([false, false, true]);
  });
});
