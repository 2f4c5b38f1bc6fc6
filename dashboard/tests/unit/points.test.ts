import { describe, expect, it } from 'vitest';
import { isolated, ringPoints, stepFor, withGaps } from '../../web/src/charts/points';
import { Ring } from '../../web/src/live/ring';

function ring(samples: [number, number][]): Ring {
  const filled = new Ring(100_000);
  for (const [time, value] of samples) filled.push(time, value);
  return filled;
}

describe('ringPoints', () => {
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
});

describe('helpers', () => {
  it('chooses about 300 buckets', () => {
    expect([60, 900, 3_600, 86_400, 604_800].map(stepFor)).toEqual([1, 5, 15, 300, 3_600]);
  });

  it('separates buckets that are not neighbours', () => {
    expect(withGaps({ x: [10, 20, 50], lines: [[1, 2, 3], [4, 5, 6]] }, 15)).toEqual({
      x: [10, 20, 35, 50],
      lines: [[1, 2, null, 3], [4, 5, null, 6]],
    });
  });

  it('finds points that no line would show', () => {
    expect(isolated([1, null, 2, 3, null, 4])).toEqual([0, 5]);
  });
});
