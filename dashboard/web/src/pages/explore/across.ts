/** One line for many devices: live values are folded by the server, earlier ones here from what the history has. */

import { api } from '../../api/client';
import { numeric, patiently, RETRY_MS } from '../../charts/history';
import { Columns, type Line } from '../../charts/line';
import { samplePoints, stepFor } from '../../charts/points';
import { type Feed, SAMPLES_MAX_MS } from '../../charts/source';
import type { View } from '../../charts/time';
import type { Sink } from '../../live/client';
import type { Batch, SeriesDef } from '../../live/frame';
import { link } from '../../state/live.svelte';
import { foldOver, STALE_S, type Told } from './fold';
import type { FoldKind } from './wanted';

/** History is folded from so many devices at most: each of them is asked for. */
export const HISTORY_DEVICES_MAX = 200;
const INTERVAL_MS = 1_000;
/** What is missing is asked for so much later: the server was just busy. */
const REFILL_MS = 30_000;
/** Buckets of each device. */
const LIMIT = 10_000;

export interface AcrossSelection {
  fold: FoldKind;
  /** `group`, `profile`, `tag:KEY`; empty: all together. */
  by: string;
  /** Of `by`, one line each; one empty text for all together. */
  values: readonly string[];
  metrics: readonly string[];
  /** For live values: which devices, by the server's own means. */
  live: { devices: readonly string[]; groups: readonly string[]; profiles: readonly string[]; tags: readonly (readonly [string, string])[] };
  /** For history: ids with their value of `by`. */
  members: readonly { id: string; value: string }[];
}

/** Opens feeds; `shiftMs` earlier, to compare with. */
export class AcrossOrigin {
  readonly selection: AcrossSelection;
  readonly #shiftMs: number;

  constructor(selection: AcrossSelection, shiftMs = 0) {
    this.selection = selection;
    this.#shiftMs = shiftMs;
  }

  open(view: View): Feed {
    return new AcrossFeed(this.selection, view, this.#shiftMs);
  }

  /** The line of a metric and a value in these feeds. */
  at(metric: number, value: number): number {
    return metric * this.selection.values.length + value;
  }
}

class AcrossFeed implements Feed, Sink {
  version = 0;
  state: Feed['state'] = 'loading';
  #failure: string | null = null;
  #refusal: string | null = null;
  readonly #selection: AcrossSelection;
  readonly #view: View;
  readonly #shiftMs: number;
  readonly #stepS: number;
  readonly #columns: Columns[];
  readonly #abort = new AbortController();
  #byIndex: (Columns | undefined)[] = [];
  #end: () => void = () => {};
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(selection: AcrossSelection, view: View, shiftMs: number) {
    this.#selection = selection;
    this.#view = view;
    this.#shiftMs = shiftMs;
    this.#stepS = stepFor((view.kind === 'live' ? view.rangeMs : view.toMs - view.fromMs) / 1000);
    this.#columns = Array.from({ length: selection.metrics.length * selection.values.length }, () => new Columns());
    if (this.#isLive) {
      const { fold, by, metrics, live } = selection;
      this.#end = link.subscribe(
        { ...live, metrics, intervalMs: INTERVAL_MS, aggregate: fold, historyMs: 0, across: by === '' ? [] : [by] },
        this,
      );
    }
    void this.#run();
  }

  get error(): string | null {
    return this.#refusal ?? this.#failure;
  }

