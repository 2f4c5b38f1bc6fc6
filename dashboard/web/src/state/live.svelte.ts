/** The one live connection of the page, and its state for the views. */

import { api, ApiError } from '../api/client';
import { LiveClient, type Selection, type Sink } from '../live/client';
import { LiveSocket, type LinkState } from '../live/socket';
import { Ticker } from '../live/ticker';

/** A hidden page keeps its subscriptions this long, so that a short look elsewhere costs nothing. */
const HIDDEN_MS = 60_000;

export const ticker = new Ticker();
const client = new LiveClient();

class Link {
  state = $state.raw<LinkState>({
    phase: 'idle',
    attempt: 0,
    retryAtMs: null,
    lastFrameMs: null,
    text: null,
  });
  readonly client = client;
  readonly socket: LiveSocket;
  #hidden: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.socket = new LiveSocket({
      open: () => new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/live`),
      session: async () => {
        try {
          await api.session();
          return 'valid';
        } catch (error) {
          return error instanceof ApiError && error.status === 401 ? 'ended' : 'unreachable';
        }
      },
      online: () => navigator.onLine,
      visible: () => document.visibilityState === 'visible',
      onState: (state) => {
        const was = this.state.phase;
        const open = state.phase === 'live' || state.phase === 'stale';
        if (!open && (was === 'live' || was === 'stale')) client.disconnected();
        this.state = state;
      },
      onMessage: (message) => client.receive(message),
    });
    client.attach(this.socket);
    addEventListener('online', () => this.socket.networkChanged());
    addEventListener('offline', () => this.socket.networkChanged());
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hidden);
      if (document.visibilityState === 'hidden') {
        this.#hidden = setTimeout(() => client.suspend(), HIDDEN_MS);
      } else {
        client.wake();
      }
      this.socket.visibilityChanged();
    });
  }

  /** Values on the screen are current. */
  get isLive(): boolean {
    return this.state.phase === 'live';
  }

  start(): void {
    this.socket.start();
  }

  stop(): void {
    this.socket.stop();
  }

  subscribe(selection: Selection, sink: Sink): () => void {
    return client.subscribe(selection, sink);
  }
}

export const link = new Link();

class Now {
  /** Milliseconds since the Unix epoch by the server's clock; moves once per second while the page is visible. */
  ms = $state(client.clock.nowMs());

  constructor() {
    setInterval(() => {
      if (document.visibilityState === 'visible') this.ms = client.clock.nowMs();
    }, 1_000);
  }
}

export const now = new Now();
