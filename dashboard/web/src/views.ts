/** The code of each page, fetched when it is opened. A page that is not here has no place in the navigation. */

import type { Component } from 'svelte';
import type { PageName } from './state/router.svelte';

// biome-ignore lint/suspicious/noExplicitAny: each page has properties of its own; only those about one thing have an id
type View = () => Promise<{ default: Component<any> }>;

export const VIEWS: Partial<Record<PageName, View>> = {
  overview: () => import('./pages/overview/Overview.svelte'),
  devices: () => import('./pages/devices/Devices.svelte'),
  device: () => import('./pages/device/Device.svelte'),
  explore: () => import('./pages/explore/Explore.svelte'),
  alerts: () => import('./pages/alerts/Alerts.svelte'),
  alert: () => import('./pages/alerts/Alert.svelte'),
  rules: () => import('./pages/rules/Rules.svelte'),
  rule: () => import('./pages/rules/Rule.svelte'),
  rule_new: () => import('./pages/rules/Rule.svelte'),
  silences: () => import('./pages/silences/Silences.svelte'),
  announcements: () => import('./pages/announcements/Announcements.svelte'),
  map: () => import('./pages/map/Map.svelte'),
  start: () => import('./pages/start/Start.svelte'),
  appearance: () => import('./pages/settings/Appearance.svelte'),
  users: () => import('./pages/settings/Users.svelte'),
  tokens: () => import('./pages/settings/Tokens.svelte'),
  about: () => import('./pages/about/About.svelte'),
  notifications: () => import('./pages/settings/Notifications.svelte'),
};
