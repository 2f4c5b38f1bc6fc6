/** The documents of docs/http-api.md, as the server sends them. */

import type { AlertView, CommandView } from '../live/alerts';
import type { CommandState, Comparison, MetricType, Presence, Severity } from '../live/frame';

export type Role = 'viewer' | 'operator' | 'admin';

export interface User {
  name: string;
  role: Role;
}

export interface Session {
  user: User;
  expires: string;
  server: {
    name: string;
    version: string;
    demo: boolean;
    device_port: number;
    /** The page that shows what was pushed, in the demo. */
    emulator_url?: string | null;
  };
}

/** `received = stored + duplicate + rejected + dropped`; all but the first two count values. */
export interface Accounting {
  reports: number;
  skipped: number;
  received: number;
  stored: number;
  duplicate: number;
  late: number;
  replaced: number;
  rejected: number;
  /** Only reasons that occurred. */
  rejected_by: Partial<Record<RejectReason, number>>;
  dropped: number;
  /** Only reasons that occurred. */
  dropped_by: Partial<Record<DropReason, number>>;
}

export type RejectReason = 'time_in_future' | 'time_out_of_range' | 'type_mismatch' | 'no_room_for_series';
export type DropReason = 'not_stored' | 'sequence_gap' | 'clone' | 'unknown_stream' | 'session_ended';

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

/** How the store of telemetry is doing; docs/http-api.md. */
export interface StoreState {
  stopped: string | null;
  failing: string | null;
  journal_bytes: number;
  heads_bytes: number;
  disk_bytes: number;
  size_bytes_max: number;
  nearly_full: boolean;
  damaged: string[];
}

export interface Overview {
  devices: { total: number; online: number; stale: number; offline: number };
  samples_per_s: number;
  samples_stored: number;
  store: StoreState;
  viewers: number;
  sessions: number;
  uptime_s: number;
}

export type Aggregate = 'min' | 'max' | 'avg' | 'sum' | 'count' | 'first' | 'last';

export type Values = Record<string, number | boolean | string>;

export interface ArgumentSpec {
  name: string;
  type: 'bool' | 'i64' | 'f64' | 'text';
  required: boolean;
  min: number | null;
  max: number | null;
  unit: string;
}

export interface CommandSpec {
  name: string;
  title: string;
  arguments: ArgumentSpec[];
}

export interface CommandSet {
  /** False for a device that never said what it knows. */
  declared: boolean;
  commands: CommandSpec[];
}

export interface CommandRequest {
  /** A ULID of our own, so that asking again does not send it twice. */
  id: string;
  name: string;
  arguments: Values;
  ttl?: string;
  timeout?: string;
}

export interface CommandDetail extends CommandView {
  history: { state: CommandState; time: string; text: string }[];
}

export type Scope = { device: string } | { devices: string[] } | { tag: string } | { group: string } | { all: true };

export interface RuleRequest {
  name: string;
  metric: string;
  comparison: Comparison;
  threshold: number;
  clear?: number;
  for?: string;
  severity: Severity;
  scope: Scope;
  message?: string;
  enabled?: boolean;
  allow_unknown_metric?: boolean;
}

export interface Rule {
  id: string;
  name: string;
  enabled: boolean;
  metric: string;
  comparison: Comparison;
  threshold: number;
  clear: number;
  for: string;
  severity: Severity;
  scope: Scope;
  message: string;
  version: number;
  created: string;
  updated: string;
  updated_by: string;
  /** Devices it looks at, and how many of its alerts fire. */
  devices: number;
  firing: number;
}

export interface AlertDetail extends AlertView {
  history: { time: string; kind: 'fired' | 'acknowledged' | 'unacknowledged' | 'resolved'; user: string | null; text: string }[];
}

export type EndpointKind = 'webpush' | 'apns' | 'fcm';

export interface PushConfig {
  webpush: { available: boolean; public_key?: string };
  apns: { available: boolean };
  fcm: { available: boolean };
}

export interface PushEndpoint {
  id: string;
  kind: EndpointKind;
  label: string;
  user: string;
  created: string;
  state: 'active' | 'removed';
  removed_reason: string | null;
  last_delivered: string | null;
}

export type NewEndpoint =
  | { kind: 'webpush'; url: string; keys: { p256dh: string; auth: string }; label?: string }
  | { kind: 'apns'; token: string; topic?: string; label?: string }
  | { kind: 'fcm'; token: string; label?: string };

export interface Delivery {
  id: string;
  endpoint: string;
  endpoint_label: string;
  kind: EndpointKind;
  state: 'queued' | 'sending' | 'delivered' | 'dead' | 'dropped' | 'withdrawn';
  attempts: number;
  reason: string;
  next_attempt: string | null;
  timeline: { time: string; event: string; status: number | null; text: string }[];
}

export interface PushMessage {
  id: string;
  user: string;
  kind: 'firing' | 'resolved' | 'test';
  alert: string | null;
  severity: Severity;
  title: string;
  body: string;
  created: string;
  state: 'waiting' | 'sending' | 'done';
  /** Why it was not pushed; empty when it was. */
  reason: string;
  reason_text: string;
  deliveries: Delivery[];
}
