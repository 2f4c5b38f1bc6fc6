/** Single samples of the last hour at most, as they come. */

import type { Sink } from '../live/client';
import type { GapReason, SeriesDef, TextSample } from '../live/frame';
import { SeriesStore } from '../live/store';
import { link } from '../state/live.svelte';
import { Columns, type Line } from './line';
import { samplePoints, statePoints } from './points';
import type { Feed, LineSpec } from './source';
import { type Request, requestsOf } from './source-requests';

/** 18 samples per second for an hour; 1 MiB. A faster series shows less than the hour. */
const RING_CAPACITY = 65_536;
const REFILL_MS = 30_000;
/** Changes of a text metric that are kept; words beyond are shown as `…`. */
const TEXTS_MAX = 10_000;
const WORDS_MAX = 1_000;

/** Lines that one subscription brings: numbers of a subscription belong to it alone, so it has a place of its own for them. */
export class LiveFeed implements Feed {
  readonly #specs: readonly LineSpec[];
  readonly #request: Request;
  readonly #rangeMs: number;
  /** What it keeps: texts or numbers. */
  readonly #texts: TextSink | null;
  readonly #store: SeriesStore;
  #end = () => {};
  #refill: ReturnType<typeof setTimeout> | undefined;

  constructor({ specs, request, text }: LivePart, rangeMs: number) {
    this.#specs = specs;
    this.#request = request;
    this.#rangeMs = rangeMs;
    this.#store = new SeriesStore(text ? 0 : RING_CAPACITY);
    this.#texts = text ? new TextSink() : null;
    this.#subscribe();
    // A gap stays drawn as a gap until the samples were fetched again; not at once, since the server was just busy.
    this.#sink.onGap = () => {
      this.#refill ??= setTimeout(() => {
        this.#refill = undefined;
        this.#end();
        this.#sink.reset();
        this.#subscribe();
      }, REFILL_MS);
    };
  }

  get #sink(): SeriesStore | TextSink {
    return this.#texts ?? this.#store;
  }

  #subscribe(): void {
    const { devices, metrics } = this.#request;
    this.#end = link.subscribe({ devices, metrics, intervalMs: 100, aggregate: 'every', historyMs: this.#rangeMs }, this.#sink);
  }

  get version(): number {
    return this.#sink.version;
  }

  get state(): Feed['state'] {
    const { state } = this.#sink;
    return state === 'refused' ? 'failed' : state;
  }

  get error(): string | null {
    return this.#sink.refusal;
  }

  fill(index: number, from: number, to: number, width: number, line: Line): void {
    const spec = this.#specs[index];
    if (spec === undefined) return line.clear();
    if (this.#texts !== null) {
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
    return (spec && this.#texts?.find(spec.device, spec.metric)?.words) ?? [];
  }

  close(): void {
    clearTimeout(this.#refill);
    this.#end();
  }
}

/** Lines that go together, and which of all they are. */
export interface LivePart {
  readonly specs: readonly LineSpec[];
  readonly indexes: readonly number[];
  readonly request: Request;
  readonly text: boolean;
}

/** Each line is in one part. */
export function livePartsOf(all: readonly LineSpec[]): LivePart[] {
  const one = (request: Request, text: boolean): LivePart => {
    const isIts = ({ device, metric, type }: LineSpec) => (type === 'text') === text && request.metrics.includes(metric) && request.devices.includes(device);
    const indexes = [...all.keys()].filter((index) => isIts(all[index] as LineSpec));
    return { specs: indexes.map((index) => all[index] as LineSpec), indexes, request, text };
  };
  return [false, true].flatMap((text) => requestsOf(all.filter(({ type }) => (type === 'text') === text)).map((request) => one(request, text)));
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
  onGap: () => void = () => {};
  readonly #byKey = new Map<string, Told>();
  #byIndex: (Told | undefined)[] = [];

  find(device: string, metric: string): Told | undefined {
    return this.#byKey.get(`${device}\u0000${metric}`);
  }

  reset(): void {
    for (const told of this.#byKey.values()) told.samples.clear();
    this.#byIndex = [];
    this.state = 'loading';
    this.refusal = null;
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
    // Before the history is complete a refill would only bring the same again.
    if (this.state === 'ready') this.onGap();
  }

  ready(): void {
    this.state = 'ready';
    this.refusal = null;
    this.version += 1;
  }

  refused(_code: number, text: string): void {
    this.state = 'refused';
    this.refusal = text;
    this.version += 1;
  }
}
