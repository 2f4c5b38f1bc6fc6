/** What this page knows of its live connection, in words. */

import { formatBytes, formatCount, formatDuration, t } from '../../i18n';
import type { LiveClient } from '../../live/client';
import type { LiveSocket } from '../../live/socket';

export const FACTS = ['state', 'latency', 'silence', 'received', 'rate', 'samples', 'gaps', 'reconnects', 'unreadable', 'unknown', 'clock'] as const;

export interface Fact {
  name: (typeof FACTS)[number];
  value: string;
}

interface Linked {
  client: Pick<LiveClient, 'gaps' | 'samples' | 'clock'>;
  socket: Pick<LiveSocket, 'stats' | 'state'>;
}

const openedMs = performance.now();

export function connectionFacts({ client, socket }: Linked, latencyMs: number | null, nowMs: number = performance.now()): Fact[] {
  const { stats, state } = socket;
  const seconds = Math.max(1, (nowMs - openedMs) / 1000);
  const values: Record<Fact['name'], string> = {
    state: t(`link.${state.phase}`),
    latency: latencyMs === null ? t('about.unknown') : t('about.ms', { count: Math.round(latencyMs) }),
    silence: state.lastFrameMs === null ? t('about.unknown') : formatDuration(nowMs - state.lastFrameMs),
    received: t('about.frames', { count: stats.frames, size: formatBytes(stats.bytes) }),
    rate: t('about.per_second', { frames: (stats.frames / seconds).toFixed(1), size: formatBytes(stats.bytes / seconds) }),
    samples: formatCount(client.samples),
    gaps: formatCount(client.gaps),
    reconnects: formatCount(stats.reconnects),
    unreadable: stats.lastUnreadable === null ? formatCount(stats.unreadable) : `${formatCount(stats.unreadable)} (${stats.lastUnreadable})`,
    unknown: formatCount(stats.unknown),
    clock: t('link.clock_value', { seconds: (Math.round(client.clock.offsetMs / 100) / 10 + 0).toFixed(1) }),
  };
  return FACTS.map((name) => ({ name, value: values[name] }));
}
