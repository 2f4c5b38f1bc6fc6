/** What a stretch of time cost a page: frames by requestAnimationFrame, the main thread and the heap by the browser's own count. */

import type { CDPSession, Page } from '@playwright/test';

export interface Cost {
  seconds: number;
  fps: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
  /** Frames that took longer than 20 ms, of all. */
  late: number;
  frames: number;
  /** Share of the time in which the main thread was busy, of 100. */
  busy: number;
  heapMiB: number;
  longTasks: number;
}

async function counters(cdp: CDPSession): Promise<Map<string, number>> {
  const { metrics } = await cdp.send('Performance.getMetrics');
  return new Map(metrics.map(({ name, value }) => [name, value]));
}

export async function measured(page: Page, seconds: number): Promise<Cost> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  const before = await counters(cdp);
  const { times, longTasks } = await page.evaluate(
    (ms) =>
      new Promise<{ times: number[]; longTasks: number }>((done) => {
        const times: number[] = [];
        let longTasks = 0;
        const observer = new PerformanceObserver((list) => {
          longTasks += list.getEntries().length;
        });
        observer.observe({ type: 'longtask' });
        const end = performance.now() + ms;
        const frame = (at: number) => {
          times.push(at);
          if (at < end) requestAnimationFrame(frame);
          else {
            observer.disconnect();
            done({ times, longTasks });
          }
        };
        requestAnimationFrame(frame);
      }),
    seconds * 1_000,
  );
  const after = await counters(cdp);
  await cdp.send('HeapProfiler.collectGarbage');
  const heap = (await counters(cdp)).get('JSHeapUsedSize') ?? 0;
  await cdp.detach();
  const took = times.slice(1).map((at, index) => at - (times[index] as number));
  const sorted = [...took].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  const span = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1_000;
  const spent = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  return {
    seconds: span,
    fps: took.length / span,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
    max: sorted.at(-1) ?? 0,
    late: took.filter((ms) => ms > 20).length,
    frames: took.length,
    busy: (100 * spent('TaskDuration')) / spent('Timestamp'),
    heapMiB: heap / 1_048_576,
    longTasks,
  };
}

export function told(name: string, cost: Cost): string {
  const ms = [cost.p50, cost.p95, cost.p99, cost.max].map((one) => one.toFixed(1)).join('/');
  return `${name}: ${cost.fps.toFixed(1)} fps, frame ms p50/p95/p99/max ${ms}, ${cost.late} of ${cost.frames} frames above 20 ms, main thread ${cost.busy.toFixed(1)} % busy, ${cost.longTasks} long tasks, heap ${cost.heapMiB.toFixed(1)} MiB`;
}
