/** The device list page by page: filtered by the server, read on as one scrolls. */

import type { DeviceFilter } from '../../api/client';
import type { Device, Page } from '../../api/types';

const PAGE = 100;
/** Presence and counts in rows that are not on screen age; a list left open is read again this often. */
const REFRESH_MS = 15_000;

type Load = (filter: DeviceFilter, signal: AbortSignal) => Promise<Page<Device>>;

export class DeviceList {
  items = $state.raw<Device[]>([]);
  state = $state<'loading' | 'ready'>('loading');
  error = $state<string | null>(null);
  /** More devices match than are loaded. */
  more = $state(false);
  /** Groups seen so far, as suggestions. */
  groups = $state.raw<string[]>([]);
  readonly #load: Load;
  #filter: DeviceFilter = {};
  #cursor: string | null = null;
  #abort = new AbortController();
  #busy = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(load: Load) {
    this.#load = load;
  }

  /** Starts anew with a filter. What is shown stays until the answer is here. */
  open(filter: DeviceFilter): void {
    this.close();
    this.#abort = new AbortController();
    this.#filter = filter;
    this.#busy = false;
    this.state = 'loading';
    this.error = null;
    void this.#fetch(null);
    this.#timer = setInterval(() => {
      // Only the first page: with more loaded, a refresh would throw away where one has scrolled to.
      if (document.visibilityState === 'visible' && this.items.length <= PAGE) void this.#fetch(null);
    }, REFRESH_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#abort.abort();
  }

  loadMore(): void {
    if (this.more && this.#cursor !== null && this.error === null) void this.#fetch(this.#cursor);
  }

  async #fetch(cursor: string | null): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const { signal } = this.#abort;
    try {
      const page = await this.#load({ ...this.#filter, limit: PAGE, cursor }, signal);
      if (signal.aborted) return;
      this.items = cursor === null ? page.items : [...this.items, ...page.items];
      this.#cursor = page.next;
      this.more = page.next !== null;
      this.state = 'ready';
      this.error = null;
      const groups = new Set(this.groups);
      for (const device of page.items) if (device.group !== null && groups.size < 200) groups.add(device.group);
      if (groups.size !== this.groups.length) this.groups = [...groups].sort();
    } catch (error) {
      if (signal.aborted) return;
      this.error = error instanceof Error ? error.message : String(error);
    } finally {
      if (this.#abort.signal === signal) this.#busy = false;
    }
  }
}
