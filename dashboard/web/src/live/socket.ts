/**
 * The connection to `/live`: opens it, notices when it is dead, and opens it again.
 *
 * A browser does not report a broken network: with the network cut, no `close` event came and the page went on saying
 * "live" (measured). So a watchdog judges by what arrives. The server sends at least a HEARTBEAT per interval (5 s); silence
 * for 1.6 intervals is `stale`, for three the socket is dropped (SPEC §9.9). So a cut shows within 8.5 s, whenever it comes.
 *
 * | phase        | meaning                                                        | leaves by                        |
 * |--------------|----------------------------------------------------------------|----------------------------------|
 * | idle         | not started, or stopped                                        | start                            |
 * | connecting   | first attempt, no LIVE_WELCOME yet                             | welcome, failure                 |
 * | live         | frames arrive                                                  | silence, failure                 |
 * | stale        | open, but silent for too long                                  | a frame, more silence, failure   |
 * | reconnecting | waits for the next attempt (`retryAtMs`), or is trying (null)  | welcome, offline, sign-out       |
 * | offline      | as reconnecting, and the browser says that there is no network | online, welcome                  |
 * | signed_out   | the session ended; the page must sign in again                 | start                            |
 * | refused      | the server closed for good and said why                        | retryNow, start                  |
 */

import { decode, encodeClose, encodeHeartbeat, type Message } from './frame';

export type Phase =
  | 'idle'
  | 'connecting'
  | 'live'
  | 'stale'
  | 'reconnecting'
  | 'offline'
  | 'signed_out'
  | 'refused';

export interface LinkState {
  readonly phase: Phase;
  /** Attempts since the connection was last good; 0 while it is. */
  readonly attempt: number;
  /** On the clock of `performance.now()`; null while an attempt is under way. */
  readonly retryAtMs: number | null;
  /** When the last frame arrived, on the same clock; null before the first. */
  readonly lastFrameMs: number | null;
  /** What the server said when it closed, for people. */
  readonly text: string | null;
}

export interface LinkStats {
  frames: number;
  bytes: number;
  /** Messages that could not be decoded: a defect of this page or of the server, shown and never thrown. */
  unreadable: number;
  lastUnreadable: string | null;
  /** Frames of a type that this page does not know. */
  unknown: number;
  reconnects: number;
}

/** The part of WebSocket that is used, so that tests need no network. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export interface SocketOptions {
  open: () => SocketLike;
  /** Asks whether the session still exists: a browser does not tell why a WebSocket was refused. */
  session: () => Promise<'valid' | 'ended' | 'unreachable'>;
  onState: (state: LinkState) => void;
  onMessage: (message: Message) => void;
  online?: () => boolean;
  /** Whether a person can see the page; false when not given. */
  visible?: () => boolean;
  random?: () => number;
}

const OPEN = 1;
const CONNECT_TIMEOUT_MS = 10_000;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 15_000;
/** A connection that lasts this long was good: the next failure starts again at the shortest wait. */
const PROVEN_MS = 5_000;
const WATCH_MS = 500;
/** Intervals of silence. More than one, since a heartbeat may be late; less than two, so that a cut shows in less than 10 s. */
const STALE_INTERVALS = 1.6;

