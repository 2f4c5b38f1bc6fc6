/** Single samples of the last hour at most, as they come. */

import type { Sink } from '../live/client';
import type { GapReason, SeriesDef, TextSample } from '../live/frame';
import { SeriesStore } from '../live/store';
import { link } from '../state/live.svelte';
import { Columns, type Line } from './line';
import { samplePoints, statePoints } from './points';
import type { Feed, LineSpec } from './source';
import { requestsOf } from './source-requests';

/** 18 samples per second for an hour; 1 MiB. A faster series shows less than the hour. */
const RING_CAPACITY = 65_536;
const REFILL_MS = 30_000;
/** Changes of a text metric that are kept; words beyond are shown as `…`. */
const TEXTS_MAX = 10_000;
const WORDS_MAX = 1_000;

export class LiveFeed implements Feed {
  readonly #specs: readonly LineSpec[];
  readonly #rangeMs: number;
  readonly #store = new SeriesStore(RING_CAPACITY);
  readonly #texts = new TextSink();
  #ends: (() => void)[] = [];
  #refill: ReturnType<typeof setTimeout> | undefined;

  constructor(specs: readonly LineSpec[], rangeMs: number) {
    this.#specs = specs;
    this.#rangeMs = rangeMs;
    this.#subscribe();
    // A gap stays drawn as a gap until the samples were fetched again; not at once, since the server was just busy.
    this.#store.onGap = () => {
      this.#refill ??= setTimeout(() => {
        this.#refill = undefined;
        this.#end();
        this.#store.reset();
        this.#texts.reset();
        this.#subscribe();
      }, REFILL_MS);
    };
  }

  #subscribe(): void {
    const numbers = this.#specs.filter((spec) => spec.type !== 'text');
    const texts = this.#specs.filter((spec) => spec.type === 'text');
    for (const [specs, sink] of [[numbers, this.#store], [texts, this.#texts]] as const) {
      for (const { devices, metrics } of requestsOf(specs)) {
        const selection = { devices, metrics, intervalMs: 100, aggregate: 'every', historyMs: this.#rangeMs } as const;
        this.#ends.push(link.subscribe(selection, sink));
      }
    }
  }

  #end(): void {
    for (const end of this.#ends) end();
    this.#ends = [];
  }

  get version(): number {
    return this.#store.version + this.#texts.version;
  }

  get state(): Feed['state'] {
    const sinks = [this.#store, this.#texts].filter((_, index) => this.#specs.some((spec) => (spec.type === 'text') === (index === 1)));
    if (sinks.some((sink) => sink.state === 'ready')) return 'ready';
    return sinks.some((sink) => sink.state === 'loading') ? 'loading' : 'failed';
  }

  get error(): string | null {
    return this.#store.refusal ?? this.#texts.refusal;
  }

  fill(index: number, from: number, to: number, width: number, line: Line): void {
    const spec = this.#specs[index];
    if (spec === undefined) return line.clear();
    if (spec.type === 'text') {
      const told = this.#texts.find(spec.device, spec.metric);
      if (told === undefined) line.clear();
      else statePoints(told.samples, from, to, width, line);
      return;
    }
    const ring = this.#store.find(spec.device, spec.metric)?.ring;
    if (ring) samplePoints(ring, from, to, width, line);
    else line.clear();
  }

  words(index: number): readonly string[] {
    const spec = this.#specs[index];
    return (spec && this.#texts.find(spec.device, spec.metric)?.words) ?? [];
  }

  close(): void {
    clearTimeout(this.#refill);
    this.#end();
  }
}

/** Words by number, so that what tells of them is numbers. */
export class Words {
  readonly list: string[] = [];
  readonly #numbers = new Map<string, number>();

  number(word: string): number {
    const known = this.#numbers.get(word);
    if (known !== undefined) return known;
    const number = Math.min(this.list.length, WORDS_MAX);
    this.list[number] = number === WORDS_MAX ? '…' : word;
    this.#numbers.set(word, number);
    return number;
  }
}

interface Told {
  samples: Columns;
  dictionary: Words;
  words: readonly string[];
}

/** What text metrics said. The stores of numbers keep no history of texts. */
class TextSink implements Sink {
  version = 0;
  state: 'loading' | 'ready' | 'refused' = 'loading';
  refusal: string | null = null;
  readonly #byKey = new Map<string, Told>();
  #byIndex: (Told | undefined)[] = [];

  find(device: string, metric: string): Told | undefined {
    return this.#byKey.get(`${device}\u0000${metric}`);
  }

  reset(): void {
    for (const told of this.#byKey.values()) told.samples.clear();
    this.#byIndex = [];
    this.state = 'loading';
    this.version += 1;
  }

  define(definitions: readonly SeriesDef[]): void {
    for (const { index, device, metric, type } of definitions) {
      if (type !== 'text' || index > 100_000) continue;
      const key = `${device}\u0000${metric}`;
      let told = this.#byKey.get(key);
      if (told === undefined) {
        const dictionary = new Words();
        told = { samples: new Columns(), dictionary, words: dictionary.list };
        this.#byKey.set(key, told);
      }
      this.#byIndex[index] = told;
    }
    this.version += 1;
  }

  batch(): void {}

  texts(items: readonly TextSample[]): void {
    for (const { series, timeUs, text } of items) {
      const told = this.#byIndex[series];
      if (told === undefined) continue;
      told.samples.push(timeUs / 1e6, told.dictionary.number(text));
      if (told.samples.length > TEXTS_MAX) told.samples.keep(told.samples.time(TEXTS_MAX / 10), Number.POSITIVE_INFINITY);
    }
    this.version += 1;
  }

  gap(_reason: GapReason): void {
    for (const told of this.#byKey.values()) told.samples.markBreak();
    this.version += 1;
  }

  ready(): void {
    this.state = 'ready';
    this.version += 1;
  }

  refused(_code: number, text: string): void {
    this.state = 'refused';
    this.refusal = text;
    this.version += 1;
  }
}
