/** The charts that this person has pinned to the overview; kept by the server. */

import { api, ApiError } from '../api/client';
import { t } from '../i18n';
import { session } from '../state/session.svelte';
import { toasts } from '../state/toasts.svelte';
import { type Pin, PINS_MAX, pinsQuery, readPins, samePin } from './pin';

class Pins {
  /** Null until they are known. */
  list = $state.raw<readonly Pin[] | null>(null);
  #user: string | null = null;
  #saving: Promise<void> = Promise.resolve();

  /** Asks the server; whoever is signed in now has pins of their own. */
  async load(): Promise<void> {
    const user = session.current?.user.name ?? null;
    if (this.#user !== user) this.list = null;
    this.#user = user;
    try {
      const answer = await api.views('overview');
      const own = (Array.isArray(answer) ? answer : answer.items).find((view) => view.name === 'pins' && view.owner === user);
      if (this.#user === user) this.list = readPins(own?.query ?? '');
    } catch {
      // Without them the overview chooses; the next page asks again.
      if (this.#user === user) this.list ??= [];
    }
  }

  has(pin: Pin): boolean {
    return this.list?.some((one) => samePin(one, pin)) ?? false;
  }

  async add(added: readonly Pin[]): Promise<void> {
    if (this.list === null) await this.load();
    const list = this.list ?? [];
    const fresh = added.filter((pin) => !this.has(pin));
    if (list.length + fresh.length > PINS_MAX) {
      toasts.error(new Error(t('overview.pins_full', { count: PINS_MAX })));
      return;
    }
    if (await this.#save([...list, ...fresh])) {
      toasts.ok(t('overview.pinned', { count: fresh.length }), { label: t('action.undo'), run: () => void this.remove(fresh) });
    }
  }

  async remove(removed: readonly Pin[]): Promise<void> {
    const list = this.list ?? [];
    const left = list.filter((one) => !removed.some((pin) => samePin(one, pin)));
    if (left.length < list.length && (await this.#save(left))) {
      toasts.ok(t('overview.unpinned', { count: list.length - left.length }), { label: t('action.undo'), run: () => void this.#save(list) });
    }
  }

  /** By one place to the front (-1) or to the back (1). */
  async move(pin: Pin, by: -1 | 1): Promise<void> {
    const list = [...(this.list ?? [])];
    const at = list.findIndex((one) => samePin(one, pin));
    const other = list[at + by];
    if (at < 0 || other === undefined) return;
    list[at + by] = pin;
    list[at] = other;
    await this.#save(list);
  }

  /** Shown at once, and taken back if the server does not take it. One after the other, so that the last one holds. */
  async #save(list: readonly Pin[]): Promise<boolean> {
    const before = this.list;
    this.list = list;
    const query = pinsQuery(list);
    const saving = this.#saving.then(async () => {
      if (query === '') {
        await api.deleteView('overview', 'pins').catch((error) => {
          if (!(error instanceof ApiError && error.status === 404)) throw error;
        });
      } else {
        await api.saveView('overview', 'pins', { query });
      }
    });
    this.#saving = saving.catch(() => {});
    try {
      await saving;
      return true;
    } catch (error) {
      if (this.list === list) this.list = before;
      toasts.error(error);
      return false;
    }
  }
}

export const pins = new Pins();
