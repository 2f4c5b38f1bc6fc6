/** Short messages about what an action did or what has just happened. Errors stay until they are dismissed; at most four are shown. */

import type { Severity } from '../live/frame';

export interface ToastAction {
  label: string;
  run: () => void;
}

export interface Toast {
  id: number;
  kind: 'ok' | 'error' | Severity;
  text: string;
  actions: readonly ToastAction[];
  /** What it is about, so that it can go when that is settled. */
  key: string | null;
}

const OK_MS = 5_000;
/** Time enough to read the message and to reach its button. */
const ACTION_MS = 10_000;
const ALERT_MS = 20_000;

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  ok(text: string, action?: ToastAction): void {
    this.#add('ok', text, action ? [action] : [], null, action ? ACTION_MS : OK_MS);
  }

  error(error: unknown): void {
    this.#add('error', error instanceof Error ? error.message : String(error), [], null, null);
  }

  alert(severity: Severity, text: string, key: string, actions: readonly ToastAction[]): void {
    this.#add(severity, text, actions, key, ALERT_MS);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  dismissKey(key: string): void {
    this.list = this.list.filter((toast) => toast.key !== key);
  }

  #add(kind: Toast['kind'], text: string, actions: readonly ToastAction[], key: string | null, forMs: number | null): void {
    const id = this.#next;
    this.#next += 1;
    const others = key === null ? this.list : this.list.filter((toast) => toast.key !== key);
    this.list = [...others, { id, kind, text, actions, key }].slice(-4);
    if (forMs !== null) setTimeout(() => this.dismiss(id), forMs);
  }
}

export const toasts = new Toasts();
