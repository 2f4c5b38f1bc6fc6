/** When devices were last heard of: what the server has said, and what has arrived since. */

import type { Device } from '../api/types';
import type { LiveClient } from '../live/client';
import type { Presence } from '../live/frame';
import type { SeriesStore } from '../live/store';

export interface Seen {
  presence: Presence;
  /** Milliseconds since the Unix epoch by the server's clock; null = never. */
  lastSeenMs: number | null;
}

/** PRESENCE comes with changes only, so each live sample counts as a sign of life too. */
export function seenNow(ids: readonly string[], store: SeriesStore | null, client: LiveClient): Map<string, Seen> {
  const offsetMs = client.clock.nowMs() - performance.now();
  const seen = new Map<string, Seen>();
  for (const id of ids) {
    const entry = client.presence.get(id);
    if (entry === undefined) continue;
    const arrival = store?.arrivals.get(id);
    const arrivedMs = arrival === undefined ? 0 : arrival + offsetMs;
    seen.set(id, { presence: entry.state, lastSeenMs: Math.max(arrivedMs, entry.lastSeenMs ?? 0) || null });
  }
  return seen;
}

export function lastSeenMs(device: Device | null, seen: Seen | undefined): number | null {
  const storedMs = device?.last_seen ? Date.parse(device.last_seen) : 0;
  return Math.max(storedMs, seen?.lastSeenMs ?? 0) || null;
}
