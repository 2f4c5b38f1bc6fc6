/** The alerts of the list page, page by page. All open ones are those of the store; what is filtered is asked for. */

import { api } from '../../api/client';
import { type AlertView, newestFirst, worstFirst } from '../../live/alerts';
import { alerts } from '../../state/alerts.svelte';
import { link } from '../../state/live.svelte';
import { asQuery, type Filter, fits, isFiltered } from './filter';

const PAGE = 200;
/** As many rows as the page holds; whoever scrolls so far is told to filter. */
const LISTED_MAX = 5_000;
/** What frames tell of is joined to the list so often. */
const JOIN_MS = 250;
/** What only the API knows is asked for so long after. */
const FILL_MS = 2_000;

export class AlertList {
  error = $state<string | null>(null);
  more = $state(false);
  loading = $state(true);
  /** Of the list as the server gave it, and what has happened since. */
  #listed = $state.raw<ReadonlySet<string>>(new Set());
  #cursor: string | null = null;
  #abort = new AbortController();
  #busy = false;
  #filter = $state.raw<Filter | null>(null);
  #heard = new Set<string>();
  #join: ReturnType<typeof setTimeout> | undefined;
  #fill: ReturnType<typeof setTimeout> | undefined;

  readonly items: readonly AlertView[] = $derived.by(() => {
    const filter = this.#filter;
    if (filter === null) return alerts.open;
    void alerts.version;
    const found: AlertView[] = [];
    for (const id of this.#listed) {
      const alert = alerts.store.alerts.get(id);
      if (alert !== undefined && fits(alert, filter)) found.push(alert);
    }
    return found.sort(filter.tab === 'open' ? worstFirst : newestFirst);
  });

  /** Shows what fits a filter until the returned function is called. */
  open(filter: Filter): () => void {
    this.#abort = new AbortController();
    this.#busy = false;
    this.#listed = new Set();
    this.#cursor = null;
    this.more = false;
    this.error = null;
    this.loading = true;
    if (filter.tab === 'open' && !isFiltered(filter)) {
      this.#filter = null;
      return () => {};
    }
    this.#filter = filter;
    void this.fetch();
    const end = link.client.listen({
      alerts: (events) => {
        for (const { id } of events) this.#heard.add(id);
        this.#join ??= setTimeout(() => this.#joinHeard(), JOIN_MS);
      },
      lost: () => void this.fetch(true),
    });
    return () => {
      end();
      this.#abort.abort();
      clearTimeout(this.#join);
      clearTimeout(this.#fill);
      this.#join = undefined;
      this.#fill = undefined;
      this.#heard.clear();
    };
  }

  #joinHeard(): void {
    this.#join = undefined;
    const unknown = [...this.#heard].some((id) => alerts.store.alerts.get(id)?.device_name === undefined);
    // What the store has forgotten is not shown any more, so the list grows no further than the store.
    const known = [...this.#listed].filter((id) => alerts.store.alerts.get(id) !== undefined);
    this.#listed = new Set([...known, ...this.#heard]);
    this.#heard.clear();
    if (unknown) {
      this.#fill ??= setTimeout(() => {
        this.#fill = undefined;
        void this.fetch(true);
      }, FILL_MS);
    }
  }

  loadMore(): void {
    if (this.more && this.error === null && this.#listed.size < LISTED_MAX) void this.fetch();
  }

  /** With `again` the first page once more: what came meanwhile is joined to what is there. */
  async fetch(again = false): Promise<void> {
    const filter = this.#filter;
    if (this.#busy || filter === null) return;
    this.#busy = true;
    const { signal } = this.#abort;
    try {
      const page = await api.alerts({ ...asQuery(filter), limit: PAGE, cursor: again ? null : this.#cursor }, signal);
      if (signal.aborted) return;
      alerts.store.answered(page.items);
      this.#listed = new Set([...this.#listed, ...page.items.map((alert) => alert.id)]);
      if (!again || this.#cursor === null) {
        this.#cursor = page.next;
        this.more = page.next !== null;
      }
      this.loading = false;
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.loading = false;
      this.error = error instanceof Error ? error.message : String(error);
    } finally {
      if (this.#abort.signal === signal) this.#busy = false;
    }
  }
}
