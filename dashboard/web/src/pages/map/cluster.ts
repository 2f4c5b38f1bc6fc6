/** Points that would lie on each other are drawn as one. They are gathered by the cells of a fixed grid, so that nothing jumps while one pans. */

/** How much a device wants to be seen: the worst of a cluster gives it colour and shape. */
export const RANKS = ['online', 'stale', 'offline', 'info', 'warning', 'critical'] as const;
export type Rank = (typeof RANKS)[number];

export interface Clusters {
  /** The zoom for which they were made. */
  level: number;
  count: number;
  x: Float64Array;
  y: Float64Array;
  /** Points in it. */
  size: Uint32Array;
  /** Index in RANKS. */
  rank: Uint8Array;
  /** One of its points: the worst, or the first of them. */
  first: Uint32Array;
  /** The cluster of each point. */
  of: Uint32Array;
}

/** Cells are 64 pixels at a whole zoom. The world has a whole number of them, so none lies over the date line. */
const CELLS_AT_0 = 4;
/** From here on what lies together is drawn together only if it is in one place. */
const LEVEL_MAX = 17;

export function levelOf(zoom: number): number {
  return Math.min(LEVEL_MAX + 1, Math.max(0, Math.floor(zoom)));
}

/** Nearer than so many pixels two are one. */
const APART_PX = 42;

/** `x` and `y` from 0 to 1. */
export function cluster(x: ArrayLike<number>, y: ArrayLike<number>, rank: ArrayLike<number>, count: number, level: number): Clusters {
  // Beyond the last level the cells are so small that only points in one place share one.
  const alone = level > LEVEL_MAX;
  const cells = alone ? 2 ** 26 : CELLS_AT_0 * 2 ** level;
  const cell = (value: number) => Math.min(cells - 1, Math.floor(value * cells));
  const at = new Map<number, number>();
  const keys: number[] = [];
  const out: Clusters = {
    level,
    count: 0,
    x: new Float64Array(count),
    y: new Float64Array(count),
    size: new Uint32Array(count),
    rank: new Uint8Array(count),
    first: new Uint32Array(count),
    of: new Uint32Array(count),
  };
  for (let point = 0; point < count; point += 1) {
    const key = cell(x[point] as number) * cells + cell(y[point] as number);
    let index = at.get(key);
    if (index === undefined) {
      index = out.count;
      out.count += 1;
      at.set(key, index);
      keys.push(key);
      out.first[index] = point;
      out.rank[index] = rank[point] as number;
    }
    out.of[point] = index;
    take(out, index, x[point] as number, y[point] as number, 1, rank[point] as number, point);
  }
  return alone ? out : merged(out, at, keys, cells);
}

/** Adds what lies at a place to a cluster; its own place is the mean, step by step. */
function take(out: Clusters, index: number, x: number, y: number, size: number, rank: number, first: number): void {
  const before = out.size[index] as number;
  const all = before + size;
  out.x[index] = ((out.x[index] as number) * before + x * size) / all;
  out.y[index] = ((out.y[index] as number) * before + y * size) / all;
  out.size[index] = all;
  if (rank > (out.rank[index] as number)) {
    out.rank[index] = rank;
    out.first[index] = first;
  }
}

/** Clusters of neighbouring cells that would lie on each other become one; the larger takes the smaller. */
function merged(from: Clusters, at: ReadonlyMap<number, number>, keys: readonly number[], cells: number): Clusters {
  const near = APART_PX / (64 * cells);
  const into = Int32Array.from({ length: from.count }, (_, index) => index);
  const order = Array.from(into).sort((a, b) => (from.size[b] as number) - (from.size[a] as number) || a - b);
  const taken = new Uint8Array(from.count);
  for (const index of order) {
    if (taken[index] === 1) continue;
    taken[index] = 1;
    const key = keys[index] as number;
    const [column, row] = [Math.floor(key / cells), key % cells];
    for (let dx = -1; dx <= 1; dx += 1) {
      for (let dy = -1; dy <= 1; dy += 1) {
        const c = column + dx;
        const r = row + dy;
        if ((dx === 0 && dy === 0) || c < 0 || r < 0 || c >= cells || r >= cells) continue;
        const other = at.get(c * cells + r);
        if (other === undefined || taken[other] === 1) continue;
        const distance = Math.hypot((from.x[other] as number) - (from.x[index] as number), (from.y[other] as number) - (from.y[index] as number));
        if (distance >= near) continue;
        taken[other] = 1;
        into[other] = index;
        take(from, index, from.x[other] as number, from.y[other] as number, from.size[other] as number, from.rank[other] as number, from.first[other] as number);
      }
    }
  }
  // Those that are left move together.
  const number = new Int32Array(from.count);
  let count = 0;
  for (let index = 0; index < from.count; index += 1) {
    if (into[index] !== index) continue;
    number[index] = count;
    for (const column of [from.x, from.y, from.size, from.rank, from.first]) column[count] = column[index] as number;
    count += 1;
  }
  for (let point = 0; point < from.of.length; point += 1) from.of[point] = number[into[from.of[point] as number] as number] as number;
  return { ...from, count };
}

/** The points of a cluster. */
export function members({ of }: Clusters, index: number): number[] {
  const found: number[] = [];
  for (let point = 0; point < of.length; point += 1) if (of[point] === index) found.push(point);
  return found;
}
