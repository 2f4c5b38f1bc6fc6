import { describe, expect, it } from 'vitest';
import type { BulkAnswer, Device, DeviceBulk } from '../../web/src/api/types';
import type { Selection as LiveSelection, Sink } from '../../web/src/live/client';
import { Ring } from '../../web/src/live/ring';
import type { Series } from '../../web/src/live/store';
import { countOf, inBulk } from '../../web/src/pages/devices/bulk';
import { layout, metricsOf, packColumns, parseColumns, SPARKS_MAX, sortOf, usualColumns, VALUES_MAX } from '../../web/src/pages/devices/columns';
import { Follower } from '../../web/src/pages/devices/follow';
import { PageCache, type Part } from '../../web/src/pages/devices/pages';
import { apiQuery, filterOf, isFiltered, readQuery, sortedBy, TAGS_MAX } from '../../web/src/pages/devices/query';
import { readingOf } from '../../web/src/pages/devices/readings';
import { CHOSEN_MAX, Selection } from '../../web/src/pages/devices/selection';
import { SPARK_MS, SparkStore, STEP_S, strokes } from '../../web/src/pages/devices/spark';

const settled = () => new Promise((done) => setTimeout(done));

/** A list of numbers whose answers come when the test says so. */
function list(total: number) {
  const asked: { offset: number; signal: AbortSignal; answer: (part?: Part<number>) => void; fail: () => void }[] = [];
  const load = (offset: number, limit: number, signal: AbortSignal) =>
    new Promise<Part<number>>((done, failed) => {
      const items = Array.from({ length: Math.max(0, Math.min(limit, total - offset)) }, (_, at) => offset + at);
      asked.push({ offset, signal, answer: (part = { total, items }) => done(part), fail: () => failed(new Error('no')) });
    });
  let answered = 0;
  const answerAll = async () => {
    for (; answered < asked.length; answered += 1) {
      asked[answered]?.answer();
      await settled();
    }
  };
  return { asked, load, answerAll };
}

describe('rows by their place', () => {
  it('reads what is in sight, and tells how many there are', async () => {
    const { load, asked, answerAll } = list(100_000);
    let changes = 0;
    const cache = new PageCache({ load, changed: () => (changes += 1) });
    cache.want(0, 40);
    expect(cache.total).toBeNull();
    expect(cache.row(0)).toBeUndefined();
    await answerAll();
    expect(asked.map(({ offset }) => offset)).toEqual([0]);
    expect(cache.total).toBe(100_000);
    expect(cache.row(39)).toBe(39);
    expect(changes).toBeGreaterThan(0);
    cache.want(99_950, 99_990);
    await answerAll();
    expect(cache.row(99_960)).toBe(99_960);
  });

  it('drops what was scrolled past before it came, and asks for two pages at once at most', async () => {
    const { load, asked } = list(100_000);
    const cache = new PageCache({ load, changed: () => {} });
    cache.want(0, 40);
    asked[0]?.answer();
    await settled();
    for (let first = 1_000; first < 50_000; first += 1_000) cache.want(first, first + 40);
    const open = asked.slice(1).filter(({ signal }) => !signal.aborted);
    expect(open.map(({ offset }) => offset)).toEqual([49_000]);
    cache.want(20_000, 20_900);
    expect(asked.slice(1).filter(({ signal }) => !signal.aborted).length).toBe(2);
  });

  it('keeps a bounded number of pages, those near what is looked at', async () => {
    const { load, answerAll } = list(100_000);
    const cache = new PageCache({ load, changed: () => {}, pagesMax: 10 });
    for (let page = 0; page < 100; page += 1) {
      cache.want(page * 100, page * 100 + 100);
      await answerAll();
    }
    expect(cache.kept).toBeLessThanOrEqual(10);
    expect(cache.row(9_950)).toBe(9_950);
    expect(cache.row(0)).toBeUndefined();
  });

  it('shows what it has while it is read again', async () => {
    const { load, asked, answerAll } = list(150);
    const cache = new PageCache({ load, changed: () => {} });
    cache.want(0, 40);
    await answerAll();
    cache.want(100, 140);
    await answerAll();
    cache.refresh();
    expect(cache.row(120)).toBe(120);
    expect(cache.row(5)).toBe(5);
    // Only what is in sight.
    expect(asked.map(({ offset }) => offset)).toEqual([0, 100, 100]);
    asked[2]?.answer({ total: 110, items: [7, 8, 9] });
    await settled();
    expect(cache.total).toBe(110);
    expect(cache.row(100)).toBe(7);
    cache.want(0, 40);
    expect(asked.at(-1)?.offset).toBe(0);
  });

  it('begins anywhere', async () => {
    const { load, asked, answerAll } = list(60_000);
    const cache = new PageCache({ load, changed: () => {} });
    cache.want(50_000, 50_040);
    await answerAll();
    expect(asked.map(({ offset }) => offset)).toEqual([50_000]);
    expect(cache.row(50_010)).toBe(50_010);
  });

  it('forgets rows that are gone', async () => {
    const { load, asked } = list(250);
    const cache = new PageCache({ load, changed: () => {} });
    cache.want(0, 100);
    asked[0]?.answer();
    await settled();
    cache.want(200, 250);
    asked[1]?.answer();
    await settled();
    cache.refresh();
    asked[2]?.answer({ total: 20, items: [] });
    await settled();
    expect(cache.total).toBe(20);
    expect(cache.row(210)).toBeUndefined();
    cache.want(0, 20);
    asked.at(-1)?.answer({ total: 0, items: [] });
    await settled();
    expect(cache.total).toBe(0);
  });

  it('stops at an error until it is tried again, and hears nothing after its end', async () => {
    const { load, asked } = list(500);
    let changes = 0;
    const cache = new PageCache({ load, changed: () => (changes += 1) });
    cache.want(0, 40);
    asked[0]?.fail();
    await settled();
    expect(cache.error?.message).toBe('no');
    cache.want(0, 41);
    expect(asked).toHaveLength(1);
    cache.retry();
    expect(asked).toHaveLength(2);
    cache.close();
    const before = changes;
    asked[1]?.answer();
    await settled();
    expect(changes).toBe(before);
  });
});

