/** Subscriptions over reconnects, gaps and the server's limit. */

import { beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveClient, type Sink } from '../../web/src/live/client';
import { type Batch, type Message } from '../../web/src/live/frame';
import { Reader } from '../../web/src/live/bytes';
import type { LiveSocket } from '../../web/src/live/socket';
import { SeriesStore } from '../../web/src/live/store';

interface Sent {
  type: number;
  subscription: number;
  resume: { epoch: bigint; position: bigint } | null;
}

let sent: Sent[];
let client: LiveClient;

/** Reads back what the client sends; the encoder itself is judged by frame.test.ts. */
function readBack(frame: Uint8Array<ArrayBuffer>): Sent {
  const read = new Reader(frame.buffer, 8, frame.length);
  const type = frame[3] as number;
  if (type === 0x8e) return { type, subscription: 0, resume: { epoch: read.u64(), position: read.u64() } };
  const subscription = read.u32();
  if (type !== 0x81) return { type, subscription, resume: null };
  read.list(() => read.string());
  read.list(() => read.string());
  read.u32();
  read.u32();
  read.u32();
  const resume = read.bool() ? { epoch: read.u64(), position: read.u64() } : null;
  return { type, subscription, resume };
}

beforeEach(() => {
  sent = [];
  client = new LiveClient();
  client.attach({
    send: (frame: Uint8Array<ArrayBuffer>) => {
      sent.push(readBack(frame));
      return true;
    },
  } as unknown as LiveSocket);
});

function welcome(epoch = 1n, subscriptionsMax = 64, eventsEpoch = 0n, eventsPosition = 0n): void {
  client.receive({
    type: 'welcome',
    epoch,
    position: 0n,
    serverTimeUs: 1,
    heartbeatIntervalMs: 5_000,
    subscriptionsMax,
    intervalMsMin: 50,
    eventsEpoch,
    eventsPosition,
  });
}

function batch(subscription: number, position: bigint, previous: bigint, samples: [number, number, number][]): Batch {
  return {
    type: 'batch',
    subscription,
    position,
    previous,
    baseUs: 0,
    history: false,
    conflated: false,
    series: Uint32Array.from(samples.map(([series]) => series)),
    offsetsUs: Uint32Array.from(samples.map(([, offset]) => offset)),
    values: Float64Array.from(samples.map(([, , value]) => value)),
  };
}

const define = (subscription: number): Message => ({
  type: 'series',
  subscription,
  series: [{ index: 0, device: 'd', metric: 'm', unit: '', type: 'f64', labels: [] }],
});
const end = (subscription: number, position: bigint): Message => ({ type: 'snapshot_end', subscription, position, series: 1 });

function recorder(): Sink & { calls: string[] } {
  const calls: string[] = [];
  const note = (name: string) => () => {
    calls.push(name);
  };
  return {
    calls,
    reset: note('reset'),
    define: note('define'),
    batch: note('batch'),
    texts: note('texts'),
    gap: note('gap'),
    ready: note('ready'),
    refused: note('refused'),
  };
}

const SELECTION = { devices: ['d'], metrics: [], intervalMs: 100, aggregate: 'every', historyMs: 1_000 } as const;

