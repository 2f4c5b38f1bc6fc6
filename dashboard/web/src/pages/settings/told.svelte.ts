/** The preferences of who is signed in. Kept for as long as the page lives, so that what is not saved yet outlasts a look elsewhere. */

import { api, ApiError } from '../../api/client';
import type { Preferences } from '../../api/types';
import { t } from '../../i18n';
import { calls } from '../../push/calls';
import { session } from '../../state/session.svelte';
import { toasts } from '../../state/toasts.svelte';
import { askBeforeClosing } from '../../state/unsaved';
import { byControl, type WrongFields } from '../rules/wrong';
import { type Draft, draftOf, type Mistakes, type Place, placeChanged, read, sameDraft } from './preferences';

/** Where the form shows what is wrong. */
export function controlsOf(draft: Draft): string[] {
  const windows = draft.windows.map((_, index) => `quiet_hours.windows[${index}]`);
  return ['severities', 'groups', 'resolved', ...windows, 'quiet_hours.zone', 'quiet_hours', 'digest', 'per_minute', 'sound', 'require_interaction', 'language'];
}

/** What the server finds wrong, at the controls; the windows as a whole are shown at the hours. */
export function refusedBy(error: ApiError, draft: Draft, prefix = ''): { wrong: WrongFields; rest: string | null } {
  const problems = error.problems.map((one) => ({ ...one, field: one.field.startsWith(prefix) ? one.field.slice(prefix.length) : one.field }));
  const { wrong, rest } = byControl(problems, controlsOf(draft));
  const none = Object.keys(wrong).length === 0;
  return { wrong, rest: rest.length > 0 ? rest.join(' ') : none ? error.message : null };
}

export function mistakeWords(mistakes: Mistakes): WrongFields {
  return Object.fromEntries(Object.entries(mistakes).map(([field, key]) => [field, { text: t(`prefs.wrong_${key}`), at: null }]));
}

class Told {
  #user: string | null = null;
  stored = $state.raw<Preferences | null>(null);
  draft = $state<Draft | null>(null);
  failure = $state<string | null>(null);
  busy = $state(false);
  /** Nothing was saved: whoever shows the form takes people to the first field that is wrong, and takes this back. */
  pointing = $state(false);
  #tried = $state(false);
  #refused = $state.raw<{ key: string; wrong: WrongFields }>({ key: '', wrong: {} });
  groups = $state.raw<string[]>([]);
  /** Endpoints that are edited, by their ids. */
  places = $state<Record<string, Place>>({});

  readonly changed = $derived(this.stored !== null && this.draft !== null && !sameDraft(this.draft, draftOf(this.stored)));
  readonly wrong: WrongFields = $derived.by(() => {
    if (this.draft === null) return {};
    const found = read(this.draft);
    if ('wrong' in found) return this.#tried ? mistakeWords(found.wrong) : {};
    // What the server refused, until something is changed.
    return JSON.stringify(found.preferences) === this.#refused.key ? this.#refused.wrong : {};
  });

  /** Asks for them, unless there are changes that are not saved. */
  async load(): Promise<void> {
    const user = session.current?.user.name ?? null;
    if (user !== this.#user) {
      this.#user = user;
      this.stored = null;
      this.draft = null;
      this.places = {};
    }
    if (this.changed) return;
    try {
      const stored = await calls.preferences();
      if (user !== this.#user || this.changed) return;
      this.#take(stored);
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
    }
    // Suggestions only: groups can be typed.
    const { items } = await api.devices({ limit: 500 }).catch(() => ({ items: [] }));
    this.groups = [...new Set(items.map((one) => one.group).filter((one) => one !== null))].sort();
  }

  #take(stored: Preferences): void {
    this.stored = stored;
    this.draft = draftOf(stored);
    this.failure = null;
    this.pointing = false;
    this.#tried = false;
    this.#refused = { key: '', wrong: {} };
  }

  /** Something is written and not saved, by who is signed in. */
  get unsaved(): boolean {
    return this.#user === (session.current?.user.name ?? null) && (this.changed || Object.values(this.places).some(placeChanged));
  }

  /** Forgets what was written for endpoints that are gone. */
  keepPlaces(ids: readonly string[]): void {
    for (const id of Object.keys(this.places)) if (!ids.includes(id)) delete this.places[id];
  }

  undo(): void {
    if (this.stored !== null) this.#take(this.stored);
  }

  /** True if they are saved, which is said. */
  async save(): Promise<boolean> {
    const saved = await this.#save();
    if (saved) toasts.ok(t('prefs.saved'));
    this.pointing = !saved;
    return saved;
  }

  async #save(): Promise<boolean> {
    this.#tried = true;
    this.failure = null;
    if (this.draft === null) return false;
    const found = read(this.draft);
    if ('wrong' in found) return false;
    this.busy = true;
    try {
      this.#take(await calls.savePreferences(found.preferences));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { wrong, rest } = refusedBy(error, this.draft);
      this.#refused = { key: JSON.stringify(found.preferences), wrong };
      this.failure = rest;
      return false;
    } finally {
      this.busy = false;
    }
  }
}

export const told = new Told();
askBeforeClosing(() => told.unsaved);
