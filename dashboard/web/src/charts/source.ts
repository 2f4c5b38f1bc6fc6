/** Where the points of a chart come from: the live connection for short ranges, the history API for long or fixed ones. */

import type { MetricType } from '../live/frame';
import { HistoryFeed } from './history';
import type { Line } from './line';
import { LiveFeed, livePartsOf } from './live-feed';
import type { View } from './time';

export type { View } from './time';

/** One line of a chart. */
export interface LineSpec {
  /** Empty for what is made of several devices. */
  readonly device: string;
  readonly metric: string;
  readonly type: MetricType;
  /** Shown as if it had been so much later, to compare with what was. */
  readonly shiftMs?: number;
  /** Made elsewhere: the lines of one origin share its feed, in which this is the line of that number. */
  readonly origin?: { open(view: View): Feed };
  readonly at?: number;
}

export interface Feed {
  /** Grows with every change. */
  readonly version: number;
  readonly state: 'loading' | 'ready' | 'failed';
  readonly error: string | null;
  /** Writes the points of a line between two times in seconds, for so many pixels. */
  fill(index: number, from: number, to: number, width: number, line: Line): void;
  /** What the values of a text metric stand for. */
  words(index: number): readonly string[];
  close(): void;
}

/** The longest range whose single samples are sent; longer ones are asked for in buckets. */
export const SAMPLES_MAX_MS = 3_600_000;

export function openFeed(specs: readonly LineSpec[], view: View): Feed {
  const parts = new Map<unknown, number[]>();
  for (const [index, spec] of specs.entries()) {
    const key = spec.origin ?? spec.shiftMs ?? 0;
    parts.set(key, [...(parts.get(key) ?? []), index]);
  }
  const opened = [...parts].map(([key, indexes]) => {
    const of = indexes.map((index) => specs[index] as LineSpec);
    const feed = typeof key === 'number' ? openStored(of, view, key) : (key as NonNullable<LineSpec['origin']>).open(view);
    return { feed, of, indexes };
  });
  const [only] = opened;
  if (opened.length === 1 && only !== undefined && only.of[0]?.origin === undefined) return only.feed;
  return new Joined(opened, specs);
}

function openStored(specs: readonly LineSpec[], view: View, shiftMs: number): Feed {
  const single = view.kind === 'live' && view.rangeMs <= SAMPLES_MAX_MS && shiftMs === 0;
  return single ? openLive(specs, view.rangeMs) : new HistoryFeed(specs, view, shiftMs);
}

function openLive(specs: readonly LineSpec[], rangeMs: number): Feed {
  const parts = livePartsOf(specs).map((part) => ({ feed: new LiveFeed(part, rangeMs), indexes: part.indexes }));
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only.feed : new Joined(parts, specs);
}

/** Lines of several feeds. */
class Joined implements Feed {
  readonly #feeds: Feed[];
  readonly #places: { feed: Feed; at: number }[] = [];

  constructor(parts: readonly { feed: Feed; indexes: readonly number[] }[], specs: readonly LineSpec[]) {
    this.#feeds = parts.map((part) => part.feed);
    for (const { feed, indexes } of parts) {
      for (const [order, index] of indexes.entries()) this.#places[index] = { feed, at: specs[index]?.at ?? order };
    }
  }

  get version(): number {
    return this.#feeds.reduce((sum, feed) => sum + feed.version, 0);
  }

  /** What is there is shown; one part that waits or failed does not take the others away. */
  get state(): Feed['state'] {
    const states = this.#feeds.map((feed) => feed.state);
    return states.includes('ready') ? 'ready' : states.includes('loading') ? 'loading' : 'failed';
  }

  get error(): string | null {
    return this.#feeds.find((feed) => feed.error !== null)?.error ?? null;
  }

  fill(index: number, from: number, to: number, width: number, line: Line): void {
    const place = this.#places[index];
    if (place === undefined) line.clear();
    else place.feed.fill(place.at, from, to, width, line);
  }

  words(index: number): readonly string[] {
    const place = this.#places[index];
    return place === undefined ? [] : place.feed.words(place.at);
  }

  close(): void {
    for (const feed of this.#feeds) feed.close();
  }
}
