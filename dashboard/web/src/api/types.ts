/** The documents of docs/http-api.md, as the server sends them. */

import type { AlertView, CommandView } from '../live/alerts';
import type { AlertKind, CommandState, Comparison, MetricType, Presence, Severity } from '../live/frame';

export type Role = 'viewer' | 'operator' | 'admin';

export interface User {
  name: string;
  role: Role;
}

/** A tile server: Web Mercator, 256 pixels. */
export interface MapTiles {
  /** With `{z}`, `{x}` and `{y}`. */
  url: string;
  /** Plain text, perhaps empty. */
  attribution: string;
  /** Deepest zoom that there is. */
  zoom_max: number;
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
    /** Where the map's tiles are; null: there are none. */
    map_tiles?: MapTiles | null;
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
  /** Absent from servers that know no profiles. */
  profile?: string | null;
  enabled: boolean;
  created: string;
  presence: Presence;
  last_seen: string | null;
  firmware: string | null;
  metrics: number;
  /** Open ones. */
  alerts?: Record<Severity, number>;
  /** Of the metrics that were asked for with `metrics=`; only those that exist. */
  latest?: Record<string, LatestValue>;
  accounting: Accounting;
}

export interface LatestValue {
  time: string;
  value: JsonValue;
  unit: string;
}

export interface Named {
  name: string;
  count: number;
}

/** What filters and columns of the device list can be made of; most frequent first. */
export interface Facets {
  total: number;
  presence: Record<Presence, number>;
  alerting: number;
  groups: Named[];
  profiles: Named[];
  tags: { key: string; values: { value: string; count: number }[] }[];
  metrics: { name: string; unit: string; type: MetricType; devices: number }[];
  /** There are more than are listed. */
  cut: boolean;
}

export interface SavedView {
  page: string;
  name: string;
  query: string;
  shared: boolean;
  owner: string;
  changed: string;
}