export class LiveSocket {
  readonly stats: LinkStats = {
    frames: 0,
    bytes: 0,
    unreadable: 0,
    lastUnreadable: null,
    unknown: 0,
    reconnects: 0,
  };
  readonly #options: SocketOptions;
  #socket: SocketLike | null = null;
  #state: LinkState = { phase: 'idle', attempt: 0, retryAtMs: null, lastFrameMs: null, text: null };
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #watchedMs = 0;
  #openedMs = 0;
  #welcomed = false;
  #heartbeatMs = 5_000;
  #closing: Extract<Message, { type: 'close' }> | null = null;
  /** Counts connections; what an earlier one still delivers is ignored. */
  #generation = 0;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  get state(): LinkState {
    return this.#state;
  }

  start(): void {
    const { phase } = this.#state;
    if (phase === 'idle' || phase === 'signed_out' || phase === 'refused') {
      this.#set({ phase: 'connecting', attempt: 0, retryAtMs: null, text: null });
      this.#connect();
    }
  }

  /** Ends the connection in good order; `start` begins anew. */
  stop(): void {
    if (this.#welcomed) this.send(encodeClose(1000, ''));
    this.#drop();
    this.#set({ phase: 'idle', attempt: 0, retryAtMs: null, lastFrameMs: null, text: null });
  }

  /** The user does not want to wait. */
  retryNow(): void {
    const { phase, retryAtMs } = this.#state;
    if (phase === 'refused') this.start();
    else if (phase === 'stale') this.#fail(null);
    else if ((phase === 'reconnecting' || phase === 'offline') && retryAtMs !== null) this.#attempt();
  }

  /** False when there is no connection; the caller sends its state again after the next welcome. */
  send(frame: Uint8Array<ArrayBuffer>): boolean {
    if (this.#socket === null || this.#socket.readyState !== OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  /** The browser says that the network went or came. It is a hint: only frames prove a connection. */
  networkChanged(): void {
    if (this.#online()) {
      if (this.#state.phase === 'offline') this.#set({ phase: 'reconnecting' });
      // An attempt that began without a network may hang until it times out: it begins anew too.
      if (this.#state.phase === 'reconnecting') this.#attempt();
    } else if (this.#state.phase === 'reconnecting') {
      this.#set({ phase: 'offline' });
    }
    this.#check();
  }

  /** The page was shown or hidden: the server hears of it at once, since it pushes to those who cannot see the page. */
  visibilityChanged(): void {
    if (this.#welcomed) this.#heartbeat();
    if (this.#options.visible?.() !== true) return;
    // Its timers may have slept, so judge at once.
    this.retryUnlessStale();
    this.#check();
  }

  #heartbeat(): void {
    this.send(encodeHeartbeat(Date.now(), this.#options.visible?.() ?? false));
  }

  /** As retryNow, but leaves a silent socket to the watchdog. */
  retryUnlessStale(): void {
    if (this.#state.phase === 'reconnecting' || this.#state.phase === 'offline') this.retryNow();
  }

  #online(): boolean {
    return this.#options.online?.() ?? true;
  }

  #set(change: Partial<LinkState>): void {
    this.#state = { ...this.#state, ...change };
    this.#options.onState(this.#state);
  }

  #connect(): void {
    this.#drop();
    const generation = this.#generation;
    this.#openedMs = performance.now();
    this.#watchedMs = this.#openedMs;
    let socket: SocketLike;
    try {
      socket = this.#options.open();
    } catch (error) {
      this.#fail(String(error));
      return;
    }
    socket.binaryType = 'arraybuffer';
    socket.onmessage = (event) => {
      if (generation === this.#generation) this.#received(event.data);
    };
    socket.onclose = (event) => {
      if (generation === this.#generation) this.#closed(event.code, event.reason);
    };
    this.#socket = socket;
    this.#watch = setInterval(() => this.#check(), WATCH_MS);
  }

  /** Lets go of the socket and of all timers; nothing of it is heard any more. */
  #drop(): void {
    this.#generation += 1;
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    this.#closing = null;
    if (socket !== null) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(1000);
    }
  }

  #received(data: unknown): void {
    const nowMs = performance.now();
    this.stats.frames += 1;
    if (!(data instanceof ArrayBuffer)) {
      this.#unreadable('a text message');
      return;
    }
    this.stats.bytes += data.byteLength;
    const { messages, error } = decode(data);
    if (error !== null) this.#unreadable(error.message);
    // Set before the handlers run, without telling everyone of each frame.
    this.#state = { ...this.#state, lastFrameMs: nowMs };
    if (this.#state.phase === 'stale') this.#set({ phase: 'live' });
    for (const message of messages) this.#message(message, nowMs);
  }

  #message(message: Message, nowMs: number): void {
    if (message.type === 'unknown') {
      this.stats.unknown += 1;
      return;
    }
    if (message.type === 'close') {
      this.#closing = message;
      return;
    }
    if (message.type === 'welcome') {
      this.#welcomed = true;
      this.#openedMs = nowMs;
      this.#heartbeatMs = Math.min(60_000, Math.max(1_000, message.heartbeatIntervalMs));
      this.#set({ phase: 'live', retryAtMs: null, text: null });
      this.#heartbeat();
    } else if (message.type === 'heartbeat') {
      this.#heartbeat();
    }
    try {
      this.#options.onMessage(message);
    } catch (error) {
      this.#unreadable(String(error));
    }
  }

  #unreadable(reason: string): void {
    this.stats.unreadable += 1;
    this.stats.lastUnreadable = reason;
  }

  #check(): void {
    if (this.#socket === null) return;
    const nowMs = performance.now();
    const late = nowMs - this.#watchedMs > WATCH_MS + 2_000;
    this.#watchedMs = nowMs;
    // The tab slept: frames that arrived meanwhile are delivered after this timer, so give them one round.
    if (late) return;
    if (!this.#welcomed) {
      if (nowMs - this.#openedMs > CONNECT_TIMEOUT_MS) this.#fail(null);
      return;
    }
    if (this.#state.attempt > 0 && nowMs - this.#openedMs > PROVEN_MS) this.#set({ attempt: 0 });
    const silentMs = nowMs - (this.#state.lastFrameMs ?? nowMs);
    const staleMs = this.#online() ? STALE_INTERVALS * this.#heartbeatMs : this.#heartbeatMs + 1_000;
    if (silentMs > 3 * this.#heartbeatMs) this.#fail(null);
    else if (silentMs > staleMs && this.#state.phase === 'live') this.#set({ phase: 'stale' });
  }

  #closed(code: number, reason: string): void {
    const closing = this.#closing;
    if (code === 4017 || closing?.code === 4017) {
      this.#drop();
      this.#set({ phase: 'signed_out', retryAtMs: null, text: closing?.text ?? reason });
    } else if (closing !== null && !mayReconnect(closing)) {
      this.#drop();
      this.#set({ phase: 'refused', retryAtMs: null, text: closing.text || `${closing.code}` });
    } else {
      this.#fail(closing?.text ?? null, closing?.retryAfterMs ?? 0);
    }
  }

  #fail(text: string | null, retryAfterMs = 0): void {
    const welcomed = this.#welcomed;
    this.#drop();
    const attempt = this.#state.attempt + 1;
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(attempt - 1, 10));
    const random = this.#options.random ?? Math.random;
    // Half of it is chance, so that a thousand pages do not return in the same instant after a restart.
    const waitMs = Math.max(ceiling * (0.5 + random() / 2), retryAfterMs);
    this.#set({
      phase: this.#online() ? 'reconnecting' : 'offline',
      attempt,
      retryAtMs: performance.now() + waitMs,
      text,
    });
    this.#retry = setTimeout(() => this.#attempt(), waitMs);
    if (!welcomed) void this.#askSession();
  }

  #attempt(): void {
    this.stats.reconnects += 1;
    this.#set({ retryAtMs: null });
    this.#connect();
  }

  /** A refused upgrade looks like any other failure. If it was for want of a session, trying again is no use. */
  async #askSession(): Promise<void> {
    const generation = this.#generation;
    const session = await this.#options.session();
    if (generation === this.#generation && session === 'ended') {
      this.#drop();
      this.#set({ phase: 'signed_out', retryAtMs: null });
    }
  }
}

/** SPEC §10: an unknown code below 4000 is final, from 4000 on its `reconnect` field decides. */
function mayReconnect(close: { code: number; reconnect: boolean }): boolean {
  if (close.code < 4000) return close.code === 1001;
  return close.reconnect;
}
