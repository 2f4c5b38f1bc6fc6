/** The open alerts of the whole fleet, kept up to date while someone is signed in. */

import { api } from '../api/client';
import { t } from '../i18n';
import { AlertStore, type AlertView } from '../live/alerts';
import { link } from './live.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';
import { toasts } from './toasts.svelte';

export function alertHref(id: string): string {
  return `/alerts/${id}`;
}

const ASKING_MAX = 4;

class Alerts {
  /** Grows with every change of any alert. */
  version = $state(0);
  readonly store: AlertStore;
  readonly open: AlertView[] = $derived.by(() => {
    void this.version;
    return this.store.open;
  });

  constructor() {
    this.store = new AlertStore({
      load: (cursor) => api.alerts({ state: 'open', limit: 500, cursor }),
      changed: () => {
        this.version += 1;
      },
      began: (alert) => void this.#began(alert),
    });
    link.client.listen({
      alerts: (events) => {
        this.store.receive(events);
        // Someone has seen to it.
        for (const event of events) if (event.state === 'resolved' || event.acknowledged !== null) toasts.dismissKey(event.id);
      },
      lost: () => void this.store.reload(),
    });
  }

  get(id: string): AlertView | undefined {
    void this.version;
    return this.store.alerts.get(id);
  }

  /** Alerts whose names are asked for, for their messages. */
  #asking = 0;

  /** Where the alert is in sight anyway, it needs no message. */
  async #began(began: AlertView): Promise<void> {
    if (router.route.page === 'alerts' || (router.route.page === 'alert' && router.route.id === began.id)) return;
    // Frames leave out the device's name. In a storm the id must do: only a few messages are shown anyway.
    if (began.device_name === undefined && this.#asking < ASKING_MAX) {
      this.#asking += 1;
      await api.alert(began.id).then((answer) => this.store.answered([answer]), () => {});
      this.#asking -= 1;
    }
    const alert = this.store.alerts.get(began.id) ?? began;
    // Settled while its name was asked for.
    if (alert.state !== 'firing' || alert.acknowledged !== null) return;
    const actions = [{ label: t('alerts.open'), run: () => router.go(alertHref(alert.id)) }];
    if (session.isOperator) actions.push({ label: t('alerts.acknowledge'), run: () => void this.acknowledge([alert.id]) });
    toasts.alert(alert.severity, `${alert.rule_name}: ${alert.device_name ?? alert.device}`, alert.id, actions);
  }

  /** Acknowledges, says so, and offers to take it back. */
  async acknowledge(ids: readonly string[]): Promise<void> {
    const done = await this.#each(ids, (id) => api.acknowledge(id));
    if (done.length === 0) return;
    for (const id of done) toasts.dismissKey(id);
    toasts.ok(t('alerts.acknowledged_count', { count: done.length }), {
      label: t('action.undo'),
      run: () => void this.unacknowledge(done),
    });
  }

  async unacknowledge(ids: readonly string[]): Promise<void> {
    await this.#each(ids, (id) => api.unacknowledge(id));
  }

  async resolve(ids: readonly string[]): Promise<void> {
    const done = await this.#each(ids, (id) => api.resolve(id));
    if (done.length > 0) toasts.ok(t('alerts.resolved_count', { count: done.length }));
  }

  /** A few at a time; those that were done. What went wrong is told once, however often it did. */
  async #each(ids: readonly string[], call: (id: string) => Promise<AlertView>): Promise<string[]> {
    const waiting = [...ids];
    const done: string[] = [];
    let failure: unknown = null;
    const work = async () => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        try {
          this.store.answered([await call(id)]);
          done.push(id);
        } catch (error) {
          failure = error;
        }
      }
    };
    await Promise.all([work(), work(), work(), work()]);
    if (failure !== null) toasts.error(failure);
    return done;
  }
}

export const alerts = new Alerts();
