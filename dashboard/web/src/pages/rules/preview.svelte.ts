/**
 * What the scope of a rule holds now: which metrics there are, and on how many devices the condition is true. The
 * devices' newest values come over the live socket, so the count moves with them.
 */

import { api } from '../../api/client';
import type { Scope } from '../../api/types';
import { SeriesStore } from '../../live/store';
import { link, ticker } from '../../state/live.svelte';

/** Devices looked at before a rule is saved; the page says so when there are more. */
export const DEVICES_MAX = 200;
/** Of devices that are named one by one, so many are asked for, since only those that exist count. */
const NAMED_MAX = 50;
const REST_MS = 400;

export interface Metric {
  name: string;
  unit: string;
  bool: boolean;
}

export interface Newest {
  device: string;
  metric: string;
  value: number;
}

export class Preview {
  /** Devices in the scope, `DEVICES_MAX` at most; null until known. */
  devices = $state<number | null>(null);
  more = $state(false);
  metrics = $state.raw<Metric[]>([]);
  newest = $state.raw<Newest[]>([]);
  error = $state<string | null>(null);

  /** Follows a scope until the returned function is called. */
  follow(scope: Scope | null): () => void {
    const abort = new AbortController();
    let end = () => {};
    // While someone types, each letter is another scope.
    const rest = setTimeout(async () => {
      try {
        // Which devices have a profile only the server can tell.
        const known = scope !== null && !('profile' in scope);
        const ids = known ? await this.#ids(scope, abort.signal) : [];
        if (abort.signal.aborted) return;
        this.error = null;
        this.devices = known ? ids.length : null;
        this.newest = [];
        if (ids.length > 0) end = this.#watch(ids);
      } catch (error) {
        if (!abort.signal.aborted) this.error = error instanceof Error ? error.message : String(error);
      }
    }, REST_MS);
    return () => {
      clearTimeout(rest);
      abort.abort();
      end();
    };
  }

  async #ids(scope: Exclude<Scope, { profile: string }>, signal: AbortSignal): Promise<string[]> {
    if ('device' in scope || 'devices' in scope) {
      const wanted = 'device' in scope ? [scope.device] : scope.devices;
      this.more = wanted.length > NAMED_MAX;
      const asked = wanted.slice(0, NAMED_MAX).map((id) => api.device(id, signal).then(() => [id], () => []));
      return (await Promise.all(asked)).flat();
    }
    const filter = 'tag' in scope ? { tag: scope.tag } : 'group' in scope ? { group: scope.group } : {};
    const page = await api.devices({ ...filter, limit: DEVICES_MAX }, signal);
    this.more = page.next !== null;
    return page.items.map((device) => device.id);
  }

  #watch(ids: string[]): () => void {
    const store = new SeriesStore(0);
    const end = link.subscribe({ devices: ids, metrics: [], intervalMs: 1_000, aggregate: 'last', historyMs: 0 }, store);
    let version = -1;
    const stop = ticker.add('table', () => {
      if (store.version === version) return false;
      version = store.version;
      const numeric = store.series.filter((series) => series.type !== 'text');
      const metrics = new Map(numeric.map((one) => [one.metric, { name: one.metric, unit: one.unit, bool: one.type === 'bool' }]));
      this.metrics = [...metrics.values()].sort((a, b) => a.name.localeCompare(b.name));
      this.newest = numeric
        .filter((one) => !Number.isNaN(one.time))
        .map(({ device, metric, value }) => ({ device, metric, value }));
      return true;
    });
    return () => {
      stop();
      end();
    };
  }
}
