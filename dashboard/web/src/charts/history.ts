/** What the history API has, for long ranges, fixed ones, and what is compared with. */

import { api, ApiError } from '../api/client';
import type { JsonValue, QueryAnswer } from '../api/types';
import { link } from '../state/live.svelte';
import { Columns, type Line } from './line';
import { Words } from './live-feed';
import { bucketPoints, samplePoints, statePoints, stepFor } from './points';
import type { Feed, LineSpec } from './source';
import { requestsOf } from './source-requests';
import type { View } from './time';

/** Single samples are asked for up to this length, so that a paused chart looks as it did while it was live. */
const RAW_MAX_MS = 900_000;
const RAW_LIMIT = 10_000;
/** After a server that answers as many queries as it can. */
const BUSY_MS = 1_500;
const BUSY_TRIES = 4;
/** After an answer that failed. */
export const RETRY_MS = 10_000;

export class HistoryFeed implements Feed {
  version = 0;
  state: Feed['state'] = 'loading';
  error: string | null = null;
  readonly #specs: readonly LineSpec[];
  readonly #view: View;
  readonly #shiftMs: number;
  readonly #stepS: number;
  readonly #abort = new AbortController();
  readonly #columns: Columns[];
  readonly #dictionaries: Words[];
  readonly #unlisten: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #raw = false;
  #loadedToMs = Number.NEGATIVE_INFINITY;

  /** `shiftMs`: shows what was so much earlier. */
  constructor(specs: readonly LineSpec[], view: View, shiftMs = 0) {
    this.#specs = specs;
    this.#view = view;
    this.#shiftMs = shiftMs;
    this.#stepS = stepFor((view.kind === 'live' ? view.rangeMs : view.toMs - view.fromMs) / 1000);
    this.#columns = specs.map((spec) => new Columns(spec.type !== 'text'));
    this.#dictionaries = specs.map(() => new Words());
    this.#unlisten = link.client.listen({
      lost: () => {
        if (this.state === 'failed' && this.#timer !== undefined) void this.#run();
      },
    });
    void this.#run();
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { kind } = this.#view;
    const refreshMs = Math.max(10_000, (this.#stepS * 1_000) / 2);
    try {
      if (this.#view.kind === 'fixed') {
        const { fromMs, toMs } = this.#view;
        this.#raw = toMs - fromMs <= RAW_MAX_MS && (await this.#load(fromMs, toMs, true));
        if (!this.#raw) await this.#load(fromMs, toMs, false);
      } else {
        const nowMs = link.client.clock.nowMs();
        // After the first time only the newest buckets can have changed.
        const startMs = Math.max(nowMs - this.#view.rangeMs, this.#loadedToMs - 2 * this.#stepS * 1_000);
        // What is compared with lies before, so that it can be known ahead.
        await this.#load(startMs, this.#shiftMs > 0 ? nowMs + refreshMs * 2 : nowMs + 1_000, false);
        this.#loadedToMs = nowMs;
        for (const columns of this.#columns) columns.keep((nowMs - this.#view.rangeMs) / 1000 - this.#stepS, Number.POSITIVE_INFINITY);
      }
      this.state = 'ready';
      this.error = null;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.state = 'failed';
      this.error = error instanceof Error ? error.message : String(error);
    }
    this.version += 1;
    const failed = this.error !== null;
    if ((kind === 'live' || failed) && !this.#abort.signal.aborted) {
      this.#timer = setTimeout(() => void this.#run(), failed ? RETRY_MS : refreshMs);
    }
  }

  /** False when there are more samples than one answer holds. */
  async #load(fromMs: number, toMs: number, raw: boolean): Promise<boolean> {
    const stepMs = this.#stepS * 1_000;
    const shiftedMs = fromMs - this.#shiftMs;
    const from = iso(raw ? shiftedMs : Math.floor(shiftedMs / stepMs) * stepMs);
    const to = iso(toMs - this.#shiftMs);
    const asked = [false, true].flatMap((text) =>
      requestsOf(this.#specs.filter((spec) => (spec.type === 'text') === text)).map((request) => ({ ...request, text })),
    );
    const answers = await Promise.all(
      asked.map(({ devices, metrics, text }) =>
        patiently(
          () =>
            api.query(
              {
                device: devices.join(','),
                metric: metrics.join(','),
                from,
                to,
                limit: RAW_LIMIT,
                ...(raw ? {} : { step: `${this.#stepS}s`, agg: text ? 'last' : 'avg,min,max' }),
              },
              this.#abort.signal,
            ),
          this.#abort.signal,
        ),
      ),
    );
    const series = answers.flatMap((answer) => answer.series);
    const broken = answers.find((answer) => answer.error)?.error;
    if (broken) throw new ApiError(0, 'query', `${broken.device} ${broken.metric}: ${broken.detail}`);
    if (raw && series.some((one) => one.more)) return false;
    for (const [index, spec] of this.#specs.entries()) {
      const found = series.find((one) => one.device === spec.device && one.metric === spec.metric);
      if (found !== undefined) this.#take(index, spec, found);
    }
    return true;
  }

  #take(index: number, spec: LineSpec, found: QueryAnswer['series'][number]): void {
    const columns = this.#columns[index] as Columns;
    const { value, last, avg, min, max } = found.values;
    const shiftS = this.#shiftMs / 1000;
    for (const [row, text] of found.times.entries()) {
      const time = Date.parse(text) / 1000 + shiftS;
      if (spec.type === 'text') columns.push(time, this.#dictionaries[index]?.number(String((value ?? last)?.[row] ?? '')) ?? 0);
      else columns.push(time, numeric((value ?? avg)?.[row]), numeric((value ?? min)?.[row]), numeric((value ?? max)?.[row]));
    }
  }

  fill(index: number, from: number, to: number, width: number, line: Line): void {
    const columns = this.#columns[index];
    if (columns === undefined) line.clear();
    else if (this.#specs[index]?.type === 'text') statePoints(columns, from, to, width, line);
    else if (this.#raw) samplePoints(columns, from, to, width, line);
    else bucketPoints(columns, from, to, this.#stepS, line);
  }

  words(index: number): readonly string[] {
    return this.#dictionaries[index]?.list ?? [];
  }

  close(): void {
    this.#unlisten();
    clearTimeout(this.#timer);
    this.#abort.abort();
  }
}

/** Asks again while the server has too many queries to answer. */
export async function patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask();
    } catch (error) {
      const busy = error instanceof ApiError && error.code === 'too_many_queries';
      if (!busy || tried === BUSY_TRIES || signal.aborted) throw error;
      await new Promise((done) => setTimeout(done, BUSY_MS * tried));
    }
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

export function numeric(value: JsonValue | null | undefined): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? value : NaN;
}