describe('what is asked for, in the address', () => {
  const read = (text: string) => readQuery(new URLSearchParams(text));

  it('is read as it stands, and what makes no sense is left out', () => {
    const query = read('q=pump&presence=online&severity=any&group=g&tag=site:north&tag=kind:a:b&tag=wrong&sort=metric:temp&order=desc');
    expect(query).toEqual({ q: 'pump', presence: 'online', severity: 'any', group: 'g', profile: '', tags: ['site:north', 'kind:a:b'], sort: 'metric:temp', descending: true });
    expect(read('presence=what&severity=bad&sort=color')).toMatchObject({ presence: '', severity: '', sort: 'id', descending: false });
    expect(read(Array.from({ length: 30 }, (_, index) => `tag=k:${index}`).join('&')).tags).toHaveLength(TAGS_MAX);
  });

  it('is asked of the API with every tag, the order and the place', () => {
    const search = apiQuery(read('q=a&tag=x:1&tag=y:2&sort=alerts&order=desc'), 300, 100, ['t', 'u']);
    expect(search.getAll('tag')).toEqual(['x:1', 'y:2']);
    expect(Object.fromEntries(search)).toMatchObject({ q: 'a', sort: 'alerts', order: 'desc', offset: '300', limit: '100', metrics: 't,u' });
    expect(apiQuery(read(''), 0, 100, []).toString()).toBe('offset=0&limit=100');
  });

  it('names what an action on all is done to', () => {
    expect(isFiltered(read('sort=name'))).toBe(false);
    expect(filterOf(read('sort=name'))).toEqual({});
    expect(filterOf(read('group=g&tag=x:1'))).toEqual({ group: 'g', tag: ['x:1'] });
  });

  it('changes with clicks on a column: its order, the other, none', () => {
    expect(sortedBy(read(''), 'name')).toEqual({ sort: 'name', order: null });
    expect(sortedBy(read('sort=name'), 'name')).toEqual({ sort: 'name', order: 'desc' });
    expect(sortedBy(read('sort=name&order=desc'), 'name')).toEqual({ sort: null, order: null });
    // The most alerts and the highest value first.
    expect(sortedBy(read(''), 'alerts')).toEqual({ sort: 'alerts', order: 'desc' });
    expect(sortedBy(read('sort=metric:t&order=desc'), 'metric:t')).toEqual({ sort: 'metric:t', order: null });
    expect(sortedBy(read('sort=metric:t'), 'metric:t')).toEqual({ sort: null, order: null });
  });
});