describe('LiveClient', () => {
  it('subscribes when there is a connection', () => {
    client.subscribe(SELECTION, recorder());
    expect(sent).toEqual([]);
    welcome();
    expect(sent).toEqual([{ type: 0x81, subscription: 1, resume: null }]);
  });

  it('resumes after the last position once the history was complete', () => {
    const store = new SeriesStore(10);
    client.subscribe(SELECTION, store);
    welcome(9n);
    for (const message of [define(1), batch(1, 4n, 0n, [[0, 1, 10]]), end(1, 5n), batch(1, 7n, 5n, [[0, 2, 20]])]) {
      client.receive(message);
    }
    client.disconnected();
    welcome(9n);
    expect(sent.at(-1)).toEqual({ type: 0x81, subscription: 2, resume: { epoch: 9n, position: 7n } });
    expect(store.find('d', 'm')?.ring?.length).toBe(2);
    client.receive(define(2));
    client.receive(batch(2, 8n, 7n, [[0, 3, 30]]));
    expect(store.find('d', 'm')?.ring?.length).toBe(3);
    expect(client.gaps).toBe(0);
  });

  it('starts anew when the connection broke before the history was complete', () => {
    const sink = recorder();
    client.subscribe(SELECTION, sink);
    welcome();
    client.receive(define(1));
    client.receive(batch(1, 4n, 0n, []));
    client.disconnected();
    welcome();
    expect(sent.at(-1)?.resume).toBeNull();
    expect(sink.calls).toEqual(['define', 'batch', 'reset']);
  });

  it('empties what it has when the server cannot resume', () => {
    const store = new SeriesStore(10);
    client.subscribe(SELECTION, store);
    welcome();
    for (const message of [define(1), batch(1, 4n, 0n, [[0, 1, 10]]), end(1, 4n)]) client.receive(message);
    client.disconnected();
    welcome(2n);
    client.receive({ type: 'gap', subscription: 2, from: 4n, to: 9n, reason: 'resume_refused' });
    expect(store.find('d', 'm')?.ring?.length).toBe(0);
    client.receive(define(2));
    client.receive(batch(2, 9n, 9n, [[0, 5, 50]]));
    client.receive(end(2, 9n));
    expect(store.find('d', 'm')?.ring?.length).toBe(1);
    expect(client.gaps).toBe(0);
    client.disconnected();
    welcome(2n);
    expect(sent.at(-1)?.resume).toEqual({ epoch: 2n, position: 9n });
  });

  it('reports a gap when the numbering says that a message is missing', () => {
    const sink = recorder();
    client.subscribe(SELECTION, sink);
    welcome();
    client.receive(end(1, 5n));
    client.receive(batch(1, 7n, 5n, []));
    client.receive(batch(1, 9n, 8n, []));
    expect(sink.calls).toEqual(['ready', 'batch', 'gap', 'batch']);
  });

  it('ignores what still arrives for an ended subscription', () => {
    const sink = recorder();
    const stop = client.subscribe(SELECTION, sink);
    welcome();
    stop();
    expect(sent.at(-1)).toEqual({ type: 0x82, subscription: 1, resume: null });
    client.receive(batch(1, 1n, 0n, []));
    expect(sink.calls).toEqual([]);
  });

  it('keeps to the server’s limit and takes the next one when a place is free', () => {
    const stops = [1, 2, 3].map(() => client.subscribe(SELECTION, recorder()));
    welcome(1n, 2);
    expect(sent.map((one) => one.subscription)).toEqual([1, 2]);
    stops[0]?.();
    expect(sent.map((one) => [one.type, one.subscription])).toEqual([[0x81, 1], [0x81, 2], [0x82, 1], [0x81, 3]]);
  });

  it('subscribes nothing while the page is hidden and resumes afterwards', () => {
    client.subscribe(SELECTION, recorder());
    welcome();
    client.receive(end(1, 5n));
    client.suspend();
    expect(sent.at(-1)).toEqual({ type: 0x82, subscription: 1, resume: null });
    client.wake();
    expect(sent.at(-1)).toEqual({ type: 0x81, subscription: 2, resume: { epoch: 1n, position: 5n } });
  });

  it('with no place at all it says so, and asks again, since the pages of others end unseen', async () => {
    vi.useFakeTimers();
    const sinks = [recorder(), recorder()];
    sinks.forEach((sink) => client.subscribe(SELECTION, sink));
    welcome();
    client.receive({ type: 'refused', subscription: 1, code: 1, text: 'close other pages' });
    expect(sinks.map((sink) => sink.calls)).toEqual([[], []]);
    client.receive({ type: 'refused', subscription: 2, code: 1, text: 'close other pages' });
    expect(sinks.map((sink) => sink.calls)).toEqual([['refused'], ['refused']]);
    expect(sent).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(sent.map((one) => one.subscription)).toEqual([1, 2, 3, 4]);
    expect(sinks.map((sink) => sink.calls.at(-1))).toEqual(['reset', 'reset']);
    vi.useRealTimers();
  });

  it('hands a refusal to its sink and does not ask again', () => {
    const sink = recorder();
    client.subscribe(SELECTION, sink);
    welcome();
    client.receive({ type: 'refused', subscription: 1, code: 4, text: 'too many' });
    welcome();
    expect(sink.calls).toEqual(['refused']);
    expect(sent).toHaveLength(1);
  });

  it('keeps presence for every device that it was told of', () => {
    client.receive({ type: 'presence', devices: [{ device: 'd', state: 'stale', lastSeenUs: 2_000 }] });
    expect(client.presence.get('d')).toEqual({ state: 'stale', lastSeenMs: 2 });
  });
});

