/** What is wrong with the store, and what a person does about it. */

import type { StoreState } from '../../api/types';
import type { TextKey } from '../../i18n';

export interface Trouble {
  tone: 'critical' | 'warning';
  key: TextKey;
  values: Record<string, string | number>;
}

/** Worst first. A store that has stopped says nothing new by failing too. */
export function troublesOf(store: StoreState): Trouble[] {
  const troubles: Trouble[] = [];
  if (store.stopped !== null) {
    troubles.push({ tone: 'critical', key: 'store.stopped', values: { reason: store.stopped } });
  } else if (store.failing !== null) {
    troubles.push({ tone: 'critical', key: 'store.failing', values: { reason: store.failing } });
  }
  if (store.damaged.length > 0) {
    troubles.push({ tone: 'critical', key: 'store.damaged', values: { count: store.damaged.length } });
  }
  if (store.nearly_full) {
    const percent = Math.round((store.disk_bytes / store.size_bytes_max) * 100);
    troubles.push({ tone: 'warning', key: 'store.nearly_full', values: { percent } });
  }
  return troubles;
}
