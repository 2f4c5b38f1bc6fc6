/** Tiles of the map: which, where, how many, and what becomes of a server that does not answer. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as map from '../../web/src/pages/map/projection';
import { loadTile } from '../../web/src/pages/map/tile-image';
import { FAILURES_TOLD, LOADING_MAX, PROBE_MS, RETRY_MS, TILES_MAX, TileStore } from '../../web/src/pages/map/tile-store';
import { type Cell, IN_SIGHT_MAX, keyOf, piecesOf, tilesInSight, urlOf } from '../../web/src/pages/map/tiles';

const SIZE = { width: 800, height: 600 };
const at = (latitude: number, longitude: number, zoom: number): map.View => ({ x: map.worldX(longitude), y: map.worldY(latitude), zoom });
const keys = (cells: readonly Cell[]) => cells.map(keyOf);

describe('tiles in sight', () => {
  it('are those of the zoom, at their places', () => {
    // Berlin's tile at zoom 10, as every tile server counts.
    const [first, ...others] = tilesInSight(at(52.5163, 13.3777, 10), SIZE, 19) as [Cell, ...Cell[]];
    expect(keyOf(first)).toBe('10/550/335');
    expect(first.left).toBeLessThan(SIZE.width / 2);
    expect(first.right).toBeGreaterThan(SIZE.width / 2);
    expect(first.right - first.left).toBeCloseTo(256, 6);
    expect(others.length).toBeGreaterThanOrEqual(8);
    expect(new Set(keys([first, ...others])).size).toBe(others.length + 1);
  });

  it('cover the picture without a gap and none lies beside it', () => {
    for (const zoom of [1.6, 2, 3.49, 3.51, 7.2, 17.9]) {
      const cells = tilesInSight(map.bounded(at(40, -100, zoom), SIZE), SIZE, 19);
      const area = cells.reduce((sum, { left, top, right, bottom }) => {
        const [wide, high] = [Math.min(right, SIZE.width) - Math.max(left, 0), Math.min(bottom, SIZE.height) - Math.max(top, 0)];
        expect(Math.min(wide, high), `${zoom}`).toBeGreaterThan(0);
        return sum + wide * high;
      }, 0);
      expect(area, `${zoom}`).toBeCloseTo(SIZE.width * SIZE.height, 3);
    }
  });

  it('begin in the middle', () => {
    const cells = tilesInSight(at(0.1, 0.1, 6), SIZE, 19);
    const far = cells.map(({ left, right, top, bottom }) => Math.hypot((left + right - SIZE.width) / 2, (top + bottom - SIZE.height) / 2));
    expect(far).toEqual([...far].sort((a, b) => a - b));
    expect(far[0]).toBeLessThan(256);
  });

  it('go round the world', () => {
    const cells = tilesInSight(at(0, 179.9, 3), SIZE, 19);
    const columns = new Set(cells.map((one) => one.x));
    expect(columns.has(7) && columns.has(0)).toBe(true);
    for (const { x, y } of cells) {
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x).toBeLessThan(8);
      expect(y).toBeGreaterThanOrEqual(0);
      expect(y).toBeLessThan(8);
    }
    const east = cells.find((one) => one.x === 0) as Cell;
    const west = cells.find((one) => one.x === 7 && one.y === east.y) as Cell;
    expect(east.left).toBeCloseTo(west.right, 6);
  });

  it('are there more than once where the world is narrower than the picture', () => {
    const cells = tilesInSight({ x: 0.5, y: 0.5, zoom: 0 }, { width: 1000, height: 256 }, 19);
    expect(new Set(keys(cells))).toEqual(new Set(['0/0/0']));
    expect(cells).toHaveLength(5);
  });

  it('end where the world does and at the zoom that the server has', () => {
    const poles = tilesInSight({ x: 0.5, y: 0.5, zoom: 1 }, { width: 512, height: 2_000 }, 19);
    expect(new Set(poles.map((one) => one.y))).toEqual(new Set([0, 1]));
    const large = tilesInSight(at(10, 10, 9), SIZE, 5);
    expect(new Set(large.map((one) => one.z))).toEqual(new Set([5]));
    expect((large[0] as Cell).right - (large[0] as Cell).left).toBeCloseTo(256 * 16, 6);
    expect(tilesInSight(at(0, 0, 3), { width: 0, height: 600 }, 19)).toEqual([]);
  });

  it('are never more than a server should be asked for at a time', () => {
    for (const zoom of [5.4, 5.5, 5.6, 12.5]) {
      const cells = tilesInSight(at(30, 30, zoom), { width: 7_680, height: 4_320 }, 19);
      expect(cells.length).toBeLessThanOrEqual(IN_SIGHT_MAX);
      expect(cells.length).toBeGreaterThan(IN_SIGHT_MAX / 8);
    }
    expect(TILES_MAX).toBeGreaterThan(IN_SIGHT_MAX);
  });

  it('have an address each', () => {
    expect(urlOf('https://t.example/{z}/{x}/{y}@2x.png?k={z}', { z: 3, x: 1, y: 2 })).toBe('https://t.example/3/1/2@2x.png?k=3');
  });
});

describe('what is drawn', () => {
  const cell: Cell = { z: 4, x: 5, y: 6, left: 0, top: 100, right: 256, bottom: 356 };
  const from = (...held: string[]) => piecesOf(cell, (key) => (held.includes(key) ? key : undefined));

  it('is the tile alone, if it is there', () => {
    expect(from('4/5/6', '3/2/3', '5/10/12')).toEqual([{ left: 0, top: 100, right: 256, bottom: 356, picture: '4/5/6', part: { x: 0, y: 0, size: 1 } }]);
  });

  it('is a part of a coarser one until it is, and finer ones on that', () => {
    expect(from()).toEqual([]);
    expect(from('2/1/1', '1/0/0')).toEqual([{ left: 0, top: 100, right: 256, bottom: 356, picture: '2/1/1', part: { x: 0.25, y: 0.5, size: 0.25 } }]);
    expect(from('3/2/3', '5/11/13').map((one) => [one.picture, one.left, one.top])).toEqual([['3/2/3', 0, 100], ['5/11/13', 128, 228]]);
  });
});

describe('the store', () => {
  let now = 0;
  let changed: ReturnType<typeof vi.fn>;
  let open: Map<string, (picture: string | null) => void>;
  let asked: string[];
  let store: TileStore<string>;

  beforeEach(() => {
    vi.useFakeTimers();
    now = 0;
    changed = vi.fn();
    open = new Map();
    asked = [];
    const load = (url: string, done: (picture: string | null) => void) => {
      asked.push(url);
      open.set(url, done);
      return () => void open.delete(url);
    };
    store = new TileStore<string>('{z}/{x}/{y}', load, changed as () => void, () => now);
  });
  afterEach(() => {
    store.end();
    vi.useRealTimers();
  });

  const cells = (n: number, row = 0): Cell[] => Array.from({ length: n }, (_, x) => ({ z: 10, x, y: row, left: 0, top: 0, right: 1, bottom: 1 }));
  /** All that is asked for comes, or fails. */
  const answer = (wanted: readonly Cell[], comes: boolean) => {
    for (let rounds = 0; open.size > 0 && rounds < 1_000; rounds += 1) {
      for (const [url, done] of [...open]) {
        open.delete(url);
        done(comes ? url : null);
      }
      store.look(wanted);
    }
  };

  it('asks for a few at a time, each once, in order', () => {
    const wanted = cells(20);
    expect(store.look(wanted)).toEqual([]);
    store.look(wanted);
    expect(asked).toEqual(keys(wanted).slice(0, LOADING_MAX));
    answer(wanted, true);
    expect(asked).toEqual(keys(wanted));
    expect(store.look(wanted).map((one) => one.picture)).toEqual(keys(wanted));
    expect(store.isTroubled).toBe(false);
  });

  it('gives up what is out of sight', () => {
    store.look(cells(3));
    expect(store.loading).toBe(3);
    store.look(cells(2, 7));
    expect([...open.keys()]).toEqual(['10/0/7', '10/1/7']);
    store.end();
    expect(open.size).toBe(0);
  });

  it('holds a bounded number, and those that were drawn last', () => {
    for (let row = 0; row < 20; row += 1) {
      store.look(cells(40, row));
      answer(cells(40, row), true);
    }
    expect(store.held).toBe(TILES_MAX);
    const before = asked.length;
    expect(store.look(cells(40, 19))).toHaveLength(40);
    expect(asked.length).toBe(before);
    store.look(cells(1, 0));
    expect(asked.length).toBe(before + 1);
  });

  it('tells of several failures and then asks for one at a time, seldom', () => {
    const wanted = cells(30);
    store.look(wanted);
    for (const [url, done] of [...open].slice(0, FAILURES_TOLD - 1)) {
      open.delete(url);
      done(null);
      store.look(wanted);
    }
    expect(store.isTroubled).toBe(false);
    answer(wanted, false);
    expect(store.isTroubled).toBe(true);
    const before = asked.length;
    expect(before).toBeLessThan(FAILURES_TOLD + 2 * LOADING_MAX);
    store.look(wanted);
    expect(asked.length).toBe(before);
    changed.mockClear();
    now = PROBE_MS;
    vi.advanceTimersByTime(PROBE_MS);
    expect(changed).toHaveBeenCalled();
    store.look(wanted);
    expect(asked.length).toBe(before + 1);
    // It is back: the others follow, and those that failed when their time has come.
    answer(wanted, true);
    expect(asked.length).toBe(30);
    expect(store.isTroubled).toBe(false);
    now = RETRY_MS;
    vi.advanceTimersByTime(RETRY_MS);
    store.look(wanted);
    answer(wanted, true);
    expect(store.held).toBe(30);
  });

  it('a tile that the server does not have is not asked for again at once, and one alone is no trouble', () => {
    const wanted = cells(2);
    store.look(wanted);
    open.get('10/0/0')?.(null);
    open.delete('10/0/0');
    answer(wanted, true);
    expect(asked).toHaveLength(2);
    expect(store.isTroubled).toBe(false);
    now = RETRY_MS;
    vi.advanceTimersByTime(RETRY_MS);
    store.look(wanted);
    expect(asked).toEqual(['10/0/0', '10/1/0', '10/0/0']);
  });
});

