/** The documents of docs/http-api.md, as the server sends them. */

import type { MetricType, Presence } from '../live/frame';

export type Role = 'viewer' | 'operator' | 'admin';

export interface User {
  name: string;
  role: Role;
}

export interface Session {
  user: User;
  expires: string;
  server: { name: string; version: string; demo: boolean; device_port: number };
}

export interface Accounting {
  reports: number;
  duplicate: number;
  skipped: number;
  received: number;
  stored: number;
  rejected: number;
  replaced: number;
}

export interface Device {
  id: string;
  name: string;
  tags: Record<string, string>;
  group: string | null;
  enabled: boolean;
  created: string;
  presence: Presence;
  last_seen: string | null;
  firmware: string | null;
  metrics: number;
  accounting: Accounting;
}

export interface NewDevice {
  id: string;
  name?: string;
  tags?: Record<string, string>;
  group?: string;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** A float that JSON lacks arrives as one of three strings. */
export type JsonValue = number | boolean | string;

export interface HistoryPage extends Page<{ time: string; value: JsonValue }> {
  device: string;
  metric: string;
  unit: string;
  type: MetricType;
}

export interface Overview {
  devices: { total: number; online: number; stale: number; offline: number };
  samples_per_s: number;
  samples_stored: number;
  viewers: number;
  sessions: number;
  uptime_s: number;
}

export type Aggregate = 'min' | 'max' | 'avg' | 'sum' | 'count' | 'first' | 'last';
