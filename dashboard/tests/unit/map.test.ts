import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Position } from '../../web/src/api/service';
import { cluster, levelOf, members, RANKS } from '../../web/src/pages/map/cluster';
import { Points } from '../../web/src/pages/map/points';
import * as map from '../../web/src/pages/map/projection';

const SIZE = { width: 800, height: 600 };

describe('projection', () => {
  it('there and back is the same place', () => {
    for (const [lat, lon] of [[0, 0], [52.5, 13.4], [-33.9, 151.2], [85, -179.99], [-85, 179.99], [40.7, -74]] as const) {
      expect(map.latitudeAt(map.worldY(lat))).toBeCloseTo(lat, 9);
      expect(map.longitudeAt(map.worldX(lon))).toBeCloseTo(lon, 9);
    }
  });

  it('draws the poles at the edge and counts longitudes either way', () => {
    expect(map.worldY(90)).toBe(0);
    expect(map.worldY(-90)).toBe(1);
    expect(map.worldX(190)).toBeCloseTo(map.worldX(-170), 12);
    expect(map.worldX(180)).toBe(map.worldX(-180));
    expect(map.isPlace(90, 360)).toBe(true);
    for (const [lat, lon] of [[91, 0], [0, 361], [Number.NaN, 0], [0, Number.POSITIVE_INFINITY]] as const) expect(map.isPlace(lat, lon)).toBe(false);
  });

  it('goes round the world over the date line', () => {
    const view = { x: map.worldX(179), y: 0.5, zoom: 4 };
    const west = map.screenX(map.worldX(178), view, SIZE);
    const east = map.screenX(map.worldX(-178), view, SIZE);
    expect(west).toBeLessThan(400);
    expect(east).toBeGreaterThan(400);
    expect(east - west).toBeCloseTo((4 / 360) * map.scaleOf(4), 6);
    const over = map.panned(view, -100, 0, SIZE);
    expect(over.x).toBeGreaterThanOrEqual(0);
    expect(over.x).toBeLessThan(1);
  });

  it('keeps what is under the pointer when zooming', () => {
    const view = { x: 0.5, y: 0.4, zoom: 5 };
    const at = { x: 700, y: 100 };
    const place = (v: map.View) => [v.x + (at.x - 400) / map.scaleOf(v.zoom), v.y + (at.y - 300) / map.scaleOf(v.zoom)];
    const next = map.zoomed(view, 1.5, at, SIZE);
    expect(next.zoom).toBe(6.5);
    expect(place(next)[0]).toBeCloseTo(place(view)[0] as number, 9);
    expect(place(next)[1]).toBeCloseTo(place(view)[1] as number, 9);
  });

  it('never leaves the world, and ends at the last zoom', () => {
    expect(map.panned({ x: 0.5, y: 0.5, zoom: 3 }, 0, 1e9, SIZE).y).toBeGreaterThan(0);
    expect(map.zoomed({ x: 0.5, y: 0.5, zoom: 3 }, 99, { x: 0, y: 0 }, SIZE).zoom).toBe(map.ZOOM_MAX);
    const out = map.zoomed({ x: 0.5, y: 0.5, zoom: 3 }, -99, { x: 0, y: 0 }, SIZE);
    expect(map.scaleOf(out.zoom)).toBeGreaterThanOrEqual(SIZE.height);
  });

  it('fits places on both sides of the date line without going round the other way', () => {
    const xs = [map.worldX(175), map.worldX(-175)];
    const ys = [map.worldY(-40), map.worldY(-42)];
    const view = map.fitted(xs, ys, SIZE);
    expect(Math.abs(map.wrapLongitude(map.longitudeAt(view.x) - 180))).toBeLessThan(1);
    expect(view.zoom).toBeGreaterThan(4);
    for (const x of xs) {
      expect(map.screenX(x, view, SIZE)).toBeGreaterThan(0);
      expect(map.screenX(x, view, SIZE)).toBeLessThan(SIZE.width);
    }
    expect(map.fitted([], [], SIZE).zoom).toBeGreaterThan(0);
    expect(map.fitted([0.3], [0.4], SIZE).zoom).toBeLessThan(map.ZOOM_MAX);
  });

  it('is written in the address and read from it', () => {
    const view = { x: map.worldX(13.3777), y: map.worldY(52.5162), zoom: 11.5 };
    const read = map.readView(map.writeView(view)) as map.View;
    expect(read.zoom).toBe(11.5);
    expect(read.x).toBeCloseTo(view.x, 6);
    expect(read.y).toBeCloseTo(view.y, 6);
    for (const text of [null, '', '1,2', '99,0,3', '0,0,99', 'a,b,c', '1,2,3,4']) expect(map.readView(text), String(text)).toBeNull();
  });

  it('has a scale with a round length', () => {
    for (const zoom of [1, 5.3, 12, 18]) {
      const { meters, pixels } = map.scaleBar({ x: 0.5, y: 0.35, zoom }, 100);
      expect(pixels).toBeLessThanOrEqual(100);
      expect(pixels).toBeGreaterThan(30);
      expect([1, 2, 5]).toContain(Number(String(meters.toPrecision(1))[0]));
    }
  });
});

