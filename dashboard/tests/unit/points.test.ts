import { describe, expect, it } from 'vitest';
import { Columns, Line } from '../../web/src/charts/line';
import { bucketPoints, MIXED, samplePoints, statePoints, stepFor } from '../../web/src/charts/points';
import { Ring } from '../../web/src/live/ring';

function ring(samples: [number, number][]): Ring {
  const filled = new Ring(100_000);
  for (const [time, value] of samples) filled.push(time, value);
  return filled;
}

/** What is drawn, with null for a gap. */
function drawn(line: Line): { x: number[]; lines: (number | null)[][] } {
  const y = [...line.y.subarray(0, line.length)].map((value) => (Number.isNaN(value) ? null : value));
  return { x: [...line.x.subarray(0, line.length)], lines: [y] };
}

function ringPoints(samples: Ring, from: number, to: number, width: number) {
  const line = new Line();
  samplePoints(samples, from, to, width, line);
  return drawn(line);
}

function columns(samples: [number, number][]): Columns {
  const filled = new Columns();
  for (const [time, value] of samples) filled.push(time, value);
  return filled;
}

describe('samplePoints', () => {
  it('gives single samples while there are at most two per pixel, one beyond each edge', () => {
    const points = ringPoints(ring([[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]), 2.5, 3.5, 100);
    expect(points).toEqual({ x: [2, 3, 4], lines: [[2, 3, 4]] });
  });

  it('draws no line over missing samples', () => {
    const points = ringPoints(ring([[1, 1], [2, 2], [3, 3], [20, 4], [21, 5]]), 0, 30, 100);
    expect(points.x).toEqual([1, 2, 3, 11.5, 20, 21]);
    expect(points.lines[0]).toEqual([1, 2, 3, null, 4, 5]);
  });

  it('breaks the line where the server said that samples are missing', () => {
    const filled = ring([[1, 1], [2, 2]]);
    filled.markBreak();
    filled.push(3, 3);
    expect(ringPoints(filled, 0, 10, 100).lines[0]).toEqual([1, 2, null, 3]);
  });

  it('joins slow series: five usual intervals are no gap', () => {
    const points = ringPoints(ring([[0, 1], [60, 2], [120, 3], [240, 4]]), 0, 300, 100);
    expect(points.lines[0]).toEqual([1, 2, 3, 4]);
  });

  it('leaves out values that are no numbers', () => {
    expect(ringPoints(ring([[1, 1], [2, NaN], [3, 3]]), 0, 10, 100).lines[0]).toEqual([1, null, 3]);
  });

  it('keeps peaks when there are more samples than pixels, and at most two points per pixel', () => {
    const samples = Array.from({ length: 10_000 }, (_, index): [number, number] => [index / 100, index === 5_005 ? 99 : index % 7]);
    const points = ringPoints(ring(samples), 0, 100, 200);
    expect(points.x.length).toBeLessThanOrEqual(402);
    expect(points.lines[0]).toContain(99);
    expect(points.x).toEqual(points.x.toSorted((a, b) => a - b));
  });

  it('does not shimmer: moving the window keeps the points inside', () => {
    const samples = Array.from({ length: 10_000 }, (_, index): [number, number] => [index / 100, Math.sin(index)]);
    const inside = ({ x, lines }: { x: number[]; lines: (number | null)[][] }) =>
      x.map((time, index) => `${time}:${lines[0]?.[index]}`).filter((_, index) => (x[index] as number) > 20 && (x[index] as number) < 60);
    expect(inside(ringPoints(ring(samples), 10.123, 90.123, 200))).toEqual(inside(ringPoints(ring(samples), 10.456, 90.456, 200)));
  });

  it('does not shimmer at the times of today either, where differences are not exact', () => {
    const today = 1_795_000_000;
    const samples = Array.from({ length: 10_000 }, (_, index): [number, number] => [today + index / 10, Math.sin(index)]);
    const pictures = [0.1, 0.3, 0.7].map((moved) => {
      const { x, lines } = ringPoints(ring(samples), today + 100 + moved, today + 400 + moved, 300);
      return x.map((time, index) => `${time}:${lines[0]?.[index]}`).filter((_, index) => (x[index] as number) > today + 150 && (x[index] as number) < today + 350);
    });
    expect(pictures[1]).toEqual(pictures[0]);
    expect(pictures[2]).toEqual(pictures[0]);
  });
});

describe('helpers', () => {
  it('chooses about 300 buckets', () => {
    expect([60, 900, 3_600, 86_400, 604_800].map(stepFor)).toEqual([1, 5, 15, 300, 3_600]);
  });

  it('separates buckets that are not neighbours, and keeps their smallest and largest', () => {
    const buckets = new Columns(true);
    for (const [time, value] of [[0, 0], [10, 1], [20, 2], [50, 3]] as const) buckets.push(time, value, value - 1, value + 1);
    const line = new Line();
    bucketPoints(buckets, 10, 60, 10, line);
    expect(drawn(line)).toEqual({ x: [0, 10, 20, 35, 50], lines: [[0, 1, 2, null, 3]] });
    expect([...line.low.subarray(0, line.length)]).toEqual([-1, 0, 1, NaN, 2]);
    expect([...line.high.subarray(0, line.length)]).toEqual([1, 2, 3, NaN, 4]);
  });

  it('joins buckets of a metric that comes more rarely than there are buckets', () => {
    const buckets = new Columns();
    for (const [time, value] of [[0, 1], [60, 2], [120, 3], [300, 4]] as const) buckets.push(time, value);
    const line = new Line();
    bucketPoints(buckets, 0, 400, 10, line);
    expect(drawn(line).lines[0]).toEqual([1, 2, 3, null, 4]);
  });
});

describe('statePoints', () => {
  const states = (samples: Columns, from: number, to: number, width: number) => {
    const line = new Line();
    statePoints(samples, from, to, width, line);
    return drawn(line);
  };

  it('tells where states begin, and what held before the beginning', () => {
    const samples = columns([[1, 0], [5, 1], [6, 1], [7, 0], [20, 2]]);
    expect(states(samples, 3, 10, 700)).toEqual({ x: [1, 5, 7], lines: [[0, 1, 0]] });
  });

  it('joins what is shorter than a pixel, so that a metric that changes all the time is drawn in bounded time', () => {
    const samples = columns(Array.from({ length: 10_000 }, (_, index): [number, number] => [index / 100, index % 5]));
    const { x, lines } = states(samples, 0, 100, 50);
    expect(x.length).toBeLessThanOrEqual(2 * 50 + 1);
    expect(lines[0]).toContain(MIXED);
  });
});

describe('Columns', () => {
  it('keep time order whatever comes first, and replace what comes again', () => {
    const samples = columns([[2, 2], [1, 1], [3, 3], [2, 9]]);
    expect([0, 1, 2].map((at) => [samples.time(at), samples.value(at)])).toEqual([[1, 1], [2, 9], [3, 3]]);
    expect(samples.length).toBe(3);
  });

  it('grow, and forget what is outside', () => {
    const samples = columns(Array.from({ length: 1_000 }, (_, index): [number, number] => [index, -index]));
    samples.keep(100, 900);
    expect([samples.length, samples.time(0), samples.value(799), samples.time(800)]).toEqual([800, 100, -899, NaN]);
  });
});

describe('Line', () => {
  it('finds the point next to a time and never a gap', () => {
    const line = new Line();
    for (const [time, value] of [[1, 5], [2, NaN], [4, 6]] as const) line.push(time, value);
    expect([0, 1.9, 2.4, 2.6, 9].map((time) => line.nearest(time))).toEqual([0, 0, 0, 2, 2]);
    expect(new Line().nearest(1)).toBe(-1);
    line.gap(5);
    expect(line.last).toBe(2);
  });
});
