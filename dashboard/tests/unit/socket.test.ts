/** The connection's states, with virtual time and a socket without a network. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeClose, encodeHeartbeat, type Message } from '../../web/src/live/frame';
import { LiveSocket, type LinkState, type SocketLike } from '../../web/src/live/socket';

/** LIVE_WELCOME with a heartbeat of 5 s: epoch 1, position 0, time 0, 5000 ms, 64, 100. */
const WELCOME = new Uint8Array([0xab, 0xcd, 1, 0x80, 0, 0, 0, 8, 1, 0, 0, 0xfb, 0x88, 0x13, 64, 100]);

class FakeSocket implements SocketLike {
  binaryType = '';
  readyState = 0;
  onopen = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  /** Types of what was sent; HEARTBEAT with whether the page is visible. */
  readonly sent: (number | boolean)[] = [];

  send(data: Uint8Array<ArrayBuffer>): void {
    this.sent.push(data[3] === 0x87 ? data.at(-1) === 1 : (data[3] as number));
  }

  close(): void {
    this.readyState = 3;
  }

  receive(data: Uint8Array<ArrayBuffer> | string): void {
    this.readyState = 1;
    const payload = typeof data === 'string' ? data : data.slice().buffer;
    this.onmessage?.({ data: payload } as MessageEvent);
  }

  lose(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' } as CloseEvent);
  }
}

let sockets: FakeSocket[];
let states: LinkState[];
let received: Message[];
let online: boolean;
let visible: boolean;
let session: 'valid' | 'ended' | 'unreachable';
let link: LiveSocket;

const last = () => sockets.at(-1) as FakeSocket;
const phase = () => link.state.phase;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  states = [];
  received = [];
  online = true;
  visible = true;
  session = 'valid';
  link = new LiveSocket({
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    session: () => Promise.resolve(session),
    onState: (state) => states.push(state),
    onMessage: (message) => received.push(message),
    online: () => online,
    visible: () => visible,
    random: () => 1,
  });
});

afterEach(() => {
  link.stop();
  vi.useRealTimers();
});

function connect(): void {
  link.start();
  last().receive(WELCOME);
}

/** What an attempt that begins now needs to become live. */
async function reconnect(waitMs: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(waitMs);
  last().receive(WELCOME);
}

