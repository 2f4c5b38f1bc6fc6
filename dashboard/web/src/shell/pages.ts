/** The pages that can be gone to, in the order of the navigation. */

import { t, type TextKey } from '../i18n';
import type { PageName } from '../state/router.svelte';
import { session } from '../state/session.svelte';
import type { IconName } from '../ui/Icon.svelte';
import { VIEWS } from '../views';

interface Entry {
  href: string;
  icon: IconName;
  label: TextKey;
  /** The page itself first; then those that belong to it. */
  pages: readonly PageName[];
  /** After `g`. */
  key?: string;
  /** In a phone's bar; the rest is behind "More". */
  bar?: true;
  admin?: true;
  /** At the end of the rail. */
  last?: true;
}

const ENTRIES: readonly Entry[] = [
  { href: '/', icon: 'overview', label: 'nav.overview', pages: ['overview'], key: 'o', bar: true },
  { href: '/devices', icon: 'devices', label: 'nav.devices', pages: ['devices', 'device'], key: 'd', bar: true },
  { href: '/explore', icon: 'explore', label: 'nav.explore', pages: ['explore'], key: 'e' },
  { href: '/map', icon: 'map', label: 'nav.map', pages: ['map'], key: 'm' },
  { href: '/alerts', icon: 'alerts', label: 'nav.alerts', pages: ['alerts', 'alert'], key: 'a', bar: true },
  { href: '/rules', icon: 'rules', label: 'nav.rules', pages: ['rules', 'rule', 'rule_new'], key: 'r', bar: true },
  { href: '/silences', icon: 'silenced', label: 'nav.silences', pages: ['silences'], key: 's' },
  { href: '/announcements', icon: 'announce', label: 'announce.page', pages: ['announcements'], admin: true },
  { href: '/settings/appearance', icon: 'settings', label: 'nav.settings', pages: ['appearance', 'notifications', 'users', 'tokens'], key: ',', last: true },
  { href: '/about', icon: 'info', label: 'nav.about', pages: ['about'], last: true },
];

export interface NavPage {
  href: string;
  icon: IconName;
  label: string;
  pages: readonly PageName[];
  key: string | null;
  bar: boolean;
  last: boolean;
}

export function navPages(): NavPage[] {
  return ENTRIES.filter((one) => VIEWS[one.pages[0] as PageName] !== undefined)
    .filter((one) => one.admin !== true || session.isAdmin)
    .map(({ href, icon, label, pages, key, bar, last }) => ({
      href,
      icon,
      label: t(label),
      pages,
      key: key ?? null,
      bar: bar === true,
      last: last === true,
    }));
}
