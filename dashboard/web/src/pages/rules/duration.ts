/** Lengths of time as people write them. */

import { seconds } from '../device/commands/form';

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
] as const;

/** `300s` as `5 min`; what cannot be read stays as it is. */
export function inWords(time: string): string {
  const length = seconds(time);
  if (length === null) return time;
  const unit = UNITS.find(([, size]) => length > 0 && length % size === 0);
  return unit === undefined ? `${length} s` : `${length / unit[1]} ${unit[0]}`;
}

/** Seconds as the API writes them: `15m`, `90s`. */
export function asApi(length: number): string {
  const unit = ([['d', 86_400], ['h', 3_600], ['m', 60]] as const).find(([, size]) => length > 0 && length % size === 0);
  return unit === undefined ? `${length}s` : `${length / unit[1]}${unit[0]}`;
}