describe('SeriesStore', () => {
  it('keeps the newest value by time, late samples notwithstanding', () => {
    const store = new SeriesStore(0);
    store.define([{ index: 3, device: 'd', metric: 'm', unit: '', type: 'f64', labels: [] }]);
    store.batch(batch(1, 1n, 0n, [[3, 5, 50], [3, 4, 40]]));
    expect(store.find('d', 'm')).toMatchObject({ time: 5e-6, value: 50 });
  });

  it('counts samples of a series that was never defined', () => {
    const store = new SeriesStore(0);
    store.batch(batch(1, 1n, 0n, [[3, 5, 50]]));
    expect(store.undefinedSamples).toBe(1);
  });

  it('marks a gap in every ring', () => {
    const store = new SeriesStore(10);
    store.define([{ index: 0, device: 'd', metric: 'm', unit: '', type: 'f64', labels: [] }]);
    store.batch(batch(1, 1n, 0n, [[0, 1_000_000, 1]]));
    store.gap('slow_reader');
    store.batch(batch(1, 2n, 1n, [[0, 2_000_000, 2]]));
    expect(store.find('d', 'm')?.ring?.breaksBetween(1, 2)).toBe(true);
  });
});

describe('the lossless lane', () => {
  const heard: string[] = [];
  const presence = (position: bigint, previous: bigint, device: string): Message => ({
    type: 'presence',
    devices: [{ device, state: 'online', lastSeenUs: 0 }],
    position,
    previous,
  });
  const commands = (position: bigint, previous: bigint): Message => ({ type: 'commands', commands: [], position, previous });

  beforeEach(() => {
    heard.length = 0;
    client.listen({ commands: () => heard.push('commands'), lost: () => heard.push('lost') });
    welcome(1n, 64, 9n, 5n);
    expect(heard.splice(0)).toEqual(['lost']);
  });

  it('goes on where it was after a reconnect, and hears nothing twice', () => {
    client.receive(commands(7n, 5n));
    client.disconnected();
    welcome(1n, 64, 9n, 12n);
    expect(sent.at(-1)).toEqual({ type: 0x8e, subscription: 0, resume: { epoch: 9n, position: 7n } });
    client.receive(commands(7n, 5n));
    client.receive(commands(11n, 7n));
    client.receive(presence(12n, 11n, 'd'));
    expect(heard).toEqual(['commands', 'commands']);
    expect(client.presence.get('d')?.state).toBe('online');
  });

  it('asks for nothing when nothing happened', () => {
    client.disconnected();
    sent.length = 0;
    welcome(1n, 64, 9n, 5n);
    expect(sent).toEqual([]);
    expect(heard).toEqual([]);
  });

  it('begins anew with a server that began anew', () => {
    client.disconnected();
    sent.length = 0;
    welcome(1n, 64, 10n, 2n);
    expect(sent).toEqual([]);
    expect(heard).toEqual(['lost']);
    client.receive(commands(3n, 2n));
    expect(heard).toEqual(['lost', 'commands']);
  });

  it('a frame whose predecessor is not known means that something is lost', () => {
    client.receive(commands(8n, 7n));
    expect(heard).toEqual(['lost', 'commands']);
  });

  it('EVENTS_LOST moves it on', () => {
    client.receive({ type: 'events_lost', count: 0n, position: 20n, previous: 5n });
    client.receive(presence(0n, 0n, 'as it is'));
    client.receive(commands(21n, 20n));
    expect(heard).toEqual(['lost', 'commands']);
    expect(client.presence.has('as it is')).toBe(true);
  });
});