describe('columns', () => {
  it('survive the address with any name of a metric', () => {
    const keys = ['alerts', 'v:a,b', 's:温度', 'seen'];
    expect(parseColumns(packColumns(keys)).map(({ key }) => key)).toEqual(keys);
  });

  it('leave out what is unknown or too much', () => {
    expect(parseColumns('nothing,v:,seen,seen').map(({ key }) => key)).toEqual(['seen']);
    const many = parseColumns(packColumns(Array.from({ length: 12 }, (_, index) => [`v:m${index}`, `s:m${index}`]).flat()));
    expect(many.filter(({ kind }) => kind === 'value')).toHaveLength(VALUES_MAX);
    expect(many.filter(({ kind }) => kind === 'spark')).toHaveLength(SPARKS_MAX);
  });

  it('are what most devices measure where nobody chose, and no rare metric', () => {
    const metrics = [{ name: 'note', type: 'text', devices: 90 }, { name: 'temp', type: 'f64', devices: 60 }];
    expect(parseColumns(usualColumns(metrics, 100)).map(({ key }) => key)).toEqual(['alerts', 's:temp', 'v:temp', 'group', 'seen']);
    expect(parseColumns(usualColumns(metrics, 1_000)).map(({ key }) => key)).toEqual(['alerts', 'group', 'tags', 'seen']);
  });

  it('ask for each metric once, and are sorted by what the server can sort by', () => {
    const columns = parseColumns('v:t,s:t,s:u,tags,seen');
    expect(metricsOf(columns)).toEqual({ values: ['t'], all: ['t', 'u'] });
    expect(columns.map(sortOf)).toEqual(['metric:t', 'metric:t', 'metric:u', null, 'last_seen']);
    expect(layout(columns, [[20, 0]]).template.startsWith('20px minmax(')).toBe(true);
  });
});

describe('what is chosen', () => {
  it('is one by one, a range, or all that match', () => {
    let changes = 0;
    const selection = new Selection(() => (changes += 1));
    selection.toggle('b');
    expect(selection.range('d', ['a', 'b', 'c', 'd', 'e'])).toBe(true);
    expect([...selection.ids]).toEqual(['b', 'c', 'd']);
    selection.toggle('c');
    expect(selection.count(99)).toBe(2);
    expect(selection.range('a', ['a', 'b', 'c'])).toBe(true);
    expect(selection.has('c')).toBe(true);
    selection.chooseAll();
    expect(selection.has('zzz')).toBe(true);
    expect(selection.count(100_000)).toBe(100_000);
    selection.toggle('q');
    expect([...selection.ids]).toEqual(['q']);
    expect(selection.all).toBe(false);
    selection.clear();
    expect(selection.count(9)).toBe(0);
    const before = changes;
    selection.clear();
    expect(changes).toBe(before);
  });

  it('begins anew where the beginning of a range is gone', () => {
    const selection = new Selection();
    selection.toggle('gone');
    selection.ids.clear();
    expect(selection.range('b', ['a', 'b'])).toBe(false);
    expect([...selection.ids]).toEqual(['b']);
  });

  it('is bounded', () => {
    const selection = new Selection();
    const order = Array.from({ length: CHOSEN_MAX + 50 }, (_, index) => `d${index}`);
    selection.toggle('d0');
    selection.range(order.at(-1) as string, order);
    expect(selection.ids.size).toBe(CHOSEN_MAX);
  });
});

