/**
 * What the page knows of alerts and of one device's commands: from the HTTP API, which is complete but a moment old, and
 * from the live socket, which is new but knows fewer fields. Both carry a revision, so the order in which they arrive
 * does not matter.
 */

import type { AlertEvent, CommandEvent, Severity } from './frame';
import { SEVERITIES } from './frame';

/** What hides an alert from notification. */
export interface Silenced {
  /** Null: until it resolves. */
  until: string | null;
  by: string;
  reason: string;
  /** The silence that does; null if the alert itself was silenced. */
  silence: string | null;
}

/** An alert of the API; what the live socket leaves out is missing until the API was asked. */
export type AlertView = Omit<AlertEvent, 'isSilenced' | 'child'> & {
  /** What is not known yet of a silence that a frame told of is empty. */
  silenced: Silenced | null;
  /** The group alert that stands for it; empty while only that there is one is known. */
  parent: string | null;
  device_name?: string;
  group?: string | null;
  unit?: string;
  clear?: number | null;
  severity_max?: Severity;
  labels?: Record<string, string>;
  runbook?: string | null;
  reopened?: number;
  resolved_reason?: string | null;
};

const UNKNOWN_SILENCE: Silenced = { until: null, by: '', reason: '', silence: null };

/** A frame says that an alert is silenced or part of a group; what is known of by whom and of which is kept. */
export function fromEvent({ isSilenced, child, ...event }: AlertEvent, known: AlertView | undefined): AlertView {
  return {
    ...event,
    silenced: isSilenced ? (known?.silenced ?? UNKNOWN_SILENCE) : null,
    parent: child ? (known?.parent ?? '') : null,
  };
}

export type CommandView = CommandEvent & {
  arguments?: Record<string, number | boolean | string>;
  values?: Record<string, number | boolean | string>;
  supersede_key?: string | null;
  created_by?: string;
  created?: string;
  deadline?: string;
  timeout?: string;
};

interface Revised {
  readonly id: string;
  readonly revision: number;
}

/** Things by id, of which the highest revision counts. The longest untouched are forgotten at the bound. */
export class Revisions<T extends Revised> {
  readonly #items = new Map<string, T>();
  readonly #touched = new Map<string, number>();
  readonly #max: number;
  /** Grows with every change. */
  version = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get(id: string): T | undefined {
    return this.#items.get(id);
  }

