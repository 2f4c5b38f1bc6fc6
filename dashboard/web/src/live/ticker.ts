/**
 * One animation-frame loop for everything that redraws. Raster of lines is what costs, so charts are drawn at most
 * 10 times per second and one per frame; tables change at most 4 times per second. What had nothing new is asked again in
 * the next frame, so that the first value after a rest is seen at once. Nothing runs while the page is hidden or nothing is
 * registered.
 */

export type TaskKind = 'chart' | 'table';

const PERIOD_MS: Record<TaskKind, number> = { chart: 100, table: 250 };

/** False: there was nothing new, and nothing was redrawn. It is asked up to 60 times per second then, so that has to be cheap to say. */
type Run = (nowMs: number) => unknown;

interface Task {
  kind: TaskKind;
  run: Run;
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
  add(kind: TaskKind, run: Run): () => void {
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
    const due = [...this.#tasks].filter((task) => task.dueMs <= nowMs);
    for (const task of due) if (task.kind === 'table') this.#run(task, nowMs);
    // The one that waits for longest of those that change; the others follow in the next frames.
    const charts = due.filter((task) => task.kind === 'chart').sort((a, b) => a.dueMs - b.dueMs);
    charts.some((task) => this.#run(task, nowMs));
    this.#update();
  }

  /** Whether it redrew something. */
  #run(task: Task, nowMs: number): boolean {
    const dueMs = nowMs + PERIOD_MS[task.kind];
    try {
      if (task.run(nowMs) === false) return false;
    } catch (error) {
      // One broken chart must not stop the loop that all others share.
      console.error(error);
    }
    task.dueMs = dueMs;
    return true;
  }
}
