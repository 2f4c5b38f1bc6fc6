/**
 * Live values of the rows in sight. Subscriptions follow the scroll: rows that come are subscribed together, and a subscription
 * ends when none of its rows is wanted any more, so that scrolling a little sends little.
 */

import type { Selection, Sink } from '../../live/client';
import { type Series, SeriesStore } from '../../live/store';

interface Block {
  ids: ReadonlySet<string>;
  store: SeriesStore;
  end: () => void;
}

type Subscribe = (selection: Selection, sink: Sink) => () => void;

/** More subscriptions than that are made one. */
const BLOCKS_MAX = 8;
/** Of one subscription. */
const IDS_MAX = 200;

export class Follower {
  #blocks: Block[] = [];
  #metrics: readonly string[] = [];
  #intervalMs = 1_000;
  readonly #subscribe: Subscribe;

  constructor(subscribe: Subscribe) {
    this.#subscribe = subscribe;
  }

  /** Differs after every change. */
  get version(): number {
    return this.#blocks.reduce((sum, { store }) => sum + store.version, this.#blocks.length);
  }

  get subscriptions(): number {
    return this.#blocks.length;
  }

  /** These devices are in sight, with these metrics; no metric is all of them. */
  follow(ids: readonly string[], metrics: readonly string[], intervalMs: number): void {
    if (intervalMs !== this.#intervalMs || metrics.length !== this.#metrics.length || metrics.some((one, at) => one !== this.#metrics[at])) {
      this.close();
      this.#metrics = [...metrics];
      this.#intervalMs = intervalMs;
    }
    const wanted = new Set(ids);
    const stay = (block: Block) => [...block.ids].some((id) => wanted.has(id));
    for (const block of this.#blocks) if (!stay(block)) block.end();
    this.#blocks = this.#blocks.filter(stay);
    const covered = this.#blocks.reduce((sum, block) => sum + block.ids.size, 0);
    if (this.#blocks.length >= BLOCKS_MAX || covered > 4 * Math.max(wanted.size, 25)) {
      this.close();
    }
    const missing = [...wanted].filter((id) => !this.#blocks.some((block) => block.ids.has(id)));
    for (let at = 0; at < missing.length; at += IDS_MAX) this.#add(missing.slice(at, at + IDS_MAX));
  }

  find(device: string, metric: string): Series | undefined {
    for (const { ids, store } of this.#blocks) if (ids.has(device)) return store.find(device, metric);
    return undefined;
  }

  /** When something last came from a device, in ms of `performance.now()`. */
  arrival(device: string): number | undefined {
    for (const { ids, store } of this.#blocks) if (ids.has(device)) return store.arrivals.get(device);
    return undefined;
  }

  /** Why nothing comes: the first refusal. */
  get refusal(): string | null {
    return this.#blocks.find(({ store }) => store.state === 'refused')?.store.refusal ?? null;
  }

  close(): void {
    for (const block of this.#blocks) block.end();
    this.#blocks = [];
  }

  #add(ids: string[]): void {
    const store = new SeriesStore(0);
    const end = this.#subscribe({ devices: ids, metrics: this.#metrics, intervalMs: this.#intervalMs, aggregate: 'last', historyMs: 0 }, store);
    this.#blocks.push({ ids: new Set(ids), store, end });
  }
}
