/** The time shown by a device's charts is that of all charts: see `charts/time.ts`. */

export { pausedAt, RANGES, type RangeKey, readView } from '../../charts/time';
