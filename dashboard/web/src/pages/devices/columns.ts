/** The columns of the device list: in the address, and this browser's own where the address says none. */

import { packList, unpackList } from './listparam';

export const FIELDS = ['alerts', 'group', 'profile', 'tags', 'firmware', 'seen', 'metrics'] as const;
export type Field = (typeof FIELDS)[number];

export type Column =
  | { kind: 'field'; key: string; field: Field }
  /** The newest value of a metric. */
  | { kind: 'value'; key: string; metric: string }
  /** The last minutes of a metric as a small picture. */
  | { kind: 'spark'; key: string; metric: string };

/** Of the list's `metrics=`. */
export const VALUES_MAX = 8;
export const SPARKS_MAX = 3;
const COLUMNS_MAX = 24;

export const valueKey = (metric: string) => `v:${metric}`;
export const sparkKey = (metric: string) => `s:${metric}`;

/** Unknown names are left out, and what is more than there is room for. */
export function parseColumns(text: string): Column[] {
  const columns: Column[] = [];
  let [values, sparks] = [0, 0];
  for (const key of unpackList(text, COLUMNS_MAX)) {
    const field = FIELDS.find((one) => one === key);
    const metric = key.slice(2);
    if (field !== undefined) columns.push({ kind: 'field', key, field });
    else if (key.startsWith('v:') && metric !== '' && values < VALUES_MAX) {
      columns.push({ kind: 'value', key, metric });
      values += 1;
    } else if (key.startsWith('s:') && metric !== '' && sparks < SPARKS_MAX) {
      columns.push({ kind: 'spark', key, metric });
      sparks += 1;
    }
  }
  return columns;
}

export function packColumns(keys: readonly string[]): string {
  return packList(keys.slice(0, COLUMNS_MAX));
}

/** What is shown where nobody has chosen: what most devices measure, beside what every device has. */
export function usualColumns(metrics: readonly { name: string; type: string; devices: number }[], total: number): string {
  const common = metrics.find(({ type, devices }) => type !== 'text' && type !== 'bool' && devices * 10 >= total);
  const own = common === undefined ? [] : [sparkKey(common.name), valueKey(common.name)];
  // With a metric there is no room for tags on a screen of usual width.
  return packColumns(['alerts', ...own, 'group', ...(own.length === 0 ? ['tags'] : []), 'seen']);
}

/** Metrics that the list is asked for, and those that are watched. */
export function metricsOf(columns: readonly Column[]): { values: string[]; all: string[] } {
  const values = columns.flatMap((column) => (column.kind === 'value' ? [column.metric] : []));
  const all = columns.flatMap((column) => (column.kind === 'field' ? [] : [column.metric]));
  return { values, all: [...new Set(all)] };
}

/** The order that a click on the column's head asks for; null: it has none. */
export function sortOf(column: Column): string | null {
  if (column.kind !== 'field') return `metric:${column.metric}`;
  return { alerts: 'alerts', group: 'group', profile: 'profile', tags: null, firmware: null, seen: 'last_seen', metrics: null }[column.field];
}

const WIDTHS: Record<Field, [least: number, share: number]> = {
  alerts: [84, 0],
  group: [110, 1.2],
  profile: [110, 1.2],
  tags: [150, 2],
  firmware: [110, 1],
  seen: [104, 0],
  metrics: [76, 0],
};

/** For `grid-template-columns`, and the width below which the table scrolls sideways. */
export function layout(columns: readonly Column[], before: readonly [number, number][]): { template: string; least: number } {
  const widths = [
    ...before,
    ...columns.map((column): [number, number] => (column.kind === 'field' ? WIDTHS[column.field] : column.kind === 'value' ? [112, 1] : [132, 0])),
  ];
  const gap = 16;
  return {
    template: widths.map(([least, share]) => (share === 0 ? `${least}px` : `minmax(${least}px, ${share}fr)`)).join(' '),
    least: widths.reduce((sum, [least]) => sum + least + gap, 2 * gap - gap),
  };
}
