/** What the pages about the server itself, its people and its map ask for; documents of docs/http-api.md. */

import type { MetricType, Presence, Severity } from '../live/frame';
import { call, query } from './client';
import type { JsonValue, Page, Role, StoreState } from './types';

/** The newest sample of one metric. */
export interface Latest {
  metric: string;
  unit: string;
  type: MetricType;
  time: string;
  value: JsonValue;
}

export interface Position {
  device: string;
  name: string;
  presence: Presence;
  /** Worst open alert; null = none. */
  severity: Severity | null;
  /** Degrees; as reported, so not always on this planet. */
  latitude: number;
  longitude: number;
  time: string;
}

export interface Positions {
  items: Position[];
  total: number;
  /** More devices have a position than are answered. */
  cut: boolean;
}

export interface PlaceFilter {
  q?: string;
  group?: string;
  profile?: string;
  tag?: string;
  presence?: string;
  severity?: string;
}

export interface Facets {
  total: number;
  groups: { name: string; count: number }[];
  profiles: { name: string; count: number }[];
}

export interface FullUser {
  name: string;
  role: Role;
  created?: string;
  /** The device groups that they may see; null = all. A server without scopes does not say. */
  groups?: string[] | null;
}

export interface Token {
  id: string;
  label: string;
  role: Role;
  created: string;
  last_used: string | null;
  expires: string | null;
}

export interface LiveViewer {
  id: number | string;
  user: string;
  /** Null where a proxy does not say. */
  address: string | null;
  since: string;
  subscriptions: number;
  interval_ms: number;
  behind_ms: number;
  behind_positions: number;
  behind_frames: number;
  slow: boolean;
  frames: number;
}

export interface About {
  name: string;
  version: string;
  started: string;
  uptime_s: number;
  os: string;
  cpus: number;
  process: {
    rss_bytes: number | null;
    cpu_s: number | null;
    threads: number | null;
    open_files: number | null;
    open_files_max: number | null;
  };
  /** Admins only. */
  data_dir: string | null;
  /** As `live` null for who sees some groups only. */
  store: StoreState | null;
  live: Record<string, unknown> | null;
  devices: number;
  series: number;
  sessions: number;
  channels: Record<string, boolean>;
  health: { name: string; state: 'ok' | 'warn' | 'bad'; detail: string }[];
}

const id = encodeURIComponent;

export const service = {
  latest: (device: string, signal?: AbortSignal) => call<Page<Latest>>('GET', `devices/${id(device)}/latest`, undefined, signal),
  positions: (filter: PlaceFilter, signal?: AbortSignal) => call<Positions>('GET', `devices/positions${query({ ...filter })}`, undefined, signal),
  facets: (signal?: AbortSignal) => call<Facets>('GET', 'devices/facets', undefined, signal),
  about: (signal?: AbortSignal) => call<About>('GET', 'about', undefined, signal),
  live: (signal?: AbortSignal) => call<Record<string, unknown>>('GET', 'live', undefined, signal),
  viewers: (signal?: AbortSignal) => call<LiveViewer[] | Page<LiveViewer>>('GET', 'live/viewers', undefined, signal),
  users: (signal?: AbortSignal) => call<Page<FullUser>>('GET', 'users?limit=500', undefined, signal),
  addUser: (user: { name: string; password: string; role: Role; groups?: string[] | null }) => call<FullUser>('POST', 'users', user),
  changeUser: (name: string, change: { password?: string; role?: Role; groups?: string[] | null }) => call<FullUser>('PATCH', `users/${id(name)}`, change),
  deleteUser: (name: string) => call<void>('DELETE', `users/${id(name)}`),
  tokens: (signal?: AbortSignal) => call<Page<Token>>('GET', 'tokens', undefined, signal),
  addToken: (token: { label: string; role?: Role; expires?: string }) => call<Token & { token: string }>('POST', 'tokens', token),
  deleteToken: (token: string) => call<void>('DELETE', `tokens/${id(token)}`),
};
