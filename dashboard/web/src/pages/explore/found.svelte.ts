/** Which devices are meant, and what they measure. */

import { api, ApiError } from '../../api/client';
import type { Device, Facets } from '../../api/types';
import { SeriesStore, type Series } from '../../live/store';
import { link, ticker } from '../../state/live.svelte';
import { DEVICES_MAX, filterQuery, hasFilter, type Wanted } from './wanted';

/** Devices that are listed when many are folded into one line. */
const MEMBERS_MAX = 200;

export interface Meant {
  devices: Device[];
  /** In all; more than are listed when the filter finds many. */
  total: number;
  /** Of the ids that were named. */
  unknown: Set<string>;
  /** So many of them could not be asked for; the others are there. */
  missed: number;
  facets: Facets | null;
}

/** Asks the server. Named devices come first, those of the filter after them. */
export async function resolve(wanted: Wanted, signal: AbortSignal): Promise<Meant> {
  const unknown = new Set<string>();
  const errors: unknown[] = [];
  const named = wanted.devices.map(async (id) => {
    try {
      return await api.device(id, signal);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) unknown.add(id);
      else errors.push(error);
      return null;
    }
  });
  const all = wanted.devices.length === 0 || hasFilter(wanted);
  const query = filterQuery(wanted);
  const most = wanted.across === null ? DEVICES_MAX : MEMBERS_MAX;
  const search = new URLSearchParams(query);
  search.set('limit', String(most));
  // Facets take the same filter; they are asked for only where it is not about named devices alone.
  const [own, page, facets] = await Promise.all([
    Promise.all(named),
    all ? api.devicePage(search, signal) : null,
    all ? api.facets(signal, query).catch(() => null) : null,
  ]);
  const found = own.filter((device) => device !== null);
  const ids = new Set(found.map((device) => device.id));
  const others = (page?.items ?? []).filter((device) => !ids.has(device.id));
  const inBoth = (page?.items.length ?? 0) - others.length;
  // Nothing is there to be shown without them.
  if (errors.length > 0 && found.length + others.length === 0) throw errors[0];
  return {
    devices: [...found, ...others].slice(0, most),
    total: found.length + (page?.total ?? page?.items.length ?? 0) - inBoth,
    unknown,
    missed: errors.length,
    facets,
  };
}

/** Which series these devices have of these metrics: what exists, with unit and type. Call within an effect. */
export function catalogue(
  devices: readonly string[],
  metrics: readonly string[],
  told: (series: readonly Series[], state: SeriesStore['state'], refusal: string | null) => void,
): () => void {
  const store = new SeriesStore(0);
  const end = link.subscribe({ devices, metrics, intervalMs: 5_000, aggregate: 'last', historyMs: 0 }, store);
  let seriesVersion = -1;
  let state: SeriesStore['state'] | null = null;
  const stop = ticker.add('table', () => {
    if (store.seriesVersion === seriesVersion && store.state === state) return false;
    seriesVersion = store.seriesVersion;
    state = store.state;
    told(store.series, store.state, store.refusal);
    return true;
  });
  return () => {
    stop();
    end();
  };
}
