/** What a backtest says, in words; and how two of them compare. */

import type { BacktestOutcome, BacktestResult } from '../../api/types';
import { formatCount, type TextKey } from '../../i18n';

export type Words = [TextKey, Record<string, string | number>];

/** A rule that fires more often is asked about before it is saved. */
export const NOISY_PER_DAY = 20;

const digits = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

/** "fires about 3× a day"; what is rarer than daily is told per week, what is rarer than that by its count. */
export function rateWords({ alerts, alerts_per_day: perDay }: Pick<BacktestOutcome, 'alerts' | 'alerts_per_day'>): Words {
  if (alerts === 0) return ['backtest.never', {}];
  if (perDay >= 48) return ['backtest.per_hour', { rate: digits.format(perDay / 24) }];
  if (perDay >= 0.95) return ['backtest.per_day', { rate: digits.format(perDay) }];
  if (perDay * 7 >= 0.95) return ['backtest.per_week', { rate: digits.format(perDay * 7) }];
  return ['backtest.rarely', { count: alerts }];
}

/** "would fire on 12 devices now"; and on how many more it waits for its time. */
export function nowWords({ now, devices }: Pick<BacktestResult, 'now' | 'devices'>): Words[] {
  if (devices === 0) return [];
  const words: Words[] = [['backtest.now', { count: now.firing }]];
  if (now.pending > 0) words.push(['backtest.now_pending', { count: now.pending }]);
  if (now.stale > 0) words.push(['backtest.now_stale', { count: now.stale }]);
  return words;
}

/** Counts are told whole, rates with two digits. */
export function figure(rate: number): string {
  if (Number.isInteger(rate)) return formatCount(rate);
  return rate > 0 && rate < 0.1 ? '< 0.1' : digits.format(rate);
}

export interface Row {
  what: TextKey;
  candidate: number;
  current: number | null;
}

/** The numbers of the draft beside those of the stored version. */
export function comparison({ candidate, current }: Pick<BacktestResult, 'candidate' | 'current'>): Row[] {
  const row = (what: TextKey, number: (outcome: BacktestOutcome) => number): Row => ({
    what,
    candidate: number(candidate),
    current: current === null ? null : number(current),
  });
  return [
    row('backtest.alerts', (one) => one.alerts),
    row('backtest.a_day', (one) => one.alerts_per_day),
    row('backtest.firing_h', (one) => one.firing_s / 3_600),
    row('backtest.devices', (one) => one.by_device.length),
    row('backtest.flapping', (one) => one.flapping),
    row('backtest.messages', (one) => one.notifications.total),
  ];
}

export function isNoisy(result: BacktestResult | null): boolean {
  return result !== null && result.candidate.alerts_per_day > NOISY_PER_DAY;
}
