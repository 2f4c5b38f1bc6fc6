/** The same done to many devices: those named in pieces, so that one sees it go on; those that match in one. */

import type { BulkAnswer, DeviceBulk } from '../../api/types';

export type Target = { ids: readonly string[] } | { filter: Record<string, string | readonly string[]> };
export type Deed = Omit<DeviceBulk, 'ids' | 'filter'>;

export interface Outcome extends BulkAnswer {
  /** It ended before all were done: stopped, or an error. */
  stopped: string | null;
}

/** Devices of one request. */
const PIECE = 200;
/** Failures that are named. */
export const FAILED_MAX = 100;

/** `progress` is told how many devices are done. What was done before a stop or an error stays done. */
export async function inBulk(
  target: Target,
  deed: Deed,
  post: (request: DeviceBulk, signal: AbortSignal) => Promise<BulkAnswer>,
  progress: (done: number) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const outcome: Outcome = { matched: 0, changed: 0, failed: [], stopped: null };
  const add = ({ matched, changed, failed }: BulkAnswer) => {
    outcome.matched += matched;
    outcome.changed += changed;
    outcome.failed = [...outcome.failed, ...failed].slice(0, FAILED_MAX);
  };
  try {
    if ('filter' in target) {
      add(await post({ ...deed, filter: target.filter }, signal));
      return outcome;
    }
    for (let at = 0; at < target.ids.length; at += PIECE) {
      const ids = target.ids.slice(at, at + PIECE);
      add(await post({ ...deed, ids }, signal));
      progress(at + ids.length);
    }
  } catch (error) {
    outcome.stopped = signal.aborted ? '' : error instanceof Error ? error.message : String(error);
  }
  return outcome;
}
