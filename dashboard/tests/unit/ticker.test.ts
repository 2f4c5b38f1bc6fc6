import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Ticker } from '../../web/src/live/ticker';

let pending: ((nowMs: number) => void) | null;
let hidden: boolean;
let visibility: () => void;
let ticker: Ticker;

beforeEach(() => {
  pending = null;
  hidden = false;
  ticker = new Ticker({
    request: (callback) => {
      pending = callback;
      return 1;
    },
    cancel: () => {
      pending = null;
    },
    hidden: () => hidden,
    onVisibility: (callback) => {
      visibility = callback;
    },
  });
});

/** Runs frames at 60 Hz for so many milliseconds. */
function frames(forMs: number): void {
  for (let now = 0; now < forMs; now += 1000 / 60) {
    const run = pending;
    pending = null;
    run?.(now);
  }
}

describe('Ticker', () => {
  it('draws charts ten times and tables four times per second', () => {
    let charts = 0;
    let tables = 0;
    ticker.add('chart', () => (charts += 1));
    ticker.add('table', () => (tables += 1));
    frames(1_000);
    expect(charts).toBeGreaterThanOrEqual(8);
    expect(charts).toBeLessThanOrEqual(10);
    expect(tables).toBeGreaterThanOrEqual(3);
    expect(tables).toBeLessThanOrEqual(5);
  });

  it('draws one chart per frame, and every one gets its turn', () => {
    const drawn = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let perFrame = 0;
    let most = 0;
    for (const index of drawn.keys()) {
      ticker.add('chart', () => {
        drawn[index] = (drawn[index] ?? 0) + 1;
        perFrame += 1;
      });
    }
    for (let now = 0; now < 1_000; now += 1000 / 60) {
      perFrame = 0;
      const run = pending;
      pending = null;
      run?.(now);
      most = Math.max(most, perFrame);
    }
    expect(most).toBe(1);
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(4);
  });

  it('asks what had nothing new again in the next frame, and lets another chart draw meanwhile', () => {
    let news = 0;
    const seen: number[] = [];
    let others = 0;
    ticker.add('chart', () => {
      if (news === 0) return false;
      seen.push(news);
      news = 0;
      return true;
    });
    ticker.add('chart', () => (others += 1));
    ticker.add('table', () => false);
    frames(200);
    expect(others).toBeGreaterThanOrEqual(2);
    news = 7;
    frames(1000 / 60);
    expect(seen).toEqual([7]);
  });

  it('stops while the page is hidden or nothing is registered', () => {
    const end = ticker.add('table', () => {});
    expect(pending).not.toBeNull();
    hidden = true;
    visibility();
    expect(pending).toBeNull();
    hidden = false;
    visibility();
    expect(pending).not.toBeNull();
    end();
    expect(pending).toBeNull();
  });

  it('goes on when a task throws', () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    let ran = 0;
    ticker.add('table', () => {
      throw new Error('broken');
    });
    ticker.add('table', () => (ran += 1));
    frames(100);
    expect(ran).toBe(1);
    vi.restoreAllMocks();
  });
});
