/** Checks a draft with the server and, if it is one, tries it on what was stored. Each change begins anew, after a rest. */

import { api, ApiError } from '../../api/client';
import type { BacktestJob, BacktestResult, RuleCheck, RuleRequest } from '../../api/types';
import { t } from '../../i18n';
import { link } from '../../state/live.svelte';

const CHECK_REST_MS = 400;
const TEST_REST_MS = 500;
const ASK_MS = 250;
const ASK_MAX_MS = 2_000;

export type Span = { hours: number } | { fromMs: number; toMs: number };

export function spanMs(span: Span, nowMs: number): [number, number] {
  return 'hours' in span ? [nowMs - span.hours * 3_600_000, nowMs] : [span.fromMs, span.toMs];
}

function waiting(rule: RuleRequest): RuleRequest {
  return { ...rule, allow_unknown_metric: true };
}

export class Check {
  result = $state.raw<RuleCheck | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** A newer draft than the one that was checked waits for its answer. */
  busy = $state(false);

  /** Follows a draft until the returned function is called. A stored rule may wait for a metric or a device already. */
  follow(rule: RuleRequest | null, stored: boolean): () => void {
    if (rule === null) {
      this.result = null;
      this.error = null;
      this.busy = false;
      return () => {};
    }
    const abort = new AbortController();
    this.busy = true;
    const rest = setTimeout(async () => {
      try {
        const result = await api.checkRule(stored ? waiting(rule) : rule, abort.signal);
        if (abort.signal.aborted) return;
        this.result = result;
        this.error = null;
      } catch (error) {
        if (abort.signal.aborted) return;
        this.result = null;
        this.error = error instanceof ApiError ? error : new ApiError(0, 'network', String(error));
      }
      this.busy = false;
    }, CHECK_REST_MS);
    return () => {
      clearTimeout(rest);
      abort.abort();
    };
  }
}

export class Backtest {
  state = $state<'idle' | 'running' | 'done' | 'failed' | 'canceled'>('idle');
  progress = $state.raw<BacktestJob['progress'] | null>(null);
  /** Of the draft that it was begun with; kept until the next one is done. */
  result = $state.raw<BacktestResult | null>(null);
  /** The draft that the result is about. */
  of = $state.raw<RuleRequest | null>(null);
  error = $state.raw<ApiError | null>(null);
  #end: (() => void) | null = null;

  /** Follows a valid draft until the returned function is called. */
  follow(rule: RuleRequest, span: Span, compare: boolean): () => void {
    const rest = setTimeout(() => this.start(rule, span, compare), TEST_REST_MS);
    return () => {
      clearTimeout(rest);
      this.#end?.();
      this.#end = null;
    };
  }

  start(rule: RuleRequest, span: Span, compare: boolean): void {
    this.#end?.();
    const abort = new AbortController();
    let job: string | null = null;
    let over = false;
    this.#end = () => {
      abort.abort();
      // Nobody waits for it any more: the server's time is for others.
      if (job !== null && !over) void api.cancelBacktest(job).catch(() => {});
    };
    this.state = 'running';
    this.progress = null;
    this.error = null;
    void (async () => {
      const [fromMs, toMs] = spanMs(span, link.client.clock.nowMs());
      try {
        let answer = await api.backtest({ rule: compare ? waiting(rule) : rule, from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString(), compare });
        job = answer.id;
        if (abort.signal.aborted) {
          void api.cancelBacktest(job).catch(() => {});
          return;
        }
        for (let waitMs = ASK_MS; answer.state === 'running'; waitMs = Math.min(ASK_MAX_MS, waitMs * 1.5)) {
          this.progress = answer.progress;
          await new Promise((done) => setTimeout(done, waitMs));
          if (abort.signal.aborted) return;
          answer = await api.backtestJob(job, abort.signal);
        }
        over = true;
        if (answer.state === 'done' && answer.result !== null) {
          this.result = answer.result;
          this.of = rule;
          this.state = 'done';
        } else if (answer.state === 'canceled') {
          this.state = 'canceled';
        } else {
          throw new ApiError(0, codeOf(answer.error), textOf(answer.error));
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        this.state = 'failed';
        this.error = error instanceof ApiError ? error : new ApiError(0, 'network', String(error));
      }
    })();
  }

  cancel(): void {
    this.#end?.();
    this.#end = null;
    this.state = 'canceled';
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'failed';
}

function textOf(error: unknown): string {
  const detail = (error as { detail?: unknown } | null)?.detail;
  return typeof error === 'string' ? error : typeof detail === 'string' ? detail : t('backtest.failed');
}
