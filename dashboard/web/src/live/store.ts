/**
 * What one subscription has received: the newest value of each series and, if asked for, its samples in rings.
 * Plain objects outside the framework's state; `version` grows with every change, and pages look at it when the
 * ticker says so.
 */

import type { Sink } from './client';
import type { Batch, GapReason, MetricType, SeriesDef, SeriesLabel, TextSample } from './frame';
import { Ring } from './ring';

export interface Series {
  /** Empty for a result over many devices. */
  readonly device: string;
  readonly metric: string;
  /** What a result over many devices is of; empty for a series of one device. */
  readonly labels: readonly SeriesLabel[];
  readonly unit: string;
  readonly type: MetricType;
  /** Time of the newest sample in seconds since the Unix epoch; NaN before the first. */
  time: number;
  /** Number, or 0/1 for bool; NaN for text and before the first sample. */
  value: number;
  /** The newest sample of a text metric. */
  text: string | null;
  /** Null when only the newest value is kept. */
  readonly ring: Ring | null;
}

export type StoreState = 'loading' | 'ready' | 'refused';

/** Most series of one store; the protocol's own limit per subscription is 10,000. */
const SERIES_MAX = 10_000;

export class SeriesStore implements Sink {
  state: StoreState = 'loading';
  refusal: string | null = null;
  version = 0;
  /** Grows when series are added, so that lists are rebuilt only then. */
  seriesVersion = 0;
  /** When the newest sample that was not history arrived, in ms of `performance.now()`; null before. */
  readonly arrivals = new Map<string, number>();
  readonly #byKey = new Map<string, Series>();
  #byIndex: (Series | undefined)[] = [];
  readonly #capacity: number;
  /** Samples of an index that was never defined. */
  undefinedSamples = 0;
  /** Called when the server says that samples are missing, at most once per gap. */
  onGap: (reason: GapReason) => void = () => {};
  /** Called whenever the snapshot is complete, after a reconnect too: from here on the server tells of changes. */
  onReady: () => void = () => {};

  /** `capacity`: most samples kept per series, 16 bytes each; 0 keeps the newest value only. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get series(): Series[] {
    return [...this.#byKey.values()];
  }

  find(device: string, metric: string, labels: readonly SeriesLabel[] = []): Series | undefined {
    return this.#byKey.get(key(device, metric, labels));
  }

  reset(): void {
    for (const series of this.#byKey.values()) series.ring?.clear();
    this.#byIndex = [];
    this.state = 'loading';
    this.refusal = null;
    this.version += 1;
  }

  define(definitions: readonly SeriesDef[]): void {
    for (const definition of definitions) {
      if (definition.index >= SERIES_MAX * 10) continue;
      const id = key(definition.device, definition.metric, definition.labels);
      let series = this.#byKey.get(id);
      if (series === undefined || series.unit !== definition.unit || series.type !== definition.type) {
        if (series === undefined && this.#byKey.size >= SERIES_MAX) continue;
        const { device, metric, unit, type, labels } = definition;
        const ring = this.#capacity > 0 && type !== 'text' ? new Ring(this.#capacity) : null;
        series = { device, metric, labels, unit, type, time: NaN, value: NaN, text: null, ring };
        this.#byKey.set(id, series);
        this.seriesVersion += 1;
      }
      this.#byIndex[definition.index] = series;
    }
    this.version += 1;
  }

  batch(batch: Batch): void {
    const { series: indexes, offsetsUs, values, baseUs } = batch;
    const arrived = performance.now();
    let device = '';
    for (let row = 0; row < indexes.length; row += 1) {
      const series = this.#byIndex[indexes[row] as number];
      if (series === undefined) {
        this.undefinedSamples += 1;
        continue;
      }
      const time = (baseUs + (offsetsUs[row] as number)) / 1e6;
      const value = values[row] as number;
      series.ring?.push(time, value);
      if (!(time < series.time)) {
        series.time = time;
        series.value = value;
      }
      // The samples of one device mostly follow each other.
      if (!batch.history && series.device !== device) {
        device = series.device;
        this.arrivals.set(device, arrived);
      }
    }
    this.version += 1;
  }

  texts(items: readonly TextSample[], history: boolean): void {
    for (const item of items) {
      const series = this.#byIndex[item.series];
      if (series === undefined) {
        this.undefinedSamples += 1;
        continue;
      }
      const time = item.timeUs / 1e6;
      if (!(time < series.time)) {
        series.time = time;
        series.text = item.text;
      }
      if (!history) this.arrivals.set(series.device, performance.now());
    }
    this.version += 1;
  }

  gap(reason: GapReason): void {
    for (const series of this.#byKey.values()) series.ring?.markBreak();
    this.version += 1;
    // Before the snapshot is complete a refill would only bring the same again.
    if (this.state === 'ready') this.onGap(reason);
  }

  ready(): void {
    this.state = 'ready';
    this.refusal = null;
    this.version += 1;
    this.onReady();
  }

  refused(_code: number, text: string): void {
    this.state = 'refused';
    this.refusal = text;
    this.version += 1;
  }
}

function key(device: string, metric: string, labels: readonly SeriesLabel[]): string {
  const of = labels.map(({ name, value }) => `\u0000${name}\u0000${value}`);
  return `${device}\u0000${metric}${of.join('')}`;
}
