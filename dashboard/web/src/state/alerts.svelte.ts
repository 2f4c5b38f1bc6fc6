/** The open alerts of the whole fleet, kept up to date while someone is signed in. */

import { api } from '../api/client';
import type { AlertMatch, AlertSummary, BulkRequest } from '../api/types';
import { t } from '../i18n';
import { AlertStore, type AlertView } from '../live/alerts';
import { SEVERITIES, type Severity } from '../live/frame';
import { link } from './live.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';
import { toasts } from './toasts.svelte';

export function alertHref(id: string): string {
  return `/alerts/${id}`;
}

const ASKING_MAX = 4;
/** More open alerts than one page holds are counted by the server, at most this often. */
const SUMMARY_MS = 2_000;
/** The page follows what changes so often. */
const TELL_MS = 250;
/** Of `ids` in one request. */
const BULK_MAX = 1_000;

export interface Counts {
  all: number;
  by: Record<Severity, number>;
  worst: Severity | undefined;
}

class Alerts {
  /** Grows with every change of any alert, four times per second at most. */
  version = $state(0);
  /** As the server counts; null until asked for. */
  summary = $state.raw<AlertSummary | null>(null);
  readonly store: AlertStore;
  readonly open: readonly AlertView[] = $derived.by(() => {
    void this.version;
    return this.store.open;
  });
  readonly counts: Counts = $derived.by(() => {
    const by = { info: 0, warning: 0, critical: 0 };
    // What is not loaded cannot be counted here.
    if (this.store.more && this.summary !== null) Object.assign(by, this.summary.open);
    else for (const alert of this.open) by[alert.severity] += 1;
    return { all: by.info + by.warning + by.critical, by, worst: SEVERITIES.findLast((one) => by[one] > 0) };
  });

  #changed = false;
  #wanted = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #summaryAtMs = Number.NEGATIVE_INFINITY;
  #summarizing = false;

