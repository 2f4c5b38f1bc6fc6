/** Thresholds of rules and spans of alerts, as a chart shows them. */

import type { BacktestSpan, Rule } from '../api/types';
import type { AlertView } from '../live/alerts';
import type { AlertKind, Comparison, Severity } from '../live/frame';

export interface Threshold {
  rule: string;
  name: string;
  severity: Severity;
  comparison: Comparison;
  value: number;
  /** Null when it is the threshold itself. */
  clear: number | null;
}

export interface Band {
  /** Null: it is none, but would have been. */
  alert: string | null;
  severity: Severity;
  kind: AlertKind;
  /** Seconds since the Unix epoch. */
  from: number;
  /** Null: it goes on. */
  to: number | null;
}

export interface Marks {
  thresholds: readonly Threshold[];
  /** Oldest first. */
  bands: readonly Band[];
  /** The thresholds are what the chart is about: they are in sight at any distance. */
  always?: boolean;
}

export const NO_MARKS: Marks = { thresholds: [], bands: [] };

/** Most bands of one chart; a rule that flaps would otherwise cost more to draw than the values. */
const BANDS_MAX = 100;

type Limits = Pick<Rule, 'id' | 'name' | 'levels'>;

/** The lines of a rule on the chart of a metric, one for each level that is a threshold of it. */
export function thresholdsOf(metric: string, rule: Limits): Threshold[] {
  return rule.levels.flatMap(({ severity, threshold, clear_threshold }) =>
    threshold?.metric !== metric
      ? []
      : [
          {
            rule: rule.id,
            name: rule.name,
            severity,
            comparison: threshold.comparison,
            value: threshold.value,
            clear: clear_threshold?.metric === metric && clear_threshold.value !== threshold.value ? clear_threshold.value : null,
          },
        ],
  );
}

export function marksOf(
  device: string,
  metric: string,
  rules: readonly (Limits & { enabled: boolean })[],
  alerts: readonly AlertView[],
  always = false,
): Marks {
  return {
    always,
    thresholds: rules.filter((rule) => rule.enabled).flatMap((rule) => thresholdsOf(metric, rule)),
    bands: alerts
      .filter((alert) => alert.device === device && alert.metric === metric)
      .map((alert) => ({
        alert: alert.id,
        severity: alert.severity,
        kind: alert.kind,
        from: Date.parse(alert.fired) / 1000,
        to: alert.resolved === null ? null : Date.parse(alert.resolved) / 1000,
      }))
      .sort((a, b) => a.from - b.from)
      .slice(-BANDS_MAX),
  };
}

/** Where a backtest says that the rule would have fired. */
export function bandsOf(spans: readonly BacktestSpan[]): Band[] {
  return spans
    .map(({ from, to, severity, kind }) => ({
      alert: null,
      severity,
      kind,
      from: Date.parse(from) / 1000,
      to: to === null ? null : Date.parse(to) / 1000,
    }))
    .filter((band) => Number.isFinite(band.from) && (band.to === null || band.to >= band.from))
    .sort((a, b) => a.from - b.from);
}

/** The bands that touch a stretch of time. */
export function bandsWithin(bands: readonly Band[], from: number, to: number): Band[] {
  return bands.filter((band) => band.from <= to && (band.to ?? to) >= from);
}

/**
 * Widens the range of the values to the thresholds that are near. One that is further away than the values are tall
 * would flatten them to a line, and says little: it is named in the legend only.
 */
export function withThresholds(min: number, max: number, { thresholds, always }: Marks): [number, number] {
  const reach = always ? Number.POSITIVE_INFINITY : max - min;
  const near = thresholds.map((one) => one.value).filter((value) => value >= min - reach && value <= max + reach);
  return [Math.min(min, ...near), Math.max(max, ...near)];
}