describe('LiveSocket', () => {
  it('is live from LIVE_WELCOME on, not from the open socket', () => {
    link.start();
    expect(phase()).toBe('connecting');
    last().readyState = 1;
    expect(phase()).toBe('connecting');
    last().receive(WELCOME);
    expect(phase()).toBe('live');
  });

  it('says that the page is visible when it connects, when that changes, and with each HEARTBEAT', () => {
    connect();
    expect(last().sent).toEqual([true]);
    visible = false;
    link.visibilityChanged();
    last().receive(encodeHeartbeat(0, false));
    visible = true;
    link.visibilityChanged();
    expect(last().sent).toEqual([true, false, false, true]);
  });

  it('says nothing before LIVE_WELCOME', () => {
    link.start();
    last().readyState = 1;
    link.visibilityChanged();
    expect(last().sent).toEqual([]);
  });

  it('bears a heartbeat that is late, says within 10 s that nothing comes, and is live again with the next frame', async () => {
    connect();
    await vi.advanceTimersByTimeAsync(7_500);
    expect(phase()).toBe('live');
    await vi.advanceTimersByTimeAsync(1_500);
    expect(phase()).toBe('stale');
    last().receive(encodeHeartbeat(0, false));
    expect(phase()).toBe('live');
    expect(sockets).toHaveLength(1);
  });

  it('drops a socket that is silent for three heartbeats, and connects again', async () => {
    connect();
    await vi.advanceTimersByTimeAsync(15_600);
    expect(phase()).toBe('reconnecting');
    expect(sockets[0]?.readyState).toBe(3);
    await reconnect(600);
    expect(sockets).toHaveLength(2);
    expect(phase()).toBe('live');
  });

  it('waits longer with each failure, up to 15 s, and shows attempt and time', async () => {
    connect();
    const waits: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      last().lose();
      expect(link.state.attempt).toBe(round + 1);
      const wait = (link.state.retryAtMs as number) - performance.now();
      waits.push(wait);
      await vi.advanceTimersByTimeAsync(wait);
      expect(link.state.retryAtMs).toBeNull();
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  });

  it('starts again at the shortest wait only after a connection has lasted', async () => {
    connect();
    for (let round = 1; round <= 3; round += 1) {
      last().lose();
      await reconnect(500 * 2 ** (round - 1));
      expect(link.state.attempt).toBe(round);
    }
    last().receive(encodeHeartbeat(0, false));
    await vi.advanceTimersByTimeAsync(6_000);
    expect(link.state.attempt).toBe(0);
    last().lose();
    expect(link.state.attempt).toBe(1);
  });

  it('gives up an attempt that brings no LIVE_WELCOME within 10 s', async () => {
    link.start();
    await vi.advanceTimersByTimeAsync(10_600);
    expect(phase()).toBe('reconnecting');
  });

  it('retries at once when asked to', () => {
    connect();
    last().lose();
    link.retryNow();
    expect(sockets).toHaveLength(2);
    expect(link.state.retryAtMs).toBeNull();
  });

  it('is offline while the browser says so, and retries at once when it is back', () => {
    connect();
    online = false;
    link.networkChanged();
    expect(phase()).toBe('live');
    last().lose();
    expect(phase()).toBe('offline');
    online = true;
    link.networkChanged();
    expect(sockets).toHaveLength(2);
    expect(phase()).toBe('reconnecting');
    last().receive(WELCOME);
    expect(phase()).toBe('live');
  });

  it('begins an attempt anew that was under way without a network', async () => {
    connect();
    online = false;
    last().lose();
    await vi.advanceTimersByTimeAsync(500);
    expect(link.state.retryAtMs).toBeNull();
    const hanging = last();
    online = true;
    link.networkChanged();
    expect(hanging.readyState).toBe(3);
    last().receive(WELCOME);
    expect(phase()).toBe('live');
  });

  it('is stale sooner while the browser says that it is offline', async () => {
    connect();
    online = false;
    link.networkChanged();
    await vi.advanceTimersByTimeAsync(6_600);
    expect(phase()).toBe('stale');
  });

  it('gives frames that arrived while the tab slept a chance before it judges', async () => {
    connect();
    await vi.advanceTimersByTimeAsync(1_000);
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000);
    link.visibilityChanged();
    expect(phase()).toBe('live');
    last().receive(encodeHeartbeat(0, false));
    link.visibilityChanged();
    expect(phase()).toBe('live');
    vi.restoreAllMocks();
  });

  it('is signed out when the server revokes the session', async () => {
    connect();
    last().receive(encodeClose(4017, 'signed out'));
    last().lose(4017);
    expect(phase()).toBe('signed_out');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
  });

  it('is signed out when an upgrade is refused because the session ended', async () => {
    session = 'ended';
    link.start();
    last().lose();
    await vi.advanceTimersByTimeAsync(0);
    expect(phase()).toBe('signed_out');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
  });

  it('stays away when the server closes for good, until the user asks', async () => {
    connect();
    last().receive(encodeClose(4007, 'SUBSCRIBE: devices'));
    last().lose(4007);
    expect(link.state).toMatchObject({ phase: 'refused', text: 'SUBSCRIBE: devices' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
    link.retryNow();
    expect(sockets).toHaveLength(2);
  });

  it('waits as long as the server asks', () => {
    connect();
    // CLOSE 4014, "", reconnect, retry_after 20,000 ms.
    last().receive(new Uint8Array([0xab, 0xcd, 1, 5, 0, 0, 0, 8, 0xfb, 0xae, 0x0f, 0, 1, 0xfb, 0x20, 0x4e]));
    last().lose(4014);
    expect((link.state.retryAtMs as number) - performance.now()).toBe(20_000);
  });

  it('counts what it cannot read, and stays live', () => {
    connect();
    last().receive('text');
    last().receive(new Uint8Array([1, 2, 3]));
    last().receive(new Uint8Array([0xab, 0xcd, 1, 0x9f, 0, 0, 0, 0]));
    expect(link.stats).toMatchObject({ unreadable: 2, unknown: 1 });
    expect(phase()).toBe('live');
  });

  it('hears nothing of a socket that it has let go', async () => {
    connect();
    const first = last();
    const onmessage = first.onmessage;
    first.lose();
    await reconnect(500);
    received.length = 0;
    onmessage?.({ data: encodeHeartbeat(0, false).buffer } as MessageEvent);
    expect(received).toEqual([]);
  });

  it('closes in good order when stopped', () => {
    connect();
    link.stop();
    expect(last().sent.at(-1)).toBe(0x05);
    expect(phase()).toBe('idle');
  });
});
