/** Axes, thresholds and bands of charts. */

import { describe, expect, it } from 'vitest';
import type { BacktestSpan, Rule } from '../../web/src/api/types';
import { timeTicks, valueRange, valueTicks } from '../../web/src/charts/axes';
import { bandsOf, bandsWithin, type Marks, marksOf, type Threshold, withThresholds } from '../../web/src/charts/marks';
import type { AlertView } from '../../web/src/live/alerts';

describe('axes', () => {
  it('labels of time are whole and as far apart as they are wide', () => {
    const { at, step } = timeTicks(1_700_000_003, 1_700_000_303, 280, 50);
    expect(step).toBe(60);
    expect(at.every((time) => time % 60 === 0)).toBe(true);
    expect(at[0]).toBeGreaterThanOrEqual(1_700_000_003);
    expect(at.at(-1)).toBeLessThanOrEqual(1_700_000_303);
  });

  it('days are those of the calendar', () => {
    const { at, step } = timeTicks(1_700_000_000, 1_700_000_000 + 7 * 86_400, 280, 30);
    expect(step).toBe(86_400);
    expect(at).toHaveLength(7);
    for (const time of at) expect(new Date(time * 1000).getHours()).toBe(0);
  });

  it.each([
    [4.08, 4.32, 100],
    [-20, 5, 130],
    [0, 1e-6, 130],
    [1e9, 1e9 + 3, 130],
    [-0.3, 0.1, 200],
  ])('values from %d to %d have a few round labels inside', (low, high, height) => {
    const ticks = valueTicks(low, high, height);
    expect(ticks.length).toBeGreaterThanOrEqual(2);
    expect(ticks.length).toBeLessThanOrEqual(1 + height / 20);
    const slack = (high - low) * 1e-5;
    for (const tick of ticks) {
      expect(tick).toBeGreaterThanOrEqual(low - slack);
      expect(tick).toBeLessThanOrEqual(high + slack);
      expect(String(tick).length).toBeLessThan(14);
    }
  });

  it('a range has space around its values, and none below zero for values that have none there', () => {
    const [low, high] = valueRange(10, 20);
    expect(low).toBeLessThan(10);
    expect(high).toBeGreaterThan(20);
    expect(valueRange(0.1, 20)[0]).toBe(0);
    expect(valueRange(-20, -0.1)[1]).toBe(0);
    expect(valueRange(0, 0)).toEqual([0, 1]);
    expect(valueRange(7, 7)[1]).toBeGreaterThan(7);
  });
});

const threshold = (value: number): Threshold => ({ rule: 'r', name: 'R', severity: 'warning', comparison: '>', value, clear: null });
const of = (...values: number[]): Marks => ({ thresholds: values.map(threshold), bands: [] });

describe('marks', () => {
  it('the axis reaches to a threshold that is near, and not to one that would flatten the line', () => {
    expect(withThresholds(10, 20, of(25))).toEqual([10, 25]);
    expect(withThresholds(10, 20, of(-400))).toEqual([10, 20]);
    expect(withThresholds(10, 20, of(5, 28))).toEqual([5, 28]);
    expect(withThresholds(10, 20, { ...of(-400), always: true })).toEqual([-400, 20]);
  });

  it('a chart has the rules of its metric and the alerts of its device, oldest first', () => {
    const level = (severity: string, metric: string, value: number, clear: number | null) => ({
      severity,
      threshold: { metric, comparison: '>', value },
      clear_threshold: clear === null ? null : { metric, comparison: '<', value: clear },
    });
    const rules = [
      { id: 'a', enabled: true, levels: [level('warning', 't', 1, 1), level('critical', 't', 5, 4)] },
      { id: 'b', enabled: true, levels: [level('warning', 'u', 1, 1)] },
      { id: 'c', enabled: false, levels: [level('warning', 't', 1, 1)] },
      { id: 'd', enabled: true, levels: [{ severity: 'info', when: 't > u', clear: null, threshold: null, clear_threshold: null }, level('critical', 't', 2, 1)] },
    ] as unknown as Rule[];
    const alert = (id: string, device: string, fired: string, resolved: string | null) =>
      ({ id, device, metric: 't', severity: 'critical', fired, resolved }) as AlertView;
    const marks = marksOf('d1', 't', rules, [
      alert('2', 'd1', '2026-11-21T10:00:00Z', null),
      alert('1', 'd1', '2026-11-21T09:00:00Z', '2026-11-21T09:10:00Z'),
      alert('3', 'd2', '2026-11-21T09:00:00Z', null),
    ]);
    expect(marks.thresholds.map((one) => [one.rule, one.severity, one.value, one.clear])).toEqual([
      ['a', 'warning', 1, null],
      ['a', 'critical', 5, 4],
      ['d', 'critical', 2, 1],
    ]);
    expect(marks.bands.map((one) => one.alert)).toEqual(['1', '2']);
    const at = (time: string) => Date.parse(time) / 1000;
    expect(bandsWithin(marks.bands, at('2026-11-21T09:05:00Z'), at('2026-11-21T09:30:00Z')).map((one) => one.alert)).toEqual(['1']);
    // One that goes on reaches to the end of every later view.
    expect(bandsWithin(marks.bands, at('2026-11-21T12:00:00Z'), at('2026-11-21T13:00:00Z')).map((one) => one.alert)).toEqual(['2']);
  });

  it('spans of a backtest become bands, oldest first, and one that goes on stays open', () => {
    const span = (from: string, to: string | null, kind = 'condition') => ({ from, to, severity: 'warning', kind }) as BacktestSpan;
    const bands = bandsOf([
      span('2026-11-21T10:00:00Z', null, 'no_data'),
      span('2026-11-21T09:00:00Z', '2026-11-21T09:30:00Z'),
      span('soon', null),
      span('2026-11-21T09:00:00Z', '2026-11-21T08:00:00Z'),
    ]);
    expect(bands.map(({ alert, kind, from, to }) => [alert, kind, to === null ? null : to - from])).toEqual([
      [null, 'condition', 1_800],
      [null, 'no_data', null],
    ]);
  });
});
