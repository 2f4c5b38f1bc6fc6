/** Preferences in a few words each: what holds where nothing else was chosen. */

import type { Preferences } from '../../api/types';
import { t } from '../../i18n';
import { inWords } from '../rules/duration';
import { readWindow } from './preferences';

/** `Mon–Fri 22:00–06:00`. */
export function windowWords(text: string): string {
  const window = readWindow(text);
  if (window === null) return text;
  const days = text.trim().split(/\s/)[0] ?? '';
  const named = days === 'daily' || window.days.length === 7 ? t('prefs.daily') : days.replace(/[a-z]+/g, (day) => t(`day.${day as 'mon'}`)).replaceAll('-', '–').replaceAll(',', ', ');
  return `${named} ${window.from}–${window.to}`;
}

export function inShort(key: keyof Preferences, preferences: Preferences): string {
  switch (key) {
    case 'severities':
      return preferences.severities.length === 3 ? t('prefs.all') : preferences.severities.map((one) => t(`severity.${one}`)).join(', ');
    case 'groups':
      return preferences.groups === null ? t('prefs.groups_all') : preferences.groups.join(', ');
    case 'resolved':
      return t(preferences.resolved ? 'prefs.yes' : 'prefs.no');
    case 'quiet_hours': {
      const quiet = preferences.quiet_hours;
      return quiet === null ? t('prefs.quiet_none') : `${quiet.windows.map(windowWords).join('; ')} (${quiet.zone})`;
    }
    case 'digest':
      return preferences.digest === null ? t('prefs.digest_none') : t('prefs.digest_every', { time: inWords(preferences.digest) });
    case 'sound':
      return t(`prefs.sound_${preferences.sound}`);
    case 'require_interaction':
      return t(`prefs.stay_${preferences.require_interaction}`);
    default:
      return '';
  }
}