describe('actions on many', () => {
  const ids = Array.from({ length: 450 }, (_, index) => `d${index}`);

  it('are done in pieces, told as they go on', async () => {
    const requests: DeviceBulk[] = [];
    const told: number[] = [];
    const post = async (request: DeviceBulk): Promise<BulkAnswer> => {
      requests.push(request);
      return { matched: request.ids?.length ?? 0, changed: (request.ids?.length ?? 0) - 1, failed: [{ id: request.ids?.[0] ?? '', detail: 'no' }] };
    };
    const outcome = await inBulk({ ids }, { action: 'set_group', group: 'g' }, post, (done) => told.push(done), new AbortController().signal);
    expect(requests.map((request) => request.ids?.length)).toEqual([200, 200, 50]);
    expect(told).toEqual([200, 400, 450]);
    expect(outcome).toMatchObject({ matched: 450, changed: 447, stopped: null });
    expect(outcome.failed).toHaveLength(3);
  });

  it('of all that match are one request', async () => {
    const requests: DeviceBulk[] = [];
    const post = async (request: DeviceBulk) => {
      requests.push(request);
      return { matched: 9, changed: 9, failed: [] };
    };
    await inBulk({ filter: { group: 'g' } }, { action: 'disable' }, post, () => {}, new AbortController().signal);
    expect(requests).toEqual([{ action: 'disable', filter: { group: 'g' } }]);
  });

  it('tell what was done before they broke off or were stopped', async () => {
    const abort = new AbortController();
    let calls = 0;
    const post = async () => {
      calls += 1;
      if (calls === 2) throw new Error('the server is gone');
      return { matched: 200, changed: 200, failed: [] };
    };
    expect(await inBulk({ ids }, { action: 'delete' }, post, () => {}, abort.signal)).toMatchObject({ changed: 200, stopped: 'the server is gone', unknown: true });
    calls = 0;
    const stopping = async () => {
      abort.abort();
      throw new DOMException('stopped', 'AbortError');
    };
    expect(await inBulk({ ids }, { action: 'delete' }, stopping, () => {}, abort.signal)).toMatchObject({ changed: 0, stopped: '', unknown: true });
  });

  it('that are refused are known to have changed nothing, those that fail on the way are not', async () => {
    for (const [status, unknown] of [[400, false], [403, false], [0, true], [502, true]] as const) {
      const post = async () => Promise.reject(Object.assign(new Error('no'), { status }));
      const outcome = await inBulk({ filter: { group: 'g' } }, { action: 'disable' }, post, () => {}, new AbortController().signal);
      expect(outcome, String(status)).toMatchObject({ matched: 0, stopped: 'no', unknown });
    }
  });

  it('are counted by the same filter', () => {
    expect(countOf({ q: 'a b', tag: ['site:north', 'site:south'] }).toString()).toBe('q=a+b&tag=site%3Anorth&tag=site%3Asouth&limit=1');
  });
});

describe('live values of the rows in sight', () => {
  const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `d${from + index}`);
  function follower() {
    const open = new Map<number, { selection: LiveSelection; sink: Sink }>();
    let next = 0;
    let sent = 0;
    const made = new Follower((selection, sink) => {
      const number = next;
      next += 1;
      sent += 1;
      open.set(number, { selection, sink });
      return () => {
        sent += 1;
        open.delete(number);
      };
    });
    const covered = () => new Set([...open.values()].flatMap(({ selection }) => selection.devices));
    return { made, open, covered, sent: () => sent };
  }

  it('are subscribed as rows come, and end when they are out of sight', () => {
    const { made, open, covered, sent } = follower();
    made.follow(ids(0, 60), ['t'], 250);
    expect(open.size).toBe(1);
    const before = sent();
    made.follow(ids(10, 70), ['t'], 250);
    // Ten rows further: one message, for the ten that came.
    expect(sent() - before).toBe(1);
    expect([...open.values()].at(-1)?.selection.devices).toEqual(ids(60, 70));
    made.follow(ids(65, 125), ['t'], 250);
    for (const id of ids(65, 125)) expect(covered().has(id)).toBe(true);
    expect(covered().has('d0')).toBe(false);
    made.close();
    expect(open.size).toBe(0);
  });

  it('never need many subscriptions, however one scrolls', () => {
    const { made, open, covered } = follower();
    for (let first = 0; first < 2_000; first += 3) {
      made.follow(ids(first, first + 90), ['t'], 250);
      expect(open.size).toBeLessThanOrEqual(9);
      expect(covered().size).toBeLessThan(600);
    }
    for (const id of ids(1_998, 2_088)) expect(covered().has(id)).toBe(true);
  });

  it('begin anew for other metrics', () => {
    const { made, open } = follower();
    made.follow(ids(0, 10), ['t'], 250);
    made.follow(ids(0, 10), ['t', 'u'], 250);
    expect(open.size).toBe(1);
    expect([...open.values()][0]?.selection.metrics).toEqual(['t', 'u']);
  });
});