  get all(): T[] {
    return [...this.#items.values()];
  }

  /** A mark in time, to be compared with what was touched since. */
  get mark(): number {
    return this.version;
  }

  touchedSince(id: string, mark: number): boolean {
    return (this.#touched.get(id) ?? -1) > mark;
  }

  /** Takes in one state. An older one adds what was not known and changes nothing else. False: it brought nothing. */
  put(item: T): boolean {
    const known = this.#items.get(item.id);
    const merged = known === undefined || item.revision >= known.revision ? { ...known, ...item } : { ...item, ...known };
    if (known !== undefined && item.revision <= known.revision && JSON.stringify(merged) === JSON.stringify(known)) return false;
    this.#items.delete(item.id);
    this.#items.set(item.id, merged);
    this.version += 1;
    this.#touched.set(item.id, this.version);
    if (this.#items.size > this.#max) {
      const oldest = this.#items.keys().next();
      if (!oldest.done) this.remove(oldest.value);
    }
    return true;
  }

  remove(id: string): void {
    if (!this.#items.delete(id)) return;
    this.#touched.delete(id);
    this.version += 1;
  }
}

/** Open alerts in the page at most; whoever scrolls so far is told to filter. */
export const OPEN_MAX = 5_000;
const KEPT_MAX = 6_000;
/** Alerts that were told of are known by their ids; after so many others one may be told of again. */
const TOLD_MAX = 5_000;
/** The API is asked for what frames leave out at most this often, and for a tenth of the time at most. */
const FILL_MS = 2_000;
const FILL_SHARE = 10;

interface AlertPage {
  items: readonly AlertView[];
  next: string | null;
}

export interface AlertStoreOptions {
  /** One page of the open alerts, the worst first. */
  load: (cursor: string | null) => Promise<AlertPage>;
  /** Something changed. Called for each frame: what takes longer waits for a tick. */
  changed: () => void;
  /** An alert began to fire just now, for the first time that this page hears of it. */
  began: (alert: AlertView) => void;
}

/**
 * The open alerts, of which the worst are loaded first and the others when they are wanted. Behind the last one that was
 * loaded nothing is shown, since what frames tell of there has gaps.
 */
export class AlertStore {
  readonly alerts = new Revisions<AlertView>(KEPT_MAX);
  /** Whether the open alerts were loaded once, and why the last attempt failed. */
  loaded = false;
  error: Error | null = null;
  /** There are open alerts that are not loaded. */
  more = false;
  readonly #options: AlertStoreOptions;
  /** An alert that was lost sight of over a reconnect is not told of twice. */
  readonly #told = new Set<string>();
  #generation = 0;
  #fill: ReturnType<typeof setTimeout> | undefined;
  #fillMs = FILL_MS;
  /** How far the list is loaded: pages, where to go on, and the last alert of them. */
  #pages = 1;
  #cursor: string | null = null;
  #last: AlertView | null = null;
  #sorted: { version: number; last: AlertView | null; items: AlertView[] } | null = null;

  constructor(options: AlertStoreOptions) {
    this.#options = options;
  }

  /** Open alerts, worst first and then newest; the same list until something changes. */
  get open(): AlertView[] {
    const { version } = this.alerts;
    if (this.#sorted?.version !== version || this.#sorted.last !== this.#last) {
      const last = this.#last;
      const shown = (alert: AlertView) => alert.state === 'firing' && (last === null || worstFirst(alert, last) <= 0);
      this.#sorted = { version, last, items: this.alerts.all.filter(shown).sort(worstFirst) };
    }
    return this.#sorted.items;
  }

  /** From the live socket. */
  receive(events: readonly AlertEvent[]): void {
    for (const event of events) {
      const known = this.alerts.get(event.id);
      if (!this.alerts.put(fromEvent(event, known))) continue;
      const now = this.alerts.get(event.id) as AlertView;
      const begins = known === undefined && now.state === 'firing' && now.acknowledged === null && now.parent === null;
      if (begins && this.loaded) this.#tell(now);
      // Frames leave out units and names.
      if (now.device_name === undefined && now.state === 'firing' && (this.#last === null || worstFirst(now, this.#last) <= 0)) this.#fillSoon();
    }
    this.#options.changed();
  }

  /** From an answer of the API about single alerts or a list of any kind. */
  answered(alerts: readonly AlertView[]): void {
    for (const alert of alerts) this.alerts.put(alert);
    this.#options.changed();
  }

  /** Asks again for what is loaded of the open alerts; what is no longer among it and was not heard of meanwhile has ended. */
  async reload(): Promise<void> {
    clearTimeout(this.#fill);
    this.#fill = undefined;
    const startMs = performance.now();
    await this.#load(this.#pages, true);
    this.#fillMs = Math.max(FILL_MS, FILL_SHARE * (performance.now() - startMs));
  }

  #loading = 0;

  /** One page more. */
  async loadMore(): Promise<void> {
    // While it is asked again for what is there, that comes first; the end of the list asks once more.
    if (this.#loading === 0 && this.#cursor !== null && this.open.length < OPEN_MAX) await this.#load(1, false);
  }

  async #load(pages: number, again: boolean): Promise<void> {
    this.#loading += 1;
    try {
      await this.#pagesOf(pages, again);
    } finally {
      this.#loading -= 1;
    }
    this.#options.changed();
  }

  async #pagesOf(pages: number, again: boolean): Promise<void> {
    this.#generation += 1;
    const generation = this.#generation;
    const { mark } = this.alerts;
    const open = new Set<string>();
    const first = again ? null : this.#last;
    let cursor = again ? null : this.#cursor;
    let last = this.#last;
    let loaded = 0;
    try {
      do {
        const page: AlertPage = await this.#options.load(cursor);
        if (generation !== this.#generation) return;
        for (const alert of page.items) {
          open.add(alert.id);
          this.alerts.put(alert);
        }
        last = page.items.at(-1) ?? last;
        cursor = page.next;
        loaded += 1;
      } while (cursor !== null && loaded < pages);
      this.#pages = again ? loaded : this.#pages + loaded;
      this.#cursor = cursor;
      this.more = cursor !== null;
      this.#last = this.more ? last : null;
      this.loaded = true;
      this.error = null;
      for (const alert of this.alerts.all) {
        const asked = alert.state === 'firing' && (first === null || worstFirst(alert, first) > 0) && (this.#last === null || worstFirst(alert, this.#last) <= 0);
        if (asked && !open.has(alert.id) && !this.alerts.touchedSince(alert.id, mark)) this.alerts.remove(alert.id);
      }
    } catch (error) {
      if (generation !== this.#generation) return;
      this.error = error instanceof Error ? error : new Error(String(error));
    }
  }

  #tell(alert: AlertView): void {
    if (this.#told.has(alert.id)) return;
    this.#told.add(alert.id);
    if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value as string);
    this.#options.began(alert);
  }

  #fillSoon(): void {
    this.#fill ??= setTimeout(() => void this.reload(), this.#fillMs);
  }
}

export function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

export function worstFirst(a: AlertView, b: AlertView): number {
  return rank(b.severity) - rank(a.severity) || newestFirst(a, b);
}

/** Reading a time costs more than all else of a comparison, and a list of thousands is sorted again and again. */
const times = new WeakMap<object, number>();

function firedMs(alert: { fired: string }): number {
  let ms = times.get(alert);
  if (ms === undefined) {
    ms = Date.parse(alert.fired);
    times.set(alert, ms);
  }
  return ms;
}

export function newestFirst(a: { id: string; fired: string }, b: { id: string; fired: string }): number {
  return firedMs(b) - firedMs(a) || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
