/**
 * Subscriptions over one LiveSocket: numbers them, sends them again after a reconnect with the position to resume
 * from, and hands what arrives to each subscription's sink.
 */

import {
  type Aggregate,
  type AlertEvent,
  type Batch,
  type CommandEvent,
  encodeEventsResume,
  encodeSubscribe,
  encodeUnsubscribe,
  type GapReason,
  type LaneStep,
  type Message,
  type Presence,
  type SeriesDef,
  type TextSample,
} from './frame';
import { ServerClock } from './clock';
import type { LiveSocket } from './socket';

/** Receives one subscription. All calls come from the socket's message handler, so they must be quick. */
export interface Sink {
  /** What was received so far no longer holds; everything follows anew. */
  reset(): void;
  define(series: readonly SeriesDef[]): void;
  batch(batch: Batch): void;
  texts(items: readonly TextSample[], history: boolean): void;
  /** Samples may be missing here; the history API has them. */
  gap(reason: GapReason): void;
  /** History is complete. */
  ready(): void;
  refused(code: number, text: string): void;
}

/** Hears of alerts and commands, whatever is subscribed. */
export interface Listener {
  alerts?(alerts: readonly AlertEvent[]): void;
  commands?(commands: readonly CommandEvent[]): void;
  /** Changes may have been missed, as when the page was long without a connection: the HTTP API has them. */
  lost?(): void;
  /** There is a connection, the first or another. */
  connected?(): void;
}

export interface Selection {
  devices: readonly string[];
  metrics: readonly string[];
  intervalMs: number;
  aggregate: Aggregate;
  historyMs: number;
  /** Device groups; absent or empty: any. */
  groups?: readonly string[];
  profiles?: readonly string[];
  /** Tags a device must have, as key and value: one of the values named for each key; an empty value is any. */
  tags?: readonly (readonly [string, string])[];
  /** One result per metric and per distinct values of these labels, folded over the devices by `aggregate`. */
  across?: readonly string[];
}

export interface PresenceEntry {
  state: Presence;
  /** Milliseconds since the Unix epoch by the server's clock; null = never. */
  lastSeenMs: number | null;
}

interface Entry {
  selection: Selection;
  sink: Sink;
  /** Null while it waits for a connection or for a free place. */
  number: number | null;
  /** Where to resume; null until the history was complete once. */
  resume: { epoch: bigint; position: bigint } | null;
  /** What the next BATCH must name as its `previous`. */
  chain: bigint;
  /** SNAPSHOT_END has come: from here on a position stands for everything before it. */
  complete: boolean;
  started: boolean;
}

/** After a subscription that the server could not serve for the moment. */
const RETRY_MS = 3_000;
/** Until it is asked again whether there is room for more subscriptions: other pages of the same user end theirs unseen. */
const FULL_MS = 10_000;
/** Bounds the memory of a page left open: presence of devices seen longest ago is forgotten first. */
const PRESENCE_MAX = 20_000;

export class LiveClient {
  readonly clock = new ServerClock();
  readonly presence = new Map<string, PresenceEntry>();
  /** Grows with every change of `presence`. */
  presenceVersion = 0;
  /** Times the server, or the numbering, said that samples may be missing. */
  gaps = 0;
  /** Samples that arrived when they were made, not as history. */
  samples = 0;
  readonly #listeners = new Set<Listener>();
  readonly #entries = new Set<Entry>();
  readonly #active = new Map<number, Entry>();
  #socket: LiveSocket | null = null;
  #next = 1;
  #max = 64;
  /** What the server said it holds of this socket; `#max` is less while it is full. */
  #announced = 64;
  #widen: ReturnType<typeof setTimeout> | undefined;
  #intervalMin = 0;
  #epoch = 0n;
  /** Where the page stands in the lossless lane; null before the first connection. */
  #lane: { epoch: bigint; position: bigint } | null = null;
  /** Nothing was subscribed for a while: changes of commands may have passed unseen. */
  #slept = false;
  #connected = false;
  #suspended = false;

  attach(socket: LiveSocket): void {
    this.#socket = socket;
  }

