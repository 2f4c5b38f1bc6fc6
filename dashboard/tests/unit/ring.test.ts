import { describe, expect, it } from 'vitest';
import { Ring } from '../../web/src/live/ring';

function content(ring: Ring): [number, number][] {
  return Array.from({ length: ring.length }, (_, index) => [ring.time(index), ring.value(index)]);
}

function filled(capacity: number, ...times: number[]): Ring {
  const ring = new Ring(capacity);
  for (const time of times) ring.push(time, time * 10);
  return ring;
}

describe('Ring', () => {
  it('drops the oldest sample at its bound', () => {
    expect(content(filled(3, 1, 2, 3, 4, 5))).toEqual([
      [3, 30],
      [4, 40],
      [5, 50],
    ]);
  });

  it('grows past its first allocation without losing anything', () => {
    const ring = filled(1_000, ...Array.from({ length: 1_000 }, (_, index) => index));
    expect(ring.length).toBe(1_000);
    expect(ring.time(0)).toBe(0);
    expect(ring.lastTime).toBe(999);
  });

  it('puts a late sample in its place', () => {
    expect(content(filled(10, 1, 3, 5, 2, 4, 0)).map(([time]) => time)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('puts a late sample in its place when full, and drops the oldest', () => {
    const ring = filled(4, 1, 2, 4, 6, 8);
    ring.push(5, 50);
    expect(content(ring).map(([time]) => time)).toEqual([4, 5, 6, 8]);
    ring.push(3, 30);
    expect(content(ring).map(([time]) => time)).toEqual([4, 5, 6, 8]);
  });

  it('lets the sample stored last win at one time', () => {
    const ring = filled(10, 1, 2, 3);
    ring.push(2, 99);
    expect(content(ring)).toEqual([
      [1, 10],
      [2, 99],
      [3, 30],
    ]);
  });

  it('agrees with a sorted list under random input', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 16) % below;
    };
    const ring = new Ring(50);
    let model: [number, number][] = [];
    for (let step = 0; step < 5_000; step += 1) {
      const time = step + random(40);
      ring.push(time, step);
      const at = model.findIndex(([other]) => other === time);
      if (at >= 0) model[at] = [time, step];
      else model.push([time, step]);
      model.sort((a, b) => a[0] - b[0]);
      model = model.slice(-50);
    }
    expect(content(ring)).toEqual(model);
  });

  it('knows where something is missing', () => {
    const ring = filled(10, 1, 2);
    ring.markBreak();
    ring.markBreak();
    ring.push(3, 30);
    ring.push(4, 40);
    expect([ring.breaksBetween(1, 2), ring.breaksBetween(2, 3), ring.breaksBetween(3, 4)]).toEqual([false, true, false]);
  });

  it('finds the first sample at or after a time', () => {
    const ring = filled(4, 1, 2, 3, 4, 5, 6);
    expect([0, 3, 3.5, 6, 7].map((time) => ring.lowerBound(time))).toEqual([0, 0, 1, 3, 4]);
  });

  it('is empty after clear and outside of its range', () => {
    const ring = filled(4, 1, 2);
    expect(ring.time(2)).toBeNaN();
    expect(ring.time(-1)).toBeNaN();
    ring.clear();
    expect(ring.length).toBe(0);
    expect(ring.lastTime).toBeNaN();
  });
});