describe('clusters', () => {
  const random = (count: number) => {
    let seed = 1;
    const next = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    return { x: Float64Array.from({ length: count }, next), y: Float64Array.from({ length: count }, next), rank: Uint8Array.from({ length: count }, () => Math.floor(next() * RANKS.length)) };
  };

  it('hold every point once and show the worst', () => {
    const { x, y, rank } = random(5_000);
    for (const level of [0, 3, 9, 18]) {
      const found = cluster(x, y, rank, x.length, level);
      let sum = 0;
      for (let index = 0; index < found.count; index += 1) {
        const own = members(found, index);
        expect(own.length).toBe(found.size[index]);
        expect(found.rank[index]).toBe(Math.max(...own.map((point) => rank[point] as number)));
        expect(rank[found.first[index] as number]).toBe(found.rank[index]);
        sum += own.length;
        if (index > 200) break;
      }
      expect(found.size.subarray(0, found.count).reduce((a, b) => a + b, 0)).toBe(5_000);
      expect(sum).toBeGreaterThan(0);
    }
  });

  it('part when one zooms in, except what is in one place', () => {
    const x = [0.5, 0.500_01, 0.7, 0.7];
    const y = [0.5, 0.5, 0.2, 0.2];
    const count = (zoom: number) => cluster(x, y, [0, 0, 0, 0], 4, levelOf(zoom)).count;
    expect(count(0)).toBe(2);
    expect(count(18)).toBe(3);
    expect(levelOf(99)).toBe(levelOf(18));
  });

  it('do not lie on each other', () => {
    const { x, y, rank } = random(20_000);
    const found = cluster(x, y, rank, x.length, 3);
    let close = 0;
    for (let a = 0; a < found.count; a += 1) {
      for (let b = 0; b < a; b += 1) {
        const px = Math.hypot((found.x[a] as number) - (found.x[b] as number), (found.y[a] as number) - (found.y[b] as number)) * map.scaleOf(3);
        if (px < 20) close += 1;
      }
    }
    expect(close / found.count).toBeLessThan(0.02);
  });

  it('of 20,000 points take a few milliseconds', () => {
    const { x, y, rank } = random(20_000);
    const begin = performance.now();
    for (let level = 0; level <= 18; level += 1) cluster(x, y, rank, x.length, level);
    expect((performance.now() - begin) / 19).toBeLessThan(100);
  });
});

describe('points', () => {
  const position = (device: string, more: Partial<Position> = {}): Position => ({
    device,
    name: '',
    presence: 'online',
    severity: null,
    latitude: 52,
    longitude: 13,
    time: '2026-11-21T09:00:00Z',
    ...more,
  });

  it('judge by the open alert first, then by presence', () => {
    const points = new Points();
    points.load([position('a'), position('b', { presence: 'offline' }), position('c', { presence: 'offline', severity: 'critical' })]);
    expect([...points.rank].map((rank) => RANKS[rank])).toEqual(['online', 'offline', 'critical']);
    expect(points.state(2, undefined, null)).toBe(true);
    expect(RANKS[points.rank[2] as number]).toBe('offline');
    expect(points.state(2, 'offline', undefined)).toBe(false);
  });

  it('move with what is newer, and an answer that is older does not take them back', () => {
    const points = new Points();
    points.load([position('a')]);
    const ms = Date.parse('2026-11-21T09:00:05Z');
    expect(points.move('a', 52.5, 13.5, ms)).toBe(true);
    expect(points.move('a', 1, 1, ms - 1)).toBe(false);
    expect(points.move('a', 91, 1, ms + 1)).toBe(false);
    expect(points.move('unknown', 1, 1, ms)).toBe(false);
    points.load([position('a', { time: '2026-11-21T09:00:03Z' })]);
    expect(points.latitude[0]).toBe(52.5);
  });

  it('name those that are nowhere on earth', () => {
    const points = new Points();
    points.load([position('a', { latitude: 200, name: 'Ship' }), position('b')]);
    expect(points.count).toBe(1);
    expect(points.nowhere).toEqual(['Ship']);
  });
});

describe('outline of the world', () => {
  const file = readFileSync(resolve(import.meta.dirname, '../../web/src/pages/map/world.json'));

  it('is small and stays on earth', () => {
    expect(gzipSync(file, { level: 9 }).length).toBeLessThan(30 * 1024);
    const rings = JSON.parse(file.toString()) as number[][];
    expect(rings.length).toBeGreaterThan(100);
    for (const ring of rings) {
      let [lon, lat] = [0, 0];
      for (let at = 0; at < ring.length; at += 2) {
        lon += ring[at] as number;
        lat += ring[at + 1] as number;
        expect(Math.abs(lon)).toBeLessThanOrEqual(54_000);
        if (at > 0) expect(Math.abs(ring[at] as number)).toBeLessThan(18_000);
        expect(Math.abs(lat)).toBeLessThanOrEqual(9_000);
      }
    }
  });
});
