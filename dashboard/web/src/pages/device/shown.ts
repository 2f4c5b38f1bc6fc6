/** Which metrics of a device have a chart: as the address says, or else the first of them. */

import type { MetricType } from '../../live/frame';
import { packList, unpackList } from '../devices/listparam';

/** Without a choice so many are drawn; a device with hundreds of metrics is not a page of hundreds of charts. */
export const CHARTS_DEFAULT = 12;
/** Of one page. */
export const CHARTS_MAX = 60;

interface Metric {
  readonly metric: string;
  readonly type: MetricType;
}

/** Names of the metrics with a chart. Switches and texts come last: their charts are lower, and texts are drawn only where asked for. */
export function chartsOf(metrics: readonly Metric[], chosen: string | null): string[] {
  const of = (fits: (type: MetricType) => boolean) => metrics.filter(({ type }) => fits(type)).map(({ metric }) => metric);
  const usual = [...of((type) => type !== 'text' && type !== 'bool'), ...of((type) => type === 'bool')];
  if (chosen === null) return usual.slice(0, CHARTS_DEFAULT);
  const wanted = new Set(unpackList(chosen, CHARTS_MAX));
  return [...usual, ...of((type) => type === 'text')].filter((name) => wanted.has(name));
}

/** The part of the address for a choice; null where it is what is shown without one. */
export function chosenCharts(metrics: readonly Metric[], names: readonly string[]): string | null {
  const usual = chartsOf(metrics, null);
  const chosen = names.slice(0, CHARTS_MAX);
  if (chosen.length === usual.length && usual.every((name) => chosen.includes(name))) return null;
  // A choice of nothing is one too: a comma is not empty, and names nothing.
  return packList(chosen) || ',';
}
