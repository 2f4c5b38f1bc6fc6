/** The same done to many devices: those named in pieces, so that one sees it go on; those that match in one. */

import type { BulkAnswer, DeviceBulk } from '../../api/types';

export type Target = { ids: readonly string[] } | { filter: Record<string, string | readonly string[]> };
export type Deed = Omit<DeviceBulk, 'ids' | 'filter'>;

export interface Outcome extends BulkAnswer {
  /** It ended before all were done: stopped, or an error. */
  stopped: string | null;
  /** A request was sent and not answered: nobody knows how many it changed. */
  unknown: boolean;
}

/** Devices of one request. */
const PIECE = 200;
/** Failures that are named. */
export const FAILED_MAX = 100;

/** Asks only how many match. */
export function countOf(filter: Record<string, string | readonly string[]>): URLSearchParams {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) for (const one of [value].flat()) search.append(name, one);
  search.set('limit', '1');
  return search;
}

/** A refusal is an answer; without one, or with a failure halfway, the server may have done it all the same. */
function isRefusal(error: unknown): boolean {
  const status = (error as { status?: unknown } | null)?.status;
  return typeof status === 'number' && status >= 400 && status < 500;
}

/** `progress` is told how many devices are done. What was done before a stop or an error stays done. */
export async function inBulk(
  target: Target,
  deed: Deed,
  post: (request: DeviceBulk, signal: AbortSignal) => Promise<BulkAnswer>,
  progress: (done: number) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const outcome: Outcome = { matched: 0, changed: 0, failed: [], stopped: null, unknown: false };
  const add = ({ matched, changed, failed }: BulkAnswer) => {
    outcome.matched += matched;
    outcome.changed += changed;
    outcome.failed = [...outcome.failed, ...failed].slice(0, FAILED_MAX);
  };
  try {
    if ('filter' in target) {
      add(await post({ ...deed, filter: Object.keys(target.filter).length > 0 ? target.filter : { all: true } }, signal));
      return outcome;
    }
    for (let at = 0; at < target.ids.length; at += PIECE) {
      const ids = target.ids.slice(at, at + PIECE);
      add(await post({ ...deed, ids }, signal));
      progress(at + ids.length);
    }
  } catch (error) {
    outcome.unknown = !isRefusal(error);
    outcome.stopped = signal.aborted ? '' : error instanceof Error ? error.message : String(error);
  }
  return outcome;
}
