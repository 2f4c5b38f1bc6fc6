/** The address bar as the time of all charts of a page. */

import { untrack } from 'svelte';
import { link } from '../state/live.svelte';
import { router } from '../state/router.svelte';
import { previewAll } from './together';
import { panned, pausedAt, RANGES, type RangeKey, readView, type Span, type View, zoomed } from './time';

/** Keys that pan move by a quarter of what is shown. */
const PAN_PART = 0.25;
/** Keys and buttons show at once what they do; the address says it once they rest. */
const REST_MS = 150;

class PageTime {
  readonly #read = $derived(readView(router.query));
  readonly #key = $derived(JSON.stringify(this.#read.view));
  readonly range: RangeKey = $derived(this.#read.range);
  /** The same object until it says something else: a new one makes every chart begin anew. */
  readonly view: View = $derived.by(() => {
    void this.#key;
    return untrack(() => this.#read.view);
  });

  /** What keys and buttons made of the time, in ms, while the address does not say it yet. */
  #moved: Span | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** What is shown now, in ms. */
  get span(): Span {
    if (this.#moved !== null) return this.#moved;
    const nowMs = link.client.clock.nowMs();
    return this.view.kind === 'fixed' ? [this.view.fromMs, this.view.toMs] : [nowMs - this.view.rangeMs, nowMs];
  }

  /** Stands still at a stretch of time. A step that can be taken back by the browser, unless it is one of many small ones. */
  show(fromMs: number, toMs: number, step = true): void {
    this.forget();
    router.setQuery(pausedAt(fromMs, toMs), !step);
  }

  pause(): void {
    if (this.view.kind === 'live') this.show(...this.span, false);
  }

  live(): void {
    this.forget();
    router.setQuery({ from: null, to: null });
  }

  toggle(): void {
    if (this.view.kind === 'live') this.pause();
    else this.live();
  }

  pick(range: RangeKey): void {
    this.forget();
    router.setQuery({ range: range === RANGES[0].key ? null : range, from: null, to: null });
  }

  /** Earlier (-1) or later (1). */
  pan(way: number): void {
    this.#move(panned(this.span, way * PAN_PART, link.client.clock.nowMs()));
  }

  /** In by a factor below 1. The newest values stay in sight while the charts are live. */
  zoom(factor: number): void {
    const [from, to] = zoomed(this.span, factor, this.#moved === null && this.view.kind === 'live' ? 1 : 0.5);
    const nowMs = link.client.clock.nowMs();
    const over = Math.max(0, to - nowMs);
    this.#move([from - over, to - over]);
  }

  #move(span: Span): void {
    clearTimeout(this.#timer);
    this.#moved = span;
    previewAll([span[0] / 1000, span[1] / 1000]);
    this.#timer = setTimeout(() => this.show(...span, false), REST_MS);
  }

  /** What the address does not say yet is not wanted any more, as when its page is left. */
  forget(): void {
    if (this.#moved === null) return;
    clearTimeout(this.#timer);
    this.#moved = null;
    previewAll(null);
  }
}

export const pageTime = new PageTime();
