/** What the page knows of alerts, whatever order frames and answers arrive in. */

import { beforeEach, describe, expect, it, vi } from 'vitest';
import { AlertStore, type AlertView, fromEvent, OPEN_MAX, Revisions } from '../../web/src/live/alerts';
import type { AlertEvent } from '../../web/src/live/frame';

function alert(id: string, revision: number, change: Partial<AlertEvent> = {}): AlertEvent {
  return {
    id,
    revision,
    rule: 'r',
    rule_name: 'Rule',
    device: 'd',
    metric: 'm',
    severity: 'warning',
    state: 'firing',
    started: '2026-11-21T09:00:00Z',
    fired: '2026-11-21T09:00:30Z',
    resolved: null,
    acknowledged: null,
    value: 1,
    comparison: '>',
    threshold: 0,
    text: '',
    condition: '',
    stale: false,
    flapping: false,
    recovering: false,
    isSilenced: false,
    child: false,
    kind: 'condition',
    members: 0,
    assigned: null,
    ...change,
  };
}

/** As the API answers it. */
const full = (id: string, revision: number, change: Partial<AlertView> = {}): AlertView => ({
  ...fromEvent(alert(id, revision), undefined),
  unit: '°C',
  device_name: 'Device',
  ...change,
});

let pages: { items: AlertView[]; next: string | null }[];
let answer: () => Promise<void>;
let began: string[];
let store: AlertStore;

beforeEach(() => {
  vi.useFakeTimers();
  pages = [{ items: [], next: null }];
  answer = async () => {};
  began = [];
  store = new AlertStore({
    load: async () => {
      const page = pages.length > 1 ? pages.shift() : pages[0];
      await answer();
      return page as { items: AlertView[]; next: string | null };
    },
    changed: () => {},
    began: (one) => began.push(one.id),
  });
});

const openIds = () => store.open.map((one) => one.id);