export interface NewDevice {
  id: string;
  name?: string;
  tags?: Record<string, string>;
  group?: string;
  profile?: string;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** Many series at once. */
export interface SeriesPage {
  series: { device: string; metric: string; times: string[]; values: Record<string, (JsonValue | null)[]> }[];
}

export interface DevicePage extends Page<Device> {
  /** All that match. */
  total: number;
}

export interface DeviceBulk {
  action: 'enable' | 'disable' | 'delete' | 'set_group' | 'set_profile' | 'add_tag' | 'remove_tag' | 'command';
  ids?: readonly string[];
  filter?: Record<string, string | readonly string[]> | { all: true };
  group?: string | null;
  profile?: string | null;
  key?: string;
  value?: string;
  command?: { name: string; arguments?: Values; ttl?: string };
}

export interface BulkAnswer {
  matched: number;
  changed: number;
  /** The first hundred. */
  failed: { id: string; detail: string }[];
}

/** A float that JSON lacks arrives as one of three strings. */
export type JsonValue = number | boolean | string;

export interface HistoryPage extends Page<{ time: string; value: JsonValue }> {
  device: string;
  metric: string;
  unit: string;
  type: MetricType;
}

/** One entry per series, with a list for each aggregate, or with `value` for samples. */
export interface QueryAnswer {
  series: {
    device: string;
    metric: string;
    unit: string;
    type: MetricType;
    times: string[];
    values: Partial<Record<Aggregate | 'value', (JsonValue | null)[]>>;
    more: boolean;
  }[];
  /** The answer breaks off before this one. */
  error?: { device: string; metric: string; detail: string };
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
  /** As `store` and `viewers` null for who sees some groups only. */
  samples_per_s: number | null;
  samples_stored: number;
  store: StoreState | null;
  viewers: number | null;
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

export type Scope =
  | { device: string }
  | { devices: string[] }
  | { tag: string }
  | { group: string }
  | { profile: string }
  | { all: true };

export interface LevelRequest {
  severity: Severity;
  /** An expression, docs/expressions.md. */
  when: string;
  clear: string | null;
}

/** An expression that compares one metric with one number. */
export interface Limit {
  metric: string;
  comparison: Comparison;
  value: number;
}

export interface RuleLevel extends LevelRequest {
  threshold: Limit | null;
  clear_threshold: Limit | null;
}

export type NoDataThen = 'hold' | 'fire' | 'clear';
export type Day = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun';

export interface Schedule {
  zone: string;
  windows: { days: Day[]; from: string; to: string }[];
}

export interface Escalation {
  after: string;
  to: string[];
  times: number;
  every: string;
}

export interface Notify {
  group_by: string[];
  wait: string;
  interval: string;
  repeat: string | null;
  resolved: boolean;
  to: string[];
  ack_timeout: string | null;
  escalation: Escalation[];
}

/** What people say of a rule; times such as `30s`. */
export interface RuleFields {
  name: string;
  enabled: boolean;
  scope: Scope;
  /** Null beside a count. */
  for: string | null;
  count: { at_least: number; of: number } | null;
  keep_firing_for: string;
  mode: 'sampled' | 'on_change';
  /** Null: as `alerting.gap_max`. */
  staleness: string | null;
  lateness: string;
  no_data: { after: string; then: NoDataThen; severity?: Severity | null } | null;
  flapping: boolean;
  schedule: Schedule | null;
  reopen_window: string;
  labels: Record<string, string>;
  message: string;
  runbook: string | null;
  notify: Notify;
}

/** What is left out has the server's default. */
export type RuleRequest = { id?: string; allow_unknown_metric?: boolean; levels?: LevelRequest[] } & Partial<
  Omit<RuleFields, 'notify'>
> & { notify?: Partial<Notify>; metric?: string; comparison?: Comparison; threshold?: number; clear?: number; severity?: Severity };

export interface Rule extends RuleFields {
  id: string;
  levels: RuleLevel[];
  metrics: string[];
  version: number;
  created: string;
  updated: string;
  updated_by: string;
  /** Devices it looks at, and on how many of them it stands so. */
  devices: number;
  firing: number;
  pending: number;
  stale: number;
}

export interface RuleCheck {
  ok: true;
  rule: Rule;
  devices: number;
  metrics: { name: string; unit: string; devices: number }[];
}

export interface RuleVersion {
  version: number;
  change: 'created' | 'edited' | 'paused' | 'resumed' | 'deleted';
  time: string;
  user: string;
  rule: Rule;
}

export interface BacktestSpan {
  from: string;
  /** Null: it was firing at the end. */
  to: string | null;
  severity: Severity;
  kind: AlertKind;
}

export interface BacktestDevice {
  device: string;
  name: string;
  alerts: number;
  firing_s: number;
  spans: BacktestSpan[];
}

export interface BacktestOutcome {
  alerts: number;
  alerts_per_day: number;
  firing_s: number;
  flapping: number;
  /** The noisiest first, at most 50. */
  by_device: BacktestDevice[];
  spans_cut: boolean;
  notifications: { total: number; per_person: { user: string; total: number; per_day: number }[] };
}

export interface BacktestResult {
  from: string;
  to: string;
  devices: number;
  samples: number;
  took_ms: number;
  now: { firing: number; pending: number; stale: number };
  candidate: BacktestOutcome;
  /** The stored version of the rule. */
  current: BacktestOutcome | null;
}

export interface BacktestJob {
  id: string;
  state: 'running' | 'done' | 'failed' | 'canceled';
  progress: { devices: number; devices_done: number; samples: number };
  error: unknown;
  result: BacktestResult | null;
}

export type StepKind =
  | 'fired'
  | 'level'
  | 'recovering'
  | 'relapsed'
  | 'stale'
  | 'fresh'
  | 'flapping'
  | 'settled'
  | 'reopened'
  | 'members'
  | 'acknowledged'
  | 'unacknowledged'
  | 'silenced'
  | 'unsilenced'
  | 'assigned'
  | 'commented'
  | 'resolved';

export interface AlertDetail extends AlertView {
  history: { time: string; kind: StepKind; user: string | null; text: string }[];
}

export interface AlertSummary {
  open: Record<Severity, number>;
  silenced: number;
  acknowledged: number;
  /** At most 100, the worst first. */
  by_rule: { rule: string; rule_name: string; severity: Severity; open: number; devices: number }[];
}

/** Which open alerts; all of them without any. */
export interface AlertMatch {
  severity?: Severity;
  rule?: string;
  device?: string;
  group?: string;
  silenced?: boolean;
  acknowledged?: boolean;
}

export interface BulkRequest {
  action: 'acknowledge' | 'unacknowledge' | 'resolve' | 'silence' | 'unsilence' | 'assign' | 'comment';
  ids?: readonly string[];
  filter?: AlertMatch;
  for?: string;
  reason?: string;
  user?: string | null;
  text?: string;
}

/** What became of what was to be told of a group of alerts at one time. */
export interface Decision {
  id: string;
  time: string;
  group: string;
  reason: string;
  reason_text: string;
  firing: string[];
  resolved: string[];
  suppressed: { alert: string; why: string; why_text: string }[];
  to: string[];
  messages: number;
  delayed: boolean;
}

export type SilenceState = 'active' | 'planned' | 'ended';

export interface Silence {
  id: string;
  kind: 'silence' | 'maintenance';
  matchers: string[];
  starts: string;
  ends: string;
  reason: string;
  created_by: string;
  created: string;
  updated: string;
  state: SilenceState;
  hides: number;
}

export interface SilenceRequest {
  matchers: string[];
  starts?: string;
  ends?: string;
  for?: string;
  reason: string;
  kind?: 'silence' | 'maintenance';
  everything?: boolean;
}

export * from './push-types';