  constructor() {
    this.store = new AlertStore({
      load: (cursor) => api.alerts({ state: 'open', limit: 500, cursor }),
      changed: () => this.#mark(),
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

  /** A storm brings many frames; the page follows after so long. */
  #mark(): void {
    if (this.#changed) return;
    this.#changed = true;
    setTimeout(() => {
      this.#changed = false;
      this.#toldAtMs = performance.now();
      this.version += 1;
      if ((this.store.more || this.#wanted > 0) && this.#toldAtMs - this.#summaryAtMs > SUMMARY_MS) void this.summarize();
    }, Math.max(0, this.#toldAtMs + TELL_MS - performance.now()));
  }

  /** Keeps the summary up to date until the returned function is called. */
  wantSummary(): () => void {
    this.#wanted += 1;
    void this.summarize();
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible' && performance.now() - this.#summaryAtMs > SUMMARY_MS) void this.summarize();
    }, 5_000);
    return () => {
      this.#wanted -= 1;
      clearInterval(timer);
    };
  }

  async summarize(): Promise<void> {
    if (this.#summarizing) return;
    this.#summarizing = true;
    this.#summaryAtMs = performance.now();
    try {
      this.summary = await api.alertSummary();
    } catch {
      // The counts stay as they were; the list says what is wrong.
    } finally {
      this.#summarizing = false;
    }
  }

  get(id: string): AlertView | undefined {
    void this.version;
    return this.store.alerts.get(id);
  }

  /** Alerts whose names are asked for, for their messages. */
  #asking = 0;

  /** Where the alert is in sight anyway, it needs no message. */
  async #began(began: AlertView): Promise<void> {
    if (began.silenced !== null) return;
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
    const about = alert.device_name || alert.device;
    toasts.alert(alert.severity, about ? `${alert.rule_name}: ${about}` : alert.rule_name, alert.id, actions);
  }

  /** Acknowledges, says so, and offers to take it back. */
  async acknowledge(ids: readonly string[]): Promise<void> {
    const changed = await this.#act('acknowledge', ids, (id) => api.acknowledge(id));
    if (changed === null) return;
    for (const id of ids) toasts.dismissKey(id);
    toasts.ok(t('alerts.acknowledged_count', { count: changed }), {
      label: t('action.undo'),
      run: () => void this.unacknowledge(ids),
    });
  }

  async unacknowledge(ids: readonly string[]): Promise<void> {
    await this.#act('unacknowledge', ids, (id) => api.unacknowledge(id));
  }

  async resolve(ids: readonly string[]): Promise<void> {
    const changed = await this.#act('resolve', ids, (id) => api.resolve(id));
    if (changed !== null) toasts.ok(t('alerts.resolved_count', { count: changed }));
  }

  /** Without a time until they resolve. */
  async silence(ids: readonly string[], forTime: string | null): Promise<void> {
    const extra = forTime === null ? {} : { for: forTime };
    const changed = await this.#act('silence', ids, (id) => api.silence(id, forTime), extra);
    if (changed === null) return;
    for (const id of ids) toasts.dismissKey(id);
    toasts.ok(t('alerts.silenced_count', { count: changed }), { label: t('action.undo'), run: () => void this.unsilence(ids) });
  }

  async unsilence(ids: readonly string[]): Promise<void> {
    await this.#act('unsilence', ids, (id) => api.unsilence(id));
  }

  async assign(id: string, user: string | null): Promise<void> {
    await this.#act('assign', [id], () => api.assign(id, user));
  }

  /**
   * Does something to all open alerts that match, in one request. It can be taken back only where that cannot touch what others
   * had done before.
   */
  async all(action: 'acknowledge' | 'resolve' | 'silence', filter: AlertMatch, forTime: string | null = null): Promise<boolean> {
    try {
      const undo = { acknowledge: ['acknowledged', 'unacknowledge'], silence: ['silenced', 'unsilence'], resolve: null }[action] as
        | ['acknowledged' | 'silenced', BulkRequest['action']]
        | null;
      const before = undo === null ? null : (await api.alertSummary())[undo[0]];
      const { changed } = await api.bulk({ action, filter, ...(forTime === null ? {} : { for: forTime }) });
      await Promise.all([this.summarize(), link.isLive ? null : this.store.reload()]);
      const done = { acknowledge: 'alerts.acknowledged_count', silence: 'alerts.silenced_count', resolve: 'alerts.resolved_count' } as const;
      const back =
        undo === null || before !== 0
          ? undefined
          : {
              label: t('action.undo'),
              run: () => {
                // They no longer match what chose them.
                const filterBack = { ...filter, [undo[0]]: true };
                void this.#bulk({ action: undo[1], filter: filterBack });
              },
            };
      toasts.ok(t(done[action], { count: changed }), back);
      return true;
    } catch (error) {
      toasts.error(error);
      return false;
    }
  }

  async #bulk(request: BulkRequest): Promise<number | null> {
    try {
      const { changed } = await api.bulk(request);
      // Frames tell what changed; without them it has to be asked for.
      if (!link.isLive) await this.store.reload();
      return changed;
    } catch (error) {
      toasts.error(error);
      return null;
    }
  }

  /** How many were changed; null if it failed, which was told. One is asked for by itself, since the answer is the alert. */
  async #act(action: BulkRequest['action'], ids: readonly string[], one: (id: string) => Promise<AlertView>, extra: Partial<BulkRequest> = {}): Promise<number | null> {
    if (ids.length !== 1) {
      let changed = 0;
      for (let at = 0; at < ids.length; at += BULK_MAX) {
        const part = await this.#bulk({ action, ids: ids.slice(at, at + BULK_MAX), ...extra });
        if (part === null) return null;
        changed += part;
      }
      return changed;
    }
    try {
      this.store.answered([await one(ids[0] as string)]);
      return 1;
    } catch (error) {
      toasts.error(error);
      return null;
    }
  }
}

export const alerts = new Alerts();
