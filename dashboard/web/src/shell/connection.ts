/** The words and the shape of each state of the connection. */

import { t } from '../i18n';
import type { LinkState, Phase } from '../live/socket';
import type { IconName } from '../ui/Icon.svelte';

const ICONS: Record<Phase, IconName> = {
  idle: 'wait',
  connecting: 'wait',
  live: 'online',
  stale: 'stale',
  reconnecting: 'wait',
  offline: 'offline',
  signed_out: 'user',
  refused: 'warning',
};

export function icon(phase: Phase): IconName {
  return ICONS[phase];
}

export function label(phase: Phase): string {
  return t(`link.${phase}`);
}

/** The banner's sentence; null when there is nothing to say. */
export function sentence(state: LinkState, nowMs: number): string | null {
  const age = state.lastFrameMs === null ? null : Math.max(0, Math.floor((nowMs - state.lastFrameMs) / 1000));
  switch (state.phase) {
    case 'stale':
      return t('link.stale_text', { count: age ?? 0 });
    case 'reconnecting':
    case 'offline': {
      const start = state.phase === 'offline' ? t('link.offline_text') : t('link.reconnecting_text');
      const reason = state.text ? ` ${t('link.server_said', { text: state.text })}` : '';
      if (state.retryAtMs === null) return `${start}${reason} ${t('link.trying', { attempt: state.attempt })}`;
      const wait = Math.max(0, Math.ceil((state.retryAtMs - nowMs) / 1000));
      return `${start}${reason} ${t('link.next_try', { attempt: state.attempt, count: wait })}`;
    }
    case 'refused':
      return t('link.refused_text', { text: state.text ?? '' });
    default:
      return null;
  }
}