describe('the value of a row', () => {
  const device = { latest: { t: { time: '2026-11-21T10:00:00Z', value: 1.5, unit: 'K' } } } as unknown as Device;
  const listedS = Date.parse('2026-11-21T10:00:00Z') / 1_000;
  const live = (time: number, change: Partial<Series> = {}) => ({ device: 'd', metric: 't', unit: '°C', type: 'f64', time, value: 2, text: null, ring: null, ...change }) as Series;

  it('is the newer of what the list said and what came live', () => {
    expect(readingOf(device, 't', undefined)).toMatchObject({ value: 1.5, unit: 'K' });
    expect(readingOf(device, 't', live(Number.NaN))).toMatchObject({ value: 1.5 });
    expect(readingOf(device, 't', live(listedS - 10))).toMatchObject({ value: 1.5 });
    expect(readingOf(device, 't', live(listedS + 1))).toMatchObject({ value: 2, unit: '°C', atMs: (listedS + 1) * 1_000 });
    expect(readingOf({} as Device, 't', undefined)).toBeNull();
  });

  it('keeps its type', () => {
    expect(readingOf(device, 't', live(listedS + 1, { type: 'bool', value: 0 }))?.value).toBe(false);
    expect(readingOf(device, 't', live(listedS + 1, { type: 'text', text: '<b>', value: Number.NaN }))?.value).toBe('<b>');
  });
});

describe('small pictures', () => {
  const filled = (samples: [number, number][]) => {
    const ring = new Ring(100);
    for (const [time, value] of samples) ring.push(time, value);
    return ring;
  };

  it('fill their height, and draw no line over a gap', () => {
    const lines = strokes(filled([[0, 10], [10, 20], [20, 15], [200, 12], [210, 11]]), 0, 300, 300, 20);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toEqual([0, 19, 10, 1, 20, 10]);
    expect(lines[1]?.[0]).toBe(200);
  });

  it('of a value that rests are a line in the middle, of one sample a point, of none nothing', () => {
    expect(strokes(filled([[0, 5], [10, 5]]), 0, 100, 100, 20)).toEqual([[0, 10, 10, 10]]);
    expect(strokes(filled([[50, 5]]), 0, 100, 100, 20)).toEqual([[50, 10]]);
    expect(strokes(filled([]), 0, 100, 100, 20)).toEqual([]);
    expect(strokes(filled([[50, Number.NaN]]), 0, 100, 100, 20)).toEqual([]);
  });

  it('join what a slow device sends once a minute', () => {
    expect(strokes(filled([[0, 1], [60, 2], [120, 1], [180, 2]]), 0, 200, 100, 20)).toHaveLength(1);
  });

  it('draw means of steps, so that the end looks like the rest, and of a switch its last state', () => {
    const store = new SparkStore();
    for (let second = 0; second < 2 * STEP_S; second += 1) store.live('d', 't', 1_000 + second, second % 2, false);
    const [line] = store.strokes('d', 't', 1_100, 100, 20);
    // Two steps of the same mean: a line that rests.
    expect(line).toHaveLength(4);
    expect(line?.[1]).toBe(10);
    for (const value of [0, 1]) store.live('d', 'door', 1_000 + value, value, true);
    store.live('d', 'door', 1_000 + STEP_S, 0, true);
    expect(store.strokes('d', 'door', 1_100, 100, 20)[0]?.[1]).toBe(1);
  });

  it('take history once, under what came live, and are bounded', () => {
    const store = new SparkStore();
    expect(store.unknown(['a', 'b'], 't')).toEqual(['a', 'b']);
    store.asked(['a'], 't');
    expect(store.unknown(['a', 'b'], 't')).toEqual(['b']);
    store.live('a', 't', 1_000, 5, false);
    store.history('a', 't', 990, 1);
    store.history('a', 't', 1_000, 1);
    const [line] = store.strokes('a', 't', 1_001, 100, 20);
    expect(line).toHaveLength(4);
    expect(line?.[3]).toBe(1);
    for (let index = 0; index < 2_000; index += 1) store.live(`d${index}`, 't', 1_000, 1, false);
    expect(store.unknown(['a'], 't')).toEqual(['a']);
    expect(SPARK_MS).toBeGreaterThan(0);
  });
});
