/** Feeds of charts that ask the history: what fails or is missing is asked for again. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Sink } from '../../web/src/live/client';

const world = vi.hoisted(() => ({
  nowMs: 1_800_000_000_000,
  listeners: new Set<{ lost?(): void }>(),
  sink: null as unknown,
  subscribed: [] as { selection: unknown; sink: unknown }[],
  query: null as unknown,
  device: null as unknown,
}));

vi.mock('../../web/src/state/live.svelte', () => ({
  ticker: {},
  link: {
    client: {
      clock: { nowMs: () => world.nowMs },
      listen: (one: { lost?(): void }) => {
        world.listeners.add(one);
        return () => world.listeners.delete(one);
      },
    },
    subscribe: (selection: unknown, sink: unknown) => {
      world.sink = sink;
      world.subscribed.push({ selection, sink });
      return () => {};
    },
  },
}));
vi.mock('../../web/src/api/client', () => ({
  ApiError: class extends Error {
    constructor(readonly status: number, readonly code: string, message: string) {
      super(message);
    }
  },
  api: {
    query: (...all: unknown[]) => (world.query as (...all: unknown[]) => unknown)(...all),
    device: (id: string) => (world.device as (id: string) => unknown)(id),
    devicePage: async () => ({ items: [], next: null, total: 0 }),
    facets: async () => null,
  },
}));

import { ApiError } from '../../web/src/api/client';
import { HistoryFeed } from '../../web/src/charts/history';
import { Line } from '../../web/src/charts/line';
import { type LineSpec, openFeed } from '../../web/src/charts/source';
import { AcrossOrigin } from '../../web/src/pages/explore/across';
import { resolve } from '../../web/src/pages/explore/found.svelte';
import { readWanted } from '../../web/src/pages/explore/wanted';

const query = vi.fn();
const rest = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const lost = () => world.listeners.forEach((one) => one.lost?.());

beforeEach(() => {
  vi.useFakeTimers();
  query.mockReset();
  world.query = query;
  world.listeners.clear();
});
afterEach(() => vi.useRealTimers());

describe('lines of a chart that several subscriptions bring', () => {
  const spec = (device: string, metric: string, type: LineSpec['type'] = 'f64'): LineSpec => ({ device, metric, type });
  const specs = [spec('a', 'temperature'), spec('a', 'setpoint'), spec('b', 'temperature'), spec('a', 'state', 'text')];
  const begin = () => {
    world.subscribed = [];
    const feed = openFeed(specs, { kind: 'live', rangeMs: 300_000 });
    const sinks = world.subscribed.map(({ selection, sink }) => ({ metrics: (selection as { metrics: string[] }).metrics, sink: sink as Sink }));
    return { feed, of: (metric: string) => sinks.find(({ metrics }) => metrics.includes(metric))?.sink as Sink };
  };
  const define = (sink: Sink, metric: string, devices: string[], type: LineSpec['type'] = 'f64') =>
    sink.define(devices.map((device, index) => ({ index, device, metric, unit: '', type, labels: [] })));
  const batch = (sink: Sink, samples: [number, number][]) =>
    sink.batch({
      type: 'batch',
      subscription: 1,
      position: 1n,
      previous: 0n,
      baseUs: 0,
      history: false,
      conflated: false,
      series: Uint32Array.from(samples.map(([series]) => series)),
      offsetsUs: Uint32Array.from(samples.map((_, at) => at * 1_000_000)),
      values: Float64Array.from(samples.map(([, value]) => value)),
    });
  const drawn = (feed: ReturnType<typeof openFeed>, index: number) => {
    const line = new Line();
    feed.fill(index, 0, 100, 100, line);
    return [...line.y.slice(0, line.length)];
  };

  it('stay apart, though the server numbers the series of each from 0', () => {
    const { feed, of } = begin();
    expect(world.subscribed).toHaveLength(3);
    define(of('temperature'), 'temperature', ['a', 'b']);
    define(of('setpoint'), 'setpoint', ['a']);
    define(of('state'), 'state', ['a'], 'text');
    batch(of('temperature'), [[0, 4], [1, 7]]);
    batch(of('setpoint'), [[0, 5]]);
    of('state').texts([{ series: 0, timeUs: 1, text: 'open' }], false);
    expect([0, 1, 2].map((index) => drawn(feed, index))).toEqual([[4], [5], [7]]);
    expect(feed.words(3)).toEqual(['open']);
    feed.close();
  });

  it('that begin anew take nothing from the others', () => {
    const { feed, of } = begin();
    expect(feed.state).toBe('loading');
    define(of('temperature'), 'temperature', ['a', 'b']);
    define(of('setpoint'), 'setpoint', ['a']);
    batch(of('setpoint'), [[0, 5]]);
    of('setpoint').ready();
    expect(feed.state).toBe('ready');
    of('temperature').reset();
    expect(drawn(feed, 1)).toEqual([5]);
    of('temperature').refused(4, 'too many');
    expect([feed.state, feed.error]).toEqual(['ready', 'too many']);
    feed.close();
  });
});

describe('a stretch of time that stands still', () => {
  const open = () => new HistoryFeed([{ device: 'd', metric: 'm', type: 'f64' }], { kind: 'fixed', fromMs: 1, toMs: 7_200_001 });

  it('is asked for again after a failure, and not after an answer', async () => {
    query.mockRejectedValueOnce(new Error('away')).mockResolvedValue({ series: [] });
    const feed = open();
    await rest(0);
    expect([feed.state, feed.error]).toEqual(['failed', 'away']);
    await rest(10_000);
    expect([feed.state, feed.error]).toEqual(['ready', null]);
    lost();
    await rest(60_000);
    expect(query).toHaveBeenCalledTimes(2);
    feed.close();
  });

  it('is asked for at once when the connection is back', async () => {
    query.mockRejectedValueOnce(new Error('away')).mockResolvedValue({ series: [] });
    const feed = open();
    await rest(1_000);
    lost();
    lost();
    await rest(0);
    expect(feed.state).toBe('ready');
    await rest(60_000);
    expect(query).toHaveBeenCalledTimes(2);
    feed.close();
  });

  it('is let go of when it is closed', async () => {
    query.mockRejectedValue(new Error('away'));
    const feed = open();
    await rest(0);
    feed.close();
    lost();
    await rest(60_000);
    expect(query).toHaveBeenCalledTimes(1);
    expect(world.listeners.size).toBe(0);
  });
});

describe('many devices as one line', () => {
  const startS = world.nowMs / 1000 - 300;
  const open = () => {
    const members = [{ id: 'd', value: '' }];
    const live = { devices: [], groups: [], profiles: [], tags: [] };
    const feed = new AcrossOrigin({ fold: 'avg', by: '', values: [''], metrics: ['m'], live, members }).open({ kind: 'live', rangeMs: 300_000 });
    const sink = world.sink as Sink;
    sink.define([{ index: 1, device: '', metric: 'm', labels: [] }] as never);
    return { feed, sink };
  };
  const said = (sink: Sink, fromS: number, count: number) =>
    sink.batch({
      series: Uint32Array.from({ length: count }, () => 1),
      offsetsUs: Float64Array.from({ length: count }, (_, at) => at * 1e6),
      values: Float64Array.from({ length: count }, () => 7),
      baseUs: fromS * 1e6,
    } as never);
  const answer = (values: Record<number, number>) => ({
    series: [{ device: 'd', metric: 'm', times: Object.keys(values).map((time) => new Date(Number(time) * 1000).toISOString()), values: { avg: Object.values(values) } }],
  });
  const drawn = (feed: ReturnType<typeof open>['feed']) => {
    const line = new Line();
    feed.fill(0, startS, startS + 300, 1_000, line);
    return [...line.x.subarray(0, line.length)].map((time, at) => [time - startS, line.y[at]]);
  };

  it('has its gap filled from the history, and keeps what was told live', async () => {
    query.mockResolvedValueOnce({ series: [] });
    const { feed, sink } = open();
    await rest(0);
    sink.ready();
    said(sink, startS + 100, 5);
    sink.gap('slow' as never);
    said(sink, startS + 110, 5);
    expect(drawn(feed).some(([, value]) => Number.isNaN(value))).toBe(true);
    query.mockResolvedValueOnce(answer({ [startS + 104]: 9, [startS + 106]: 8 }));
    await rest(29_999);
    expect(query).toHaveBeenCalledTimes(1);
    await rest(1);
    expect(query).toHaveBeenCalledTimes(2);
    const points = drawn(feed);
    expect(points.some(([, value]) => Number.isNaN(value))).toBe(false);
    expect(points.some(([time, value]) => (time as number) > 104 && (time as number) < 110 && value === 8)).toBe(true);
    await rest(120_000);
    expect(query).toHaveBeenCalledTimes(2);
    feed.close();
  });

  it('asks once for several gaps', async () => {
    query.mockResolvedValue({ series: [] });
    const { feed, sink } = open();
    await rest(0);
    sink.gap('slow' as never);
    sink.reset();
    sink.gap('slow' as never);
    await rest(60_000);
    expect(query).toHaveBeenCalledTimes(2);
    feed.close();
  });

  it('shows live values though the history fails, and asks for it again', async () => {
    query.mockRejectedValueOnce(new Error('away')).mockResolvedValue({ series: [] });
    const { feed, sink } = open();
    await rest(0);
    expect([feed.state, feed.error]).toEqual(['failed', 'away']);
    sink.ready();
    expect([feed.state, feed.error]).toEqual(['ready', null]);
    await rest(10_000);
    expect(query).toHaveBeenCalledTimes(2);
    feed.close();
    sink.refused(1, 'no');
    expect(feed.error).toBe('no');
  });
});

describe('devices that were named', () => {
  const wanted = readWanted(new URLSearchParams('device=a&device=b&metric=m'));
  const signal = new AbortController().signal;

  it('are there though one of them could not be asked for', async () => {
    world.device = async (id: string) => {
      if (id === 'a') throw new ApiError(503, 'busy', 'busy');
      return { id };
    };
    const found = await resolve(wanted, signal);
    expect([found.devices.map((one) => one.id), found.missed, found.unknown.size]).toEqual([['b'], 1, 0]);
  });

  it('fail when none could be asked for; unknown ones do not', async () => {
    world.device = async () => {
      throw new ApiError(503, 'busy', 'busy');
    };
    await expect(resolve(wanted, signal)).rejects.toThrow('busy');
    world.device = async () => {
      throw new ApiError(404, 'unknown', 'unknown');
    };
    expect((await resolve(wanted, signal)).unknown).toEqual(new Set(['a', 'b']));
  });
});