  get #isLive(): boolean {
    return this.#view.kind === 'live' && this.#view.rangeMs <= SAMPLES_MAX_MS && this.#shiftMs === 0;
  }

  async #run(): Promise<void> {
    const view = this.#view;
    const nowMs = link.client.clock.nowMs();
    const refreshMs = Math.max(10_000, (this.#stepS * 1_000) / 2);
    const [fromMs, toMs] = view.kind === 'fixed' ? [view.fromMs, view.toMs] : [nowMs - view.rangeMs, nowMs + (this.#shiftMs > 0 ? 2 * refreshMs : 0)];
    try {
      await this.#load((fromMs - this.#shiftMs) / 1000, (toMs - this.#shiftMs) / 1000);
      if (this.#abort.signal.aborted) return;
      // Unless something is missing again since it was asked for.
      if (this.#timer === undefined) for (const columns of this.#columns) columns.heal();
      this.state = 'ready';
      this.#failure = null;
      if (view.kind === 'live' && !this.#isLive) this.#later(refreshMs);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      // Live values are there all the same: what was before them comes later.
      if (!this.#isLive || this.state !== 'ready') this.#failure = error instanceof Error ? error.message : String(error);
      if (this.state === 'loading') this.state = 'failed';
      this.#later(RETRY_MS);
    }
    this.version += 1;
  }

  /** Loads the history again, once. */
  #later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, ms);
  }

  async #load(from: number, to: number): Promise<void> {
    const { fold, metrics, values, members } = this.#selection;
    const some = members.slice(0, HISTORY_DEVICES_MAX);
    const valueOf = new Map(some.map((member) => [member.id, values.indexOf(member.value)]));
    if (some.length === 0) return;
    const agg = fold === 'min' || fold === 'max' ? fold : 'avg';
    const step = this.#stepS;
    // What was said before still counts at the beginning.
    const start = Math.floor((from - STALE_S) / step) * step;
    const shiftS = this.#shiftMs / 1000;
    await Promise.all(
      metrics.map(async (metric, order) => {
        const answer = await patiently(
          () =>
            api.query(
              {
                device: some.map((member) => member.id).join(','),
                metric,
                from: new Date(start * 1000).toISOString(),
                to: new Date(to * 1000).toISOString(),
                step: `${step}s`,
                agg,
                limit: LIMIT,
              },
              this.#abort.signal,
            ),
          this.#abort.signal,
        );
        const told: Told[][] = values.map(() => []);
        for (const series of answer.series) {
          const place = valueOf.get(series.device) ?? -1;
          if (series.metric !== metric || place < 0) continue;
          const column = series.values[agg] ?? [];
          told[place]?.push({ times: series.times.map((time) => Date.parse(time) / 1000), values: column.map(numeric) });
        }
        for (const [value, devices] of told.entries()) {
          const columns = this.#columns[order * values.length + value];
          const folded = foldOver(fold, devices, from, to, step);
          for (const [row, time] of folded.times.entries()) {
            // What was told live is finer.
            if (columns?.isNear(time + shiftS, step) === false) columns.push(time + shiftS, folded.values[row] as number);
          }
        }
      }),
    );
  }

  fill(index: number, from: number, to: number, width: number, line: Line): void {
    const columns = this.#columns[index];
    if (columns === undefined) return line.clear();
    samplePoints(columns, from, to, width, line, Math.max(15, 3 * this.#stepS));
  }

  words(): readonly string[] {
    return [];
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#end();
    this.#abort.abort();
  }

  reset(): void {
    this.#byIndex = [];
    this.gap();
  }

  define(series: readonly SeriesDef[]): void {
    const { metrics, values, by } = this.#selection;
    for (const { index, metric, labels } of series) {
      if (index > 1_000_000) continue;
      const value = by === '' ? 0 : values.indexOf(labels.find((label) => label.name === by)?.value ?? '');
      const order = metrics.indexOf(metric);
      if (order >= 0 && value >= 0) this.#byIndex[index] = this.#columns[order * values.length + value];
    }
    this.version += 1;
  }

  batch({ series, offsetsUs, values, baseUs }: Batch): void {
    for (let row = 0; row < series.length; row += 1) {
      const columns = this.#byIndex[series[row] as number];
      if (columns === undefined) continue;
      columns.push((baseUs + (offsetsUs[row] as number)) / 1e6, values[row] as number);
      // A minute longer than what is shown, so that it is not moved with every value.
      const first = columns.time(0);
      const rangeS = this.#view.kind === 'live' ? this.#view.rangeMs / 1000 : 0;
      const now = columns.time(columns.length - 1);
      if (now - first > rangeS + 60) columns.keep(now - rangeS - 1, Number.POSITIVE_INFINITY);
    }
    this.version += 1;
  }

  texts(): void {}

  gap(): void {
    for (const columns of this.#columns) columns.markBreak();
    this.version += 1;
    this.#later(REFILL_MS);
  }

  ready(): void {
    this.state = 'ready';
    this.#failure = null;
    this.#refusal = null;
    this.version += 1;
  }

  refused(_code: number, text: string): void {
    this.#refusal = text;
    this.version += 1;
  }
}
