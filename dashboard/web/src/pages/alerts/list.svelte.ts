/** The alerts of the list page: the open ones are all known, the others are read page by page. */

import { api, type AlertFilter } from '../../api/client';
import { type AlertView, newestFirst, worstFirst } from '../../live/alerts';
import { alerts } from '../../state/alerts.svelte';
import { link } from '../../state/live.svelte';

const PAGE = 100;

export type Tab = 'open' | 'resolved' | 'all';

export interface Filter {
  tab: Tab;
  severity: string;
  device: string;
}

export class AlertList {
  state = $state<'loading' | 'ready'>('loading');
  error = $state<string | null>(null);
  more = $state(false);
  /** Of the list as the server gave it, and what has happened since. */
  #listed = $state.raw<ReadonlySet<string>>(new Set());
  #cursor: string | null = null;
  #abort = new AbortController();
  #busy = false;
  #filter = $state.raw<Filter>({ tab: 'open', severity: '', device: '' });

  readonly items: AlertView[] = $derived.by(() => {
    const { tab, severity, device } = this.#filter;
    const found = (tab === 'open' ? alerts.open : [...this.#listed].map((id) => alerts.get(id))).filter(
      (alert): alert is AlertView =>
        alert !== undefined &&
        (severity === '' || alert.severity === severity) &&
        (device === '' || alert.device === device) &&
        (tab !== 'resolved' || alert.state === 'resolved'),
    );
    return found.sort(tab === 'open' ? worstFirst : newestFirst);
  });

  /** Shows what fits a filter until the returned function is called. */
  open(filter: Filter): () => void {
    this.#abort = new AbortController();
    this.#filter = filter;
    this.#busy = false;
    this.#listed = new Set();
    this.#cursor = null;
    this.more = false;
    this.error = null;
    this.state = 'loading';
    if (filter.tab === 'open') return () => {};
    void this.#fetch();
    const end = link.client.listen({
      alerts: (events) => {
        // What the store has forgotten is not shown any more, so the list grows no further than the store.
        const known = [...this.#listed].filter((id) => alerts.store.alerts.get(id) !== undefined);
        this.#listed = new Set([...known, ...events.map((event) => event.id)]);
      },
      lost: () => void this.#fetch(true),
    });
    return () => {
      end();
      this.#abort.abort();
    };
  }

  loadMore(): void {
    if (this.more && this.error === null) void this.#fetch();
  }

  /** With `again` the newest page once more: what came meanwhile is joined to what is there. */
  async #fetch(again = false): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const { signal } = this.#abort;
    const { tab, severity, device } = this.#filter;
    const query: AlertFilter = { state: tab, severity, device, limit: PAGE, cursor: again ? null : this.#cursor };
    try {
      const page = await api.alerts(query, signal);
      if (signal.aborted) return;
      alerts.store.answered(page.items);
      this.#listed = new Set([...this.#listed, ...page.items.map((alert) => alert.id)]);
      if (!again || this.#cursor === null) {
        this.#cursor = page.next;
        this.more = page.next !== null;
      }
      this.state = 'ready';
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error instanceof Error ? error.message : String(error);
    } finally {
      if (this.#abort.signal === signal) this.#busy = false;
    }
  }
}