  /** Subscribes now, or as soon as there is a connection and a free place. The returned function ends it. */
  subscribe(selection: Selection, sink: Sink): () => void {
    const entry: Entry = {
      selection,
      sink,
      number: null,
      resume: null,
      chain: 0n,
      complete: false,
      started: false,
    };
    this.#entries.add(entry);
    this.#fill();
    return () => {
      if (!this.#entries.delete(entry)) return;
      this.#end(entry);
      this.#fill();
    };
  }

  /** Until the returned function is called. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The page is hidden: nothing is on screen, so nothing is subscribed. */
  suspend(): void {
    if (this.#suspended) return;
    this.#suspended = true;
    this.#slept = true;
    for (const entry of this.#entries) this.#end(entry);
  }

  /** The page is visible again: every subscription resumes where it was. */
  wake(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    this.#fill();
    if (this.#slept && this.#connected) this.#tell((listener) => listener.lost?.());
    this.#slept = false;
  }

  /** The connection is gone. */
  disconnected(): void {
    this.#connected = false;
    this.#active.clear();
    for (const entry of this.#entries) entry.number = null;
  }

  /** Handles every message but CLOSE. */
  receive(message: Message): void {
    switch (message.type) {
      case 'welcome':
        this.disconnected();
        this.clock.reset();
        this.clock.observe(message.serverTimeUs);
        this.#epoch = message.epoch;
        this.#announced = Math.max(1, message.subscriptionsMax);
        this.#max = this.#announced;
        this.#intervalMin = message.intervalMsMin;
        this.#connected = true;
        this.#enterLane(message.eventsEpoch, message.eventsPosition);
        this.#fill();
        this.#tell((listener) => listener.connected?.());
        return;
      case 'alerts':
        if (this.#inLane(message)) this.#tell((listener) => listener.alerts?.(message.alerts));
        return;
      case 'commands':
        if (this.#inLane(message)) this.#tell((listener) => listener.commands?.(message.commands));
        return;
      case 'events_lost':
        if (this.#lane !== null && message.position > 0n) this.#lane.position = message.position;
        this.#tell((listener) => listener.lost?.());
        return;
      case 'heartbeat':
        this.clock.observe(message.timeUs);
        return;
      case 'presence':
        if (!this.#inLane(message)) return;
        for (const { device, state, lastSeenUs } of message.devices) {
          this.#setPresence(device, state, lastSeenUs > 0 ? lastSeenUs / 1000 : null);
        }
        return;
      case 'series':
        this.#active.get(message.subscription)?.sink.define(message.series);
        return;
      case 'batch': {
        const entry = this.#active.get(message.subscription);
        if (entry === undefined) return;
        this.#follow(entry, message.position, message.previous);
        if (!message.history) this.samples += message.series.length;
        entry.sink.batch(message);
        return;
      }
      case 'texts': {
        const entry = this.#active.get(message.subscription);
        if (entry === undefined) return;
        this.#follow(entry, message.position, message.previous);
        entry.sink.texts(message.items, message.history);
        return;
      }
      case 'gap': {
        const entry = this.#active.get(message.subscription);
        if (entry === undefined) return;
        this.#moveTo(entry, message.to);
        if (message.reason === 'resume_refused') {
          // Nothing stays missing: the history follows.
          entry.complete = false;
          entry.resume = null;
          entry.sink.reset();
        } else {
          this.gaps += 1;
          entry.sink.gap(message.reason);
        }
        return;
      }
      case 'snapshot_end': {
        const entry = this.#active.get(message.subscription);
        if (entry === undefined) return;
        entry.complete = true;
        this.#moveTo(entry, message.position);
        entry.sink.ready();
        return;
      }
      case 'refused':
        this.#refused(message.subscription, message.code, message.text);
        return;
      default:
        return;
    }
  }

  /** After a reconnect the lane goes on where it was; when it cannot, EVENTS_LOST says so. */
  #enterLane(epoch: bigint, position: bigint): void {
    const was = this.#lane;
    // A page that selects nothing while it sleeps would be told of nothing: it asks anew.
    const goesOn = was !== null && epoch !== 0n && was.epoch === epoch && was.position <= position && !this.#suspended;
    if (goesOn && was.position === position) return;
    if (goesOn && this.#socket?.send(encodeEventsResume(epoch, was.position)) === true) return;
    this.#lane = { epoch, position };
    this.#tell((listener) => listener.lost?.());
  }

  /** Whether a frame of the lane is new. Each names the one before it; a difference means that something is lost. */
  #inLane({ position, previous }: LaneStep): boolean {
    // Outside the lane: how things stand at subscription, or a server from before.
    if (position === 0n || this.#lane === null) return true;
    if (position <= this.#lane.position) return false;
    const missed = previous !== this.#lane.position;
    this.#lane.position = position;
    if (missed) this.#tell((listener) => listener.lost?.());
    return true;
  }

  #tell(call: (listener: Listener) => void): void {
    for (const listener of [...this.#listeners]) call(listener);
  }

  #setPresence(device: string, state: Presence, lastSeenMs: number | null): void {
    this.presence.delete(device);
    this.presence.set(device, { state, lastSeenMs });
    if (this.presence.size > PRESENCE_MAX) {
      const oldest = this.presence.keys().next();
      if (!oldest.done) this.presence.delete(oldest.value);
    }
    this.presenceVersion += 1;
  }

  /** Every message names the one before it; a difference means that something between them is lost. */
  #follow(entry: Entry, position: bigint, previous: bigint): void {
    if (previous !== entry.chain) {
      this.gaps += 1;
      entry.sink.gap('other');
    }
    this.#moveTo(entry, position);
  }

  #moveTo(entry: Entry, position: bigint): void {
    entry.chain = position;
    if (entry.complete) entry.resume = { epoch: this.#epoch, position };
  }

  /** Sends what waits, in the order in which it was asked for, up to the server's limit. */
  #fill(): void {
    if (!this.#connected || this.#suspended) return;
    for (const entry of this.#entries) {
      if (this.#active.size >= this.#max) return;
      if (entry.number === null) this.#begin(entry);
    }
  }

  #begin(entry: Entry): void {
    const number = this.#next;
    const { selection, resume } = entry;
    if (entry.resume === null && entry.started) entry.sink.reset();
    const frame = encodeSubscribe({
      subscription: number,
      devices: selection.devices,
      metrics: selection.metrics,
      intervalMs: Math.max(selection.intervalMs, this.#intervalMin),
      aggregate: selection.aggregate,
      historyMs: selection.historyMs,
      resume,
      groups: selection.groups,
      profiles: selection.profiles,
      tags: selection.tags,
      across: selection.across,
    });
    if (this.#socket?.send(frame) !== true) return;
    this.#next = number === 0xffff_ffff ? 1 : number + 1;
    entry.number = number;
    // The server's chain begins where this one ended.
    entry.chain = resume?.position ?? 0n;
    entry.complete = false;
    entry.started = true;
    this.#active.set(number, entry);
  }

  #end(entry: Entry): void {
    if (entry.number === null) return;
    this.#active.delete(entry.number);
    this.#socket?.send(encodeUnsubscribe(entry.number));
    entry.number = null;
  }

  #refused(number: number, code: number, text: string): void {
    const entry = this.#active.get(number);
    if (entry === undefined) return;
    this.#active.delete(number);
    entry.number = null;
    if (code === 1) {
      // The server holds fewer than it announced, or the user's other pages have the rest: wait for a place, which the next ended
      // subscription gives.
      this.#max = Math.max(1, this.#active.size);
      this.#widen ??= setTimeout(() => {
        this.#widen = undefined;
        this.#max = this.#announced;
        this.#fill();
      }, FULL_MS);
      // With none of its own it is for others to end theirs: whoever looks is told so.
      if (this.#active.size === 0) for (const waiting of this.#entries) if (waiting.number === null) waiting.sink.refused(code, text);
    } else if (code === 2) {
      this.#begin(entry);
    } else if (code === 5) {
      // It cannot be served now; the same wish may be sent again.
      setTimeout(() => this.#fill(), RETRY_MS);
    } else {
      this.#entries.delete(entry);
      entry.sink.refused(code, text);
    }
  }
}
