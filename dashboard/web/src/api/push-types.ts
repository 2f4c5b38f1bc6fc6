/** What the API says of where and how people are told. */

import type { Severity } from '../live/frame';

export type EndpointKind = 'webpush' | 'apns' | 'fcm' | 'email' | 'webhook';

export interface PushConfig {
  webpush: { available: boolean; public_key?: string };
  apns: { available: boolean };
  fcm: { available: boolean };
  email?: { available: boolean };
  webhook?: { available: boolean };
}

/** What a person wants to be told, when, and how it looks. */
export interface Preferences {
  severities: Severity[];
  /** Device groups; null = all devices, also those in no group. */
  groups: string[] | null;
  resolved: boolean;
  /** Windows such as `mon-fri 22:00-06:00`. */
  quiet_hours: { zone: string; windows: string[]; critical_passes: boolean } | null;
  /** Such as `30m`. */
  digest: string | null;
  per_minute: number;
  sound: 'auto' | 'always' | 'never';
  require_interaction: 'critical' | 'always' | 'never';
  language: 'en' | 'de';
}

/** Where an endpoint differs: what is absent is as its person has it. */
export type EndpointPreferences = Partial<Omit<Preferences, 'per_minute' | 'language'>>;

export interface PushEndpoint {
  id: string;
  kind: EndpointKind;
  label: string;
  user: string;
  created: string;
  state: 'active' | 'unconfirmed' | 'removed';
  removed_reason: string | null;
  last_delivered: string | null;
  preferences: EndpointPreferences;
  muted: boolean;
  opened: number;
  dismissed: number;
  /** Of a new webhook, and never again. */
  secret?: string;
}

export type NewEndpoint =
  | { kind: 'webpush'; url: string; keys: { p256dh: string; auth: string }; label?: string }
  | { kind: 'apns'; token: string; topic?: string; label?: string }
  | { kind: 'fcm'; token: string; label?: string }
  | { kind: 'email'; mailbox: string; label?: string }
  | { kind: 'webhook'; url: string; secret?: string; label?: string };

export interface Delivery {
  id: string;
  endpoint: string;
  endpoint_label: string;
  kind: EndpointKind;
  state: 'queued' | 'sending' | 'delivered' | 'dead' | 'dropped' | 'withdrawn' | 'digested';
  attempts: number;
  reason: string;
  next_attempt: string | null;
  /** Why it waits although its message may go out. */
  held?: 'quiet_hours' | 'digest' | 'storm' | 'paused' | null;
  provider_id: string | null;
  timeline: { time: string; event: string; status: number | null; text: string }[];
}

export const MESSAGE_KINDS = ['firing', 'resolved', 'acknowledged', 'digest', 'announcement', 'operator', 'test'] as const;

export interface PushMessage {
  id: string;
  user: string;
  kind: (typeof MESSAGE_KINDS)[number];
  alert: string | null;
  announcement?: string | null;
  /** Why it was made. */
  cause?: string | null;
  severity: Severity;
  title: string;
  body: string;
  created: string;
  state: 'waiting' | 'sending' | 'done';
  /** Why it was not pushed; empty when it was. */
  reason: string;
  reason_text: string;
  opened?: string | null;
  dismissed?: string | null;
  deliveries: Delivery[];
}

export interface ProviderState {
  /** `apns`, `fcm`, `email`, or the host of a browser's push service or of a webhook. */
  provider: string;
  state: 'ok' | 'down' | 'refuses';
  until?: string | null;
  reason?: string | null;
  /** Frozen: endpoints that a provider calls gone are not believed to be. */
  pruning: 'on' | 'frozen';
  in_flight: number;
  queued: number;
  delivered: number;
  retried: number;
  dead: number;
  dropped: number;
}

export interface Announcement {
  id: string;
  title: string;
  body: string;
  url?: string | null;
  image?: string | null;
  severity: Severity;
  to: string[] | null;
  group?: string | null;
  state: 'scheduled' | 'running' | 'paused' | 'done' | 'canceled';
  created: string;
  created_by: string;
  not_before: string;
  expires: string;
  progress: { people: number; endpoints: number; delivered: number; failed: number; withdrawn: number; waiting: number };
}

export interface NewAnnouncement {
  title: string;
  body: string;
  url?: string;
  image?: string;
  severity?: Severity;
  to?: string[];
  group?: string;
  not_before?: string;
  ttl?: string;
}
