/** The address bar as the time of all charts of a page. */

import { untrack } from 'svelte';
import { link } from '../state/live.svelte';
import { router } from '../state/router.svelte';
import { panned, pausedAt, RANGES, type RangeKey, readView, type Span, type View, zoomed } from './time';

/** Keys that pan move by a quarter of what is shown. */
const PAN_PART = 0.25;

class PageTime {
  readonly #read = $derived(readView(router.query));
  readonly #key = $derived(JSON.stringify(this.#read.view));
  readonly range: RangeKey = $derived(this.#read.range);
  /** The same object until it says something else: a new one makes every chart begin anew. */
  readonly view: View = $derived.by(() => {
    void this.#key;
    return untrack(() => this.#read.view);
  });

  /** What is shown now, in ms. */
  get span(): Span {
    const nowMs = link.client.clock.nowMs();
    return this.view.kind === 'fixed' ? [this.view.fromMs, this.view.toMs] : [nowMs - this.view.rangeMs, nowMs];
  }

  /** Stands still at a stretch of time. A step that can be taken back by the browser, unless it is one of many small ones. */
  show(fromMs: number, toMs: number, step = true): void {
    router.setQuery(pausedAt(fromMs, toMs), !step);
  }

  pause(): void {
    if (this.view.kind === 'live') this.show(...this.span, false);
  }

  live(): void {
    router.setQuery({ from: null, to: null });
  }

  toggle(): void {
    if (this.view.kind === 'live') this.pause();
    else this.live();
  }

  pick(range: RangeKey): void {
    router.setQuery({ range: range === RANGES[0].key ? null : range, from: null, to: null });
  }

  /** Earlier (-1) or later (1). */
  pan(way: number): void {
    this.show(...panned(this.span, way * PAN_PART, link.client.clock.nowMs()), false);
  }

  /** In by a factor below 1. The newest values stay in sight while the charts are live. */
  zoom(factor: number): void {
    const [from, to] = zoomed(this.span, factor, this.view.kind === 'live' ? 1 : 0.5);
    const nowMs = link.client.clock.nowMs();
    const over = Math.max(0, to - nowMs);
    this.show(from - over, to - over, false);
  }
}

export const pageTime = new PageTime();
