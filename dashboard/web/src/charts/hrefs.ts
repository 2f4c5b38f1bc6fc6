/** Where the lines of a chart are found elsewhere. */

import type { Pin } from './pin';

/** All samples of these, as a file. One request takes every pair of its devices and metrics. */
export function exportHref(lines: readonly Pin[], [from, to]: readonly [number, number]): string {
  const query = new URLSearchParams({
    format: 'csv',
    device: [...new Set(lines.map((line) => line.device))].join(','),
    metric: [...new Set(lines.map((line) => line.metric))].join(','),
    from: new Date(from * 1000).toISOString(),
    to: new Date(to * 1000).toISOString(),
  });
  return `/api/v1/export?${query}`;
}

/** The same lines at the same time, to be compared with others. */
export function exploreHref(lines: readonly Pin[], time: URLSearchParams): string {
  const query = new URLSearchParams();
  for (const device of new Set(lines.map((line) => line.device))) query.append('device', device);
  for (const metric of new Set(lines.map((line) => line.metric))) query.append('metric', metric);
  for (const name of ['range', 'from', 'to']) {
    const value = time.get(name);
    if (value !== null) query.set(name, value);
  }
  return `/explore?${query}`;
}