describe('a tile', () => {
  const made: Picture[] = [];
  class Picture {
    referrerPolicy = '';
    crossOrigin: string | null = null;
    src = '';
    fail: (why: Error) => void = () => {};
    come: () => void = () => {};
    constructor() {
      made.push(this);
    }
    decode(): Promise<void> {
      return new Promise((done, failed) => {
        this.come = done;
        this.fail = failed;
      });
    }
    removeAttribute(): void {
      this.src = '';
    }
  }

  beforeEach(() => {
    vi.useFakeTimers();
    made.length = 0;
    vi.stubGlobal('Image', Picture);
    vi.stubGlobal('location', new URL('https://pulse.example:8443/map'));
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it('is asked for without saying who asks, and without the cookie of the session', () => {
    const cors = (url: string) => {
      loadTile(url, () => {});
      const { referrerPolicy, crossOrigin, src } = made.at(-1) as Picture;
      expect([referrerPolicy, src]).toEqual(['no-referrer', url]);
      return crossOrigin;
    };
    expect(cors('https://tile.example/1/0/0.png')).toBeNull();
    expect(cors('https://pulse.example:8443/tiles/1/0/0.png')).toBeNull();
    expect(cors('https://pulse.example/1/0/0.png')).toBe('anonymous');
  });

  it('comes, fails, takes too long, or is given up', async () => {
    const told: unknown[] = [];
    const load = () => loadTile('https://tile.example/1/0/0.png', (picture) => told.push(picture));
    const settle = () => vi.advanceTimersByTimeAsync(1);
    load();
    made[0]?.come();
    await settle();
    expect(told).toEqual([made[0]]);
    load();
    made[1]?.fail(new Error('not found'));
    await settle();
    expect(told.slice(1)).toEqual([null]);
    load();
    await vi.advanceTimersByTimeAsync(60_000);
    made[2]?.come();
    await settle();
    expect(told.slice(2)).toEqual([null]);
    expect(made[2]?.src).toBe('');
    load()();
    made[3]?.come();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told).toHaveLength(3);
    expect(made[3]?.src).toBe('');
  });
});
