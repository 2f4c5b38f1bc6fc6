/** Where a chart's points come from: the live socket for short ranges, the history API for long or fixed ones. */

import { api } from '../api/client';
import type { Aggregate, JsonValue } from '../api/types';
import { SeriesStore } from '../live/store';
import { link } from '../state/live.svelte';
import { type Points, ringPoints, stepFor, withGaps } from './points';

/** What a chart shows: the last so many milliseconds, or a fixed stretch of time. */
export type View =
  | { readonly kind: 'live'; readonly rangeMs: number }
  | { readonly kind: 'fixed'; readonly fromMs: number; readonly toMs: number };

export interface Source {
  /** Grows with every change. */
  readonly version: number;
  readonly state: 'loading' | 'ready' | 'failed';
  readonly error: string | null;
  points(from: number, to: number, width: number): Points;
  close(): void;
}

/** The longest range whose single samples are sent; longer ones are asked for in buckets. */
export const SAMPLES_MAX_MS = 3_600_000;
/** 18 samples per second for an hour; 1 MiB. A faster series shows less than the hour. */
const RING_CAPACITY = 65_536;
const REFILL_MS = 30_000;

export function openSource(device: string, metric: string, view: View): Source {
  return view.kind === 'live' && view.rangeMs <= SAMPLES_MAX_MS
    ? new LiveSource(device, metric, view.rangeMs)
    : new HistorySource(device, metric, view);
}

class LiveSource implements Source {
  readonly #store = new SeriesStore(RING_CAPACITY);
  readonly #device: string;
  readonly #metric: string;
  readonly #rangeMs: number;
  #end: () => void;
  #refill: ReturnType<typeof setTimeout> | undefined;

  constructor(device: string, metric: string, rangeMs: number) {
    this.#device = device;
    this.#metric = metric;
    this.#rangeMs = rangeMs;
    this.#end = this.#subscribe();
    // A gap stays drawn as a gap until the samples were fetched again; not at once, since the server was just busy.
    this.#store.onGap = () => {
      this.#refill ??= setTimeout(() => {
        this.#refill = undefined;
        this.#end();
        this.#store.reset();
        this.#end = this.#subscribe();
      }, REFILL_MS);
    };
  }

  #subscribe(): () => void {
    return link.subscribe(
      {
        devices: [this.#device],
        metrics: [this.#metric],
        intervalMs: 100,
        aggregate: 'every',
        historyMs: this.#rangeMs,
      },
      this.#store,
    );
  }

  get version(): number {
    return this.#store.version;
  }

  get state(): 'loading' | 'ready' | 'failed' {
    return this.#store.state === 'refused' ? 'failed' : this.#store.state;
  }

  get error(): string | null {
    return this.#store.refusal;
  }

  points(from: number, to: number, width: number): Points {
    const ring = this.#store.find(this.#device, this.#metric)?.ring;
    return ring ? ringPoints(ring, from, to, width) : { x: [], lines: [[]] };
  }

  close(): void {
    clearTimeout(this.#refill);
    this.#end();
  }
}

/** Single samples are asked for up to this length, so that a paused chart looks as it did while it was live. */
const RAW_MAX_MS = 900_000;
const RAW_LIMIT = 10_000;

class HistorySource implements Source {
  version = 0;
  state: 'loading' | 'ready' | 'failed' = 'loading';
  error: string | null = null;
  readonly #device: string;
  readonly #metric: string;
  readonly #view: View;
  readonly #stepS: number;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #loaded: Points = { x: [], lines: [[], [], []] };
  #joinS: number;

  constructor(device: string, metric: string, view: View) {
    this.#device = device;
    this.#metric = metric;
    this.#view = view;
    this.#stepS = stepFor(this.#spanMs() / 1000);
    this.#joinS = this.#stepS * 1.5;
    void this.#run();
  }

  #spanMs(): number {
    return this.#view.kind === 'live' ? this.#view.rangeMs : this.#view.toMs - this.#view.fromMs;
  }

  async #run(): Promise<void> {
    try {
      if (this.#view.kind === 'fixed') {
        const { fromMs, toMs } = this.#view;
        if (toMs - fromMs > RAW_MAX_MS || !(await this.#loadSamples(fromMs, toMs))) {
          await this.#loadBuckets(fromMs, toMs);
        }
      } else {
        const nowMs = link.client.clock.nowMs();
        // After the first time only the newest buckets can have changed.
        const lastS = this.#loaded.x.at(-1);
        const startMs = nowMs - this.#view.rangeMs;
        await this.#loadBuckets(lastS === undefined ? startMs : Math.max(startMs, lastS * 1000), nowMs + 1_000);
      }
      this.state = 'ready';
      this.error = null;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.state = 'failed';
      this.error = error instanceof Error ? error.message : String(error);
    }
    this.version += 1;
    if (this.#view.kind === 'live' && !this.#abort.signal.aborted) {
      this.#timer = setTimeout(() => void this.#run(), Math.max(10_000, (this.#stepS * 1_000) / 2));
    }
  }

  /** False when there are more samples than one answer holds. */
  async #loadSamples(fromMs: number, toMs: number): Promise<boolean> {
    const page = await api.history(
      { device: this.#device, metric: this.#metric, from: iso(fromMs), to: iso(toMs), limit: RAW_LIMIT },
      this.#abort.signal,
    );
    if (page.next !== null) return false;
    const x = page.items.map((item) => Date.parse(item.time) / 1000);
    const distances = x.slice(1).map((time, index) => time - (x[index] as number));
    distances.sort((a, b) => a - b);
    this.#joinS = Math.max(3, 5 * (distances[distances.length >> 1] ?? 0));
    this.#loaded = { x, lines: [page.items.map((item) => numeric(item.value))] };
    return true;
  }

  async #loadBuckets(fromMs: number, toMs: number): Promise<void> {
    const stepMs = this.#stepS * 1_000;
    const from = Math.floor(fromMs / stepMs) * stepMs;
    const load = (agg: Aggregate) =>
      api.history(
        {
          device: this.#device,
          metric: this.#metric,
          from: iso(from),
          to: iso(toMs),
          limit: RAW_LIMIT,
          step: `${this.#stepS}s`,
          agg,
        },
        this.#abort.signal,
      );
    const pages = await Promise.all([load('avg'), load('min'), load('max')]);
    const kept = this.#loaded.x.findIndex((time) => time * 1_000 >= from);
    const keep = kept < 0 ? this.#loaded.x.length : kept;
    // The three answers may differ by a bucket that filled meanwhile, so they are joined by time.
    const columns = pages.map((page) => new Map(page.items.map((item) => [Date.parse(item.time), numeric(item.value)])));
    const times = [...(columns[0]?.keys() ?? [])].sort((a, b) => a - b);
    this.#loaded = {
      x: [...this.#loaded.x.slice(0, keep), ...times.map((time) => time / 1_000)],
      lines: columns.map((column, index) => [
        ...(this.#loaded.lines[index] ?? []).slice(0, keep),
        ...times.map((time) => column.get(time) ?? null),
      ]),
    };
  }

  points(from: number, to: number): Points {
    const { x, lines } = this.#loaded;
    let first = x.findIndex((time) => time >= from);
    first = first < 0 ? x.length : Math.max(0, first - 1);
    let end = x.length;
    while (end > first && (x[end - 1] as number) > to) end -= 1;
    return withGaps({ x: x.slice(first, end), lines: lines.map((line) => line.slice(first, end)) }, this.#joinS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function numeric(value: JsonValue): number | null {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? value : null;
}
