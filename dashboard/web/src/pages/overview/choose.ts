/** Which devices and metrics the overview shows without being asked. */

import type { Device } from '../../api/types';
import type { Series } from '../../live/store';

/** This machine first, since its values surely move; then what is online, in the list's order. */
export function chooseDevices(devices: readonly Device[], count: number): Device[] {
  const isHost = (device: Device) => Object.values(device.tags).includes('host') || device.group === 'host';
  const rank = (device: Device) => (isHost(device) ? 0 : 1);
  const unique = new Map(devices.map((device) => [device.id, device]));
  return [...unique.values()]
    .filter((device) => device.enabled && device.presence !== 'offline')
    .toSorted((a, b) => rank(a) - rank(b))
    .slice(0, count);
}

/** Names that say most about a machine or a place; others follow by name. */
const TELLING = [/cpu|load/i, /mem|ram/i, /temp/i, /net|rx|speed|power|flow|pressure/i];

function telling(metric: string): number {
  const found = TELLING.findIndex((pattern) => pattern.test(metric));
  return found < 0 ? TELLING.length : found;
}

/** Round by round one metric of each device, until there are enough: the first device gives most. */
export function chooseCharts(devices: readonly string[], series: readonly Series[], count: number): Series[] {
  const queues = devices.map((device) =>
    series
      .filter((one) => one.device === device && (one.type === 'f64' || one.type === 'f32' || one.type === 'i64'))
      .toSorted((a, b) => telling(a.metric) - telling(b.metric) || a.metric.localeCompare(b.metric)),
  );
  const chosen: Series[] = [];
  while (chosen.length < count && queues.some((queue) => queue.length > 0)) {
    for (const queue of queues) {
      const next = queue.shift();
      if (next !== undefined && chosen.length < count) chosen.push(next);
    }
  }
  return chosen.toSorted((a, b) => devices.indexOf(a.device) - devices.indexOf(b.device));
}
