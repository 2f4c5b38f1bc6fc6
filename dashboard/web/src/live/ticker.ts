/**
 * One animation-frame loop for everything that redraws. Raster of lines is what costs, so charts are drawn at most
 * 10 times per second and one per frame; tables change at most 4 times per second. Nothing runs while the page is
 * hidden or nothing is registered.
 */

export type TaskKind = 'chart' | 'table';

const PERIOD_MS: Record<TaskKind, number> = { chart: 100, table: 250 };

interface Task {
  kind: TaskKind;
  run: (nowMs: number) => void;
  dueMs: number;
}

export interface Frames {
  request(callback: (nowMs: number) => void): number;
  cancel(handle: number): void;
  hidden(): boolean;
  onVisibility(callback: () => void): void;
}

const browser: Frames = {
  request: (callback) => requestAnimationFrame(callback),
  cancel: (handle) => cancelAnimationFrame(handle),
  hidden: () => document.visibilityState === 'hidden',
  onVisibility: (callback) => document.addEventListener('visibilitychange', callback),
};

export class Ticker {
  readonly #tasks = new Set<Task>();
  readonly #frames: Frames;
  #handle: number | null = null;

  constructor(frames: Frames = browser) {
    this.#frames = frames;
    frames.onVisibility(() => this.#update());
  }

  /** Calls `run` at the kind's rate until the returned function is called. */
  add(kind: TaskKind, run: (nowMs: number) => void): () => void {
    const task: Task = { kind, run, dueMs: 0 };
    this.#tasks.add(task);
    this.#update();
    return () => {
      this.#tasks.delete(task);
      this.#update();
    };
  }

  #update(): void {
    const wanted = this.#tasks.size > 0 && !this.#frames.hidden();
    if (wanted && this.#handle === null) {
      this.#handle = this.#frames.request((now) => this.#frame(now));
    } else if (!wanted && this.#handle !== null) {
      this.#frames.cancel(this.#handle);
      this.#handle = null;
    }
  }

  #frame(nowMs: number): void {
    this.#handle = null;
    let chart: Task | null = null;
    for (const task of [...this.#tasks]) {
      if (task.dueMs > nowMs) continue;
      if (task.kind === 'chart') {
        // The one that waits for longest; the others follow in the next frames.
        if (chart === null || task.dueMs < chart.dueMs) chart = task;
      } else {
        this.#run(task, nowMs);
      }
    }
    if (chart !== null) this.#run(chart, nowMs);
    this.#update();
  }

  #run(task: Task, nowMs: number): void {
    task.dueMs = nowMs + PERIOD_MS[task.kind];
    try {
      task.run(nowMs);
    } catch (error) {
      // One broken chart must not stop the loop that all others share.
      console.error(error);
    }
  }
}