describe('AlertStore', () => {
  it('lists the worst first, then the newest, page by page', async () => {
    pages = [
      { items: [full('2', 1, { severity: 'critical' }), full('3', 1, { fired: '2026-11-21T10:00:00Z' })], next: 'more' },
      { items: [full('1', 1), full('4', 1, { severity: 'info' })], next: null },
    ];
    await store.reload();
    expect(openIds()).toEqual(['2', '3']);
    expect(store.more).toBe(true);
    await store.loadMore();
    expect(openIds()).toEqual(['2', '3', '1', '4']);
    expect(store.more).toBe(false);
  });

  it('what frames tell of behind the last loaded alert waits for its page', async () => {
    pages = [
      { items: [full('2', 1, { severity: 'critical' })], next: 'more' },
      { items: [full('1', 1), full('4', 1)], next: null },
    ];
    await store.reload();
    store.receive([alert('4', 1), alert('5', 1, { severity: 'critical', fired: '2026-11-21T10:00:00Z' })]);
    expect(openIds()).toEqual(['5', '2']);
    await store.loadMore();
    expect(openIds()).toEqual(['5', '2', '4', '1']);
  });

  it('after a lost connection as much is loaded as before, and what ended in between is gone', async () => {
    pages = [
      { items: [full('3', 1)], next: 'a' },
      { items: [full('2', 1)], next: 'b' },
      { items: [full('1', 1)], next: null },
    ];
    await store.reload();
    await store.loadMore();
    expect(openIds()).toEqual(['3', '2']);
    pages = [
      { items: [full('3', 1)], next: 'a' },
      { items: [full('1', 1)], next: null },
    ];
    await store.reload();
    expect(openIds()).toEqual(['3', '1']);
  });

  it('the list is the same object until something changes', async () => {
    pages = [{ items: [full('1', 1)], next: null }];
    await store.reload();
    const { open } = store;
    expect(store.open).toBe(open);
    store.receive([alert('1', 1)]);
    expect(store.open).toBe(open);
    store.receive([alert('1', 2)]);
    expect(store.open).not.toBe(open);
  });

  it('silences: a frame says that there is one, and only the API knows by whom', () => {
    store.receive([alert('1', 1, { isSilenced: true, child: true })]);
    expect(store.alerts.get('1')).toMatchObject({ silenced: { by: '' }, parent: '' });
    const silenced = { until: null, by: 'kim', reason: 'defrosting', silence: null };
    store.answered([full('1', 1, { silenced, parent: '9' })]);
    store.receive([alert('1', 2, { isSilenced: true, child: true })]);
    expect(store.alerts.get('1')).toMatchObject({ silenced, parent: '9' });
    store.receive([alert('1', 3)]);
    expect(store.alerts.get('1')).toMatchObject({ silenced: null, parent: null });
  });

  it('an alert that a group stands for is not told of', async () => {
    await store.reload();
    store.receive([alert('1', 1, { child: true }), alert('2', 1, { kind: 'group', device: '', members: 40 })]);
    expect(began).toEqual(['2']);
  });

  it('tells of an alert that begins, once, and not of those that were there before', async () => {
    store.receive([alert('0', 1)]);
    pages = [{ items: [full('1', 1)], next: null }];
    await store.reload();
    store.receive([alert('1', 1), alert('2', 1), alert('2', 2, { value: 2 })]);
    expect(began).toEqual(['2']);
  });

  it('tells of no alert twice over a reconnect, whichever way it comes back', async () => {
    await store.reload();
    store.receive([alert('1', 1)]);
    // An answer from before it began: it is lost sight of, and frames bring it back.
    await store.reload();
    expect(openIds()).toEqual([]);
    store.receive([alert('1', 2, { value: 2 })]);
    pages = [{ items: [full('1', 2, { value: 2 })], next: null }];
    await store.reload();
    store.receive([alert('1', 1), alert('1', 2, { value: 2 })]);
    expect(openIds()).toEqual(['1']);
    expect(began).toEqual(['1']);
  });

  it('an answer that was on its way does not undo what frames said meanwhile', async () => {
    pages = [{ items: [full('1', 1), full('2', 1)], next: null }];
    await store.reload();
    let release = () => {};
    answer = () => new Promise((done) => (release = done));
    const late = store.reload();
    store.receive([alert('1', 2, { state: 'resolved', resolved: '2026-11-21T09:05:00Z' }), alert('3', 1)]);
    release();
    await late;
    // 1 has ended though the answer lists it; 3 goes on though the answer lacks it.
    expect(openIds().sort()).toEqual(['2', '3']);
    expect(store.alerts.get('1')?.state).toBe('resolved');
  });

  it('what ended while the connection was down is gone after the next answer', async () => {
    pages = [{ items: [full('1', 1), full('2', 1)], next: null }];
    await store.reload();
    pages = [{ items: [full('2', 1)], next: null }];
    await store.reload();
    expect(openIds()).toEqual(['2']);
  });

  it('a frame keeps what only the API knows, and an older frame changes nothing', () => {
    store.answered([full('1', 3, { value: 5 })]);
    store.receive([alert('1', 2, { value: 4 })]);
    expect(store.alerts.get('1')).toMatchObject({ value: 5, unit: '°C' });
    store.receive([alert('1', 4, { value: 6 })]);
    expect(store.alerts.get('1')).toMatchObject({ value: 6, unit: '°C', device_name: 'Device' });
  });

  it('asks once for the names of all alerts that a burst of frames began', async () => {
    await store.reload();
    const ids = Array.from({ length: 50 }, (_, index) => `${index}`);
    pages = [{ items: ids.map((id) => full(id, 1)), next: null }];
    for (const id of ids) store.receive([alert(id, 1)]);
    expect(store.alerts.get('7')?.unit).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(store.alerts.get('7')?.unit).toBe('°C');
  });

  it('says that it failed, keeps what it has, and recovers', async () => {
    pages = [{ items: [full('1', 1)], next: null }];
    await store.reload();
    answer = () => Promise.reject(new Error('no answer'));
    await store.reload();
    expect(store.error?.message).toBe('no answer');
    expect(openIds()).toEqual(['1']);
    answer = async () => {};
    await store.reload();
    expect(store.error).toBeNull();
  });

  it('stops at its bound and says that there are more', async () => {
    const items = Array.from({ length: 500 }, (_, index) => index);
    let page = 0;
    store = new AlertStore({
      load: async () => {
        page += 1;
        const fired = (index: number) => new Date(Date.UTC(2026, 10, 21) - page * 60_000 - index * 100).toISOString();
        return { items: items.map((index) => full(`${page}-${index}`, 1, { fired: fired(index) })), next: 'more' };
      },
      changed: () => {},
      began: () => {},
    });
    await store.reload();
    for (let more = 0; more < 20; more += 1) await store.loadMore();
    expect(store.open).toHaveLength(OPEN_MAX);
    expect(store.more).toBe(true);
  });

  it('a storm of 3,000 is taken in and listed well within a tick', () => {
    const storm = Array.from({ length: 3_000 }, (_, index) => alert(String(index), 1, { fired: new Date(index * 1000).toISOString() }));
    const startMs = performance.now();
    for (let at = 0; at < storm.length; at += 1_000) store.receive(storm.slice(at, at + 1_000));
    expect(store.open).toHaveLength(3_000);
    expect(performance.now() - startMs).toBeLessThan(250);
  });
});

describe('Revisions', () => {
  it('takes the higher revision, fills gaps from the lower, and forgets the longest untouched', () => {
    const known = new Revisions<{ id: string; revision: number; a?: number; b?: number }>(2);
    expect(known.put({ id: '1', revision: 2, a: 2 })).toBe(true);
    expect(known.put({ id: '1', revision: 1, a: 1, b: 1 })).toBe(true);
    expect(known.get('1')).toEqual({ id: '1', revision: 2, a: 2, b: 1 });
    expect(known.put({ id: '1', revision: 2, a: 2 })).toBe(false);
    known.put({ id: '2', revision: 1 });
    known.put({ id: '1', revision: 3 });
    known.put({ id: '3', revision: 1 });
    expect(known.all.map((one) => one.id)).toEqual(['1', '3']);
  });
});
