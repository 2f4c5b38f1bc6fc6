/**
 * What the page knows of alerts and of one device's commands: from the HTTP API, which is complete but a moment old, and
 * from the live socket, which is new but knows fewer fields. Both carry a revision, so the order in which they arrive
 * does not matter.
 */

import type { AlertEvent, CommandEvent, Severity } from './frame';
import { SEVERITIES } from './frame';

/** An alert of the API; what the live socket leaves out is missing until the API was asked. */
export interface AlertView extends AlertEvent {
  device_name?: string;
  unit?: string;
  clear?: number;
  resolved_reason?: string | null;
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
    if (known !== undefined && JSON.stringify(merged) === JSON.stringify(known)) return false;
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

/** More open alerts than this are counted as "and more": nobody reads them one by one. */
export const OPEN_MAX = 2_000;
const KEPT_MAX = 5_000;
/** Alerts that were told of are known by their ids; after so many others one may be told of again. */
const TOLD_MAX = 5_000;
/** The API is asked for what frames leave out at most this often. */
const FILL_MS = 2_000;

interface AlertPage {
  items: readonly AlertView[];
  next: string | null;
}

export interface AlertStoreOptions {
  /** One page of the open alerts, the worst first. */
  load: (cursor: string | null) => Promise<AlertPage>;
  /** Something changed. */
  changed: () => void;
  /** An alert began to fire just now, for the first time that this page hears of it. */
  began: (alert: AlertView) => void;
}

export class AlertStore {
  readonly alerts = new Revisions<AlertView>(KEPT_MAX);
  /** Whether the open alerts were loaded once, and why the last attempt failed. */
  loaded = false;
  error: Error | null = null;
  /** There are more open alerts than are held here. */
  more = false;
  readonly #options: AlertStoreOptions;
  /** An alert that was lost sight of over a reconnect is not told of twice. */
  readonly #told = new Set<string>();
  #generation = 0;
  #fill: ReturnType<typeof setTimeout> | undefined;

  constructor(options: AlertStoreOptions) {
    this.#options = options;
  }

  /** Open alerts, worst first and then newest. */
  get open(): AlertView[] {
    return this.alerts.all.filter((alert) => alert.state === 'firing').sort(worstFirst);
  }

  /** From the live socket. */
  receive(events: readonly AlertEvent[]): void {
    for (const event of events) {
      const known = this.alerts.get(event.id);
      if (!this.alerts.put(event)) continue;
      const now = this.alerts.get(event.id) as AlertView;
      if (known === undefined && now.state === 'firing' && now.acknowledged === null && this.loaded) this.#tell(now);
      // Frames leave out units and names.
      if (now.device_name === undefined && now.state === 'firing') this.#fillSoon();
    }
    this.#options.changed();
  }

  /** From an answer of the API about single alerts or a list of any kind. */
  answered(alerts: readonly AlertView[]): void {
    for (const alert of alerts) this.alerts.put(alert);
    this.#options.changed();
  }

  /** Asks for all open alerts; what is no longer among them and was not heard of meanwhile has ended. */
  async reload(): Promise<void> {
    clearTimeout(this.#fill);
    this.#fill = undefined;
    this.#generation += 1;
    const generation = this.#generation;
    const { mark } = this.alerts;
    const open = new Set<string>();
    let cursor: string | null = null;
    try {
      do {
        const page: AlertPage = await this.#options.load(cursor);
        for (const alert of page.items) {
          open.add(alert.id);
          this.alerts.put(alert);
        }
        cursor = page.next;
        if (generation !== this.#generation) return;
      } while (cursor !== null && open.size < OPEN_MAX);
      this.more = cursor !== null;
      this.loaded = true;
      this.error = null;
      if (!this.more) {
        for (const alert of this.alerts.all) {
          const ended = alert.state === 'firing' && !open.has(alert.id) && !this.alerts.touchedSince(alert.id, mark);
          if (ended) this.alerts.remove(alert.id);
        }
      }
    } catch (error) {
      if (generation !== this.#generation) return;
      this.error = error instanceof Error ? error : new Error(String(error));
    }
    this.#options.changed();
  }

  #tell(alert: AlertView): void {
    if (this.#told.has(alert.id)) return;
    this.#told.add(alert.id);
    if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value as string);
    this.#options.began(alert);
  }

  #fillSoon(): void {
    this.#fill ??= setTimeout(() => void this.reload(), FILL_MS);
  }
}

export function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

export function worstFirst(a: AlertView, b: AlertView): number {
  return rank(b.severity) - rank(a.severity) || newestFirst(a, b);
}

export function newestFirst(a: { id: string; fired: string }, b: { id: string; fired: string }): number {
  return Date.parse(b.fired) - Date.parse(a.fired) || (a.id < b.id ? 1 : -1);
}
