/** The live messages of SPEC §9: what the server sends, decoded, and what a viewer sends, encoded. */

import { MalformedError, Reader, Writer } from './bytes';

export const TYPE = {
  CLOSE: 0x05,
  LIVE_WELCOME: 0x80,
  SUBSCRIBE: 0x81,
  UNSUBSCRIBE: 0x82,
  SERIES_DEF: 0x83,
  BATCH: 0x84,
  PRESENCE: 0x85,
  GAP: 0x86,
  HEARTBEAT: 0x87,
  ALERT: 0x88,
  COMMAND_STATE: 0x89,
  SNAPSHOT_END: 0x8a,
  REFUSED: 0x8b,
  TEXTS: 0x8c,
  EVENTS_LOST: 0x8d,
  EVENTS_RESUME: 0x8e,
} as const;

const HEADER_BYTES = 8;
const BATCH_HEAD_BYTES = 40;

/** Indexed by the numbers of SPEC §6.1. */
export const METRIC_TYPES = ['f64', 'f32', 'i64', 'bool', 'text'] as const;
export type MetricType = (typeof METRIC_TYPES)[number];

/** Indexed by the numbers of SPEC §9.7. */
export const PRESENCES = ['offline', 'online', 'stale'] as const;
export type Presence = (typeof PRESENCES)[number];

/** Indexed by the numbers of SPEC §9.2. */
export const AGGREGATES = ['every', 'last', 'min', 'max', 'avg', 'sum', 'count', 'p95'] as const;
export type Aggregate = (typeof AGGREGATES)[number];

/** Indexed by the numbers of SPEC §9.8. */
export const GAP_REASONS = ['other', 'slow_reader', 'resume_refused'] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** Indexed by the numbers of SPEC §9.11; 0 is not a code of the specification. */
export const REFUSALS = ['other', 'too_many_subscriptions', 'in_use', 'invalid', 'too_many_series'] as const;

/** Indexed by the numbers of SPEC §9.12, from quiet to loud. */
export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];
export const ALERT_STATES = ['firing', 'resolved'] as const;
export type AlertState = (typeof ALERT_STATES)[number];
export const COMPARISONS = ['>', '>=', '<', '<='] as const;
export type Comparison = (typeof COMPARISONS)[number];
export const ALERT_KINDS = ['condition', 'no_data', 'group', 'overflow'] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];
const FLAG = { stale: 1, flapping: 2, recovering: 4, silenced: 8, child: 16 } as const;

/** Indexed by the numbers of SPEC §9.13. */
export const COMMAND_STATES = [
  'queued',
  'sent',
  'delivered',
  'in_progress',
  'succeeded',
  'failed',
  'rejected',
  'expired',
  'timed_out',
  'canceled',
  'dead',
] as const;
export type CommandState = (typeof COMMAND_STATES)[number];

/** How an alert stands, under the names of the HTTP API; times in RFC 3339, as there. */
export interface AlertEvent {
  id: string;
  revision: number;
  rule: string;
  rule_name: string;
  device: string;
  metric: string;
  severity: Severity;
  state: AlertState;
  started: string;
  fired: string;
  resolved: string | null;
  acknowledged: { user: string; time: string } | null;
  value: number;
  comparison: Comparison | null;
  /** Null when the condition is not one threshold. */
  threshold: number | null;
  text: string;
  /** As an expression; empty from a server that does not tell. */
  condition: string;
  stale: boolean;
  flapping: boolean;
  recovering: boolean;
  isSilenced: boolean;
  /** One of many that a group alert stands for. */
  child: boolean;
  kind: AlertKind;
  /** How many a group or overflow alert stands for. */
  members: number;
  assigned: string | null;
}

/** How a command stands, under the names of the HTTP API. */
export interface CommandEvent {
  id: string;
  revision: number;
  device: string;
  name: string;
  state: CommandState;
  attempt: number;
  percent: number | null;
  code: string;
  text: string;
  changed: string;
  cancel_requested: boolean;
}

export interface SeriesDef {
  index: number;
  /** Empty for a result over many devices. */
  device: string;
  metric: string;
  unit: string;
  type: MetricType;
  /** What a result over many devices is of, under the names of `across`; empty for a series of one device. */
  labels: readonly SeriesLabel[];
}

export interface SeriesLabel {
  name: string;
  /** Empty: its devices have nothing there. */
  value: string;
}

/** Where a frame stands in the lossless lane (SPEC §9.14); 0 is outside of it. */
export interface LaneStep {
  position: bigint;
  previous: bigint;
}

/** Columns of one BATCH. They may be views of the received bytes: copy what has to outlive the handler. */
export interface Batch {
  type: 'batch';
  subscription: number;
  position: bigint;
  previous: bigint;
  /** Microseconds since the Unix epoch; add an offset for a sample's time. */
  baseUs: number;
  history: boolean;
  conflated: boolean;
  series: Uint32Array | Uint16Array;
  offsetsUs: Uint32Array;
  values: Float64Array | Float32Array;
}

export interface TextSample {
  series: number;
  timeUs: number;
  text: string;
}

export type Message =
  | { type: 'close'; code: number; text: string; reconnect: boolean; retryAfterMs: number }
  | {
      type: 'welcome';
      epoch: bigint;
      position: bigint;
      serverTimeUs: number;
      heartbeatIntervalMs: number;
      subscriptionsMax: number;
      intervalMsMin: number;
      eventsEpoch: bigint;
      eventsPosition: bigint;
    }
  | { type: 'series'; subscription: number; series: SeriesDef[] }
  | Batch
  | {
      type: 'texts';
      subscription: number;
      position: bigint;
      previous: bigint;
      history: boolean;
      items: TextSample[];
    }
  | ({ type: 'presence'; devices: { device: string; state: Presence; lastSeenUs: number }[] } & LaneStep)
  | { type: 'gap'; subscription: number; from: bigint; to: bigint; reason: GapReason }
  | { type: 'heartbeat'; timeUs: number; position: bigint; visible: boolean }
  | { type: 'snapshot_end'; subscription: number; position: bigint; series: number }
  | { type: 'refused'; subscription: number; code: number; text: string }
  | ({ type: 'alerts'; alerts: AlertEvent[] } & LaneStep)
  | ({ type: 'commands'; commands: CommandEvent[] } & LaneStep)
  /** So many changes of alerts, commands and presence may be missing; 0 = unknown. */
  | ({ type: 'events_lost'; count: bigint } & LaneStep)
  /** A type this page does not know: skipped and counted, as SPEC §2.1 asks. */
  | { type: 'unknown'; number: number };

export interface Decoded {
  messages: Message[];
  /** What could not be read; the messages before it are good. */
  error: MalformedError | null;
}

/** Decodes the whole frames of one WebSocket message. Never throws: what it cannot read is in `error`. */
export function decode(buffer: ArrayBuffer): Decoded {
  const messages: Message[] = [];
  const view = new DataView(buffer);
  let at = 0;
  try {
    while (at < buffer.byteLength) {
      if (buffer.byteLength - at < HEADER_BYTES) throw new MalformedError('the message ends inside a header');
      const magic = view.getUint16(at);
      if (magic !== 0xabcd) throw new MalformedError(`magic is ${magic.toString(16)}; allowed: abcd`);
      const version = view.getUint8(at + 2);
      if (version !== 1) throw new MalformedError(`version is ${version}; allowed: 1`);
      const length = view.getUint32(at + 4);
      const start = at + HEADER_BYTES;
      if (length > buffer.byteLength - start) throw new MalformedError('a frame is longer than its message');
      messages.push(payload(view.getUint8(at + 3), buffer, start, start + length));
      at = start + length;
    }
  } catch (error) {
    const known = error instanceof MalformedError ? error : new MalformedError(String(error));
    return { messages, error: known };
  }
  return { messages, error: null };
}

function payload(type: number, buffer: ArrayBuffer, start: number, end: number): Message {
  const read = new Reader(buffer, start, end);
  switch (type) {
    case TYPE.CLOSE:
      return {
        type: 'close',
        code: read.u16(),
        text: read.string(),
        reconnect: read.bool(),
        retryAfterMs: read.u32(),
      };
    case TYPE.LIVE_WELCOME:
      return {
        type: 'welcome',
        epoch: read.u64(),
        position: read.u64(),
        serverTimeUs: read.i64(),
        heartbeatIntervalMs: read.u32(),
        subscriptionsMax: read.u32(),
        intervalMsMin: read.u32(),
        // Appended: a server from before has no lane.
        eventsEpoch: read.more ? read.u64() : 0n,
        eventsPosition: read.more ? read.u64() : 0n,
      };
    case TYPE.SERIES_DEF:
      return { type: 'series', subscription: read.u32(), series: seriesList(read) };
    case TYPE.BATCH:
      return batch(buffer, start, end);
    case TYPE.TEXTS:
      return {
        type: 'texts',
        subscription: read.u32(),
        position: read.u64(),
        previous: read.u64(),
        history: read.bool(),
        items: read.list(() => ({ series: read.u32(), timeUs: read.i64(), text: read.string() })),
      };
    case TYPE.PRESENCE:
      return {
        type: 'presence',
        devices: read.list(() => ({
          device: read.string(),
          state: PRESENCES[read.variant(PRESENCES.length)] as Presence,
          lastSeenUs: read.i64(),
        })),
        ...lane(read),
      };
    case TYPE.GAP:
      return {
        type: 'gap',
        subscription: read.u32(),
        from: read.u64(),
        to: read.u64(),
        reason: GAP_REASONS[read.variant(GAP_REASONS.length)] as GapReason,
      };
    case TYPE.HEARTBEAT:
      // `visible` was appended: a server from before does not send it.
      return { type: 'heartbeat', timeUs: read.i64(), position: read.u64(), visible: read.more && read.bool() };
    case TYPE.SNAPSHOT_END:
      return { type: 'snapshot_end', subscription: read.u32(), position: read.u64(), series: read.u32() };
    case TYPE.REFUSED:
      return { type: 'refused', subscription: read.u32(), code: read.u16(), text: read.string() };
    case TYPE.ALERT:
      return { type: 'alerts', alerts: alerts(read), ...lane(read) };
    case TYPE.COMMAND_STATE:
      return { type: 'commands', commands: read.list(() => command(read)), ...lane(read) };
    case TYPE.EVENTS_LOST:
      return { type: 'events_lost', count: read.u64(), ...lane(read) };
    default:
      return { type: 'unknown', number: type };
  }
}

/** Appended to what the lossless lane carries; a server from before sends neither. */
function lane(read: Reader): LaneStep {
  return { position: read.more ? read.u64() : 0n, previous: read.more ? read.u64() : 0n };
}

const NO_LABELS: readonly SeriesLabel[] = [];

function seriesList(read: Reader): SeriesDef[] {
  const found = read.list(() => ({
    index: read.u32(),
    device: read.string(),
    metric: read.string(),
    unit: read.string(),
    type: METRIC_TYPES[read.variant(METRIC_TYPES.length)] as MetricType,
  }));
  // Appended: none, or one list for each of the series.
  const label = () => ({ name: read.string(), value: read.string() });
  const labels = read.more ? read.list(() => read.list(label)) : [];
  if (labels.length !== 0 && labels.length !== found.length) {
    throw new MalformedError(`labels has ${labels.length} elements; allowed: none, or ${found.length}`);
  }
  return found.map((series, index) => ({ ...series, labels: labels[index] ?? NO_LABELS }));
}

/** RFC 3339 with all six decimals, as the HTTP API writes it. */
function time(read: Reader): string {
  const us = read.i64();
  const ms = Math.floor(us / 1000);
  // Beyond what a Date holds there is no text for it; such a time means nothing anyhow.
  if (Math.abs(ms) > 8.64e15) return new Date(0).toISOString();
  return new Date(ms).toISOString().replace('Z', `${String(us - ms * 1000).padStart(3, '0')}Z`);
}

/** What a server of before does not tell. */
const PLAIN = { kind: 'condition', flags: 0, members: 0, condition: '', assigned: null } as const;

function alerts(read: Reader): AlertEvent[] {
  const found = read.list(() => alert(read));
  // Appended: none, or one for each of the alerts.
  const details = read.more ? read.list(() => detail(read)) : [];
  if (details.length !== 0 && details.length !== found.length) {
    throw new MalformedError(`details has ${details.length} elements; allowed: none, or ${found.length}`);
  }
  return found.map((event, index) => {
    const { flags, kind, ...rest } = details[index] ?? PLAIN;
    return {
      ...event,
      ...rest,
      kind,
      stale: (flags & FLAG.stale) !== 0,
      flapping: (flags & FLAG.flapping) !== 0,
      recovering: (flags & FLAG.recovering) !== 0,
      isSilenced: (flags & FLAG.silenced) !== 0,
      child: (flags & FLAG.child) !== 0,
    };
  });
}

function detail(read: Reader) {
  return {
    kind: ALERT_KINDS[read.variant(ALERT_KINDS.length)] as AlertKind,
    flags: read.u16(),
    members: read.u32(),
    condition: read.string(),
    assigned: read.optional(() => read.string()),
  };
}

function alert(read: Reader) {
  const event = {
    id: read.ulid(),
    revision: Number(read.u64()),
    rule: read.string(),
    rule_name: read.string(),
    device: read.string(),
    metric: read.string(),
    severity: SEVERITIES[read.variant(SEVERITIES.length)] as Severity,
    state: ALERT_STATES[read.variant(ALERT_STATES.length)] as AlertState,
    started: time(read),
    fired: time(read),
    resolved: read.optional(() => time(read)),
    acknowledged: read.optional(() => ({ user: read.string(), time: time(read) })),
    value: read.f64(),
    comparison: COMPARISONS[read.variant(COMPARISONS.length)] as Comparison | null,
    threshold: read.f64() as number | null,
    text: read.string(),
  };
  // Its condition is not one threshold.
  return Number.isNaN(event.threshold) ? { ...event, comparison: null, threshold: null } : event;
}

function command(read: Reader): CommandEvent {
  return {
    id: read.ulid(),
    revision: Number(read.u64()),
    device: read.string(),
    name: read.string(),
    state: COMMAND_STATES[read.variant(COMMAND_STATES.length)] as CommandState,
    attempt: read.u32(),
    percent: read.optional(() => read.u8()),
    code: read.string(),
    text: read.string(),
    changed: time(read),
    cancel_requested: read.bool(),
  };
}

const SHORT_SERIES = 4;
const TIME_RUNS = 8;
const SHORT_VALUES = 16;

/** Where a column ends that begins here. */
const after = (at: number, bytes: number) => at + Math.ceil(bytes / 8) * 8;

/** The offset of each sample, from the runs of samples that share one; and where the columns after them begin. */
function runs(buffer: ArrayBuffer, at: number, end: number, count: number): { offsetsUs: Uint32Array; next: number } {
  const announced = at + 8 > end ? 0 : new DataView(buffer, at, 4).getUint32(0, true);
  const offsetsAt = at + 8;
  const lengthsAt = after(offsetsAt, 4 * announced);
  const next = after(lengthsAt, 4 * announced);
  if (next > end) throw new MalformedError(`BATCH says ${announced} runs of times, and ends inside them`);
  const offsets = new Uint32Array(buffer, offsetsAt, announced);
  const lengths = new Uint32Array(buffer, lengthsAt, announced);
  const offsetsUs = new Uint32Array(count);
  let from = 0;
  for (let run = 0; run < announced; run += 1) {
    const to = from + (lengths[run] as number);
    if (to === from || to > count) throw new MalformedError(`run ${run} of times in BATCH has ${to - from} samples`);
    offsetsUs.fill(offsets[run] as number, from, to);
    from = to;
  }
  if (from !== count) throw new MalformedError(`BATCH says ${count} samples, and times for ${from}`);
  return { offsetsUs, next };
}

/**
 * SPEC §9.5. The columns are views, not copies, but for times in runs: a BATCH is alone in its message, so its payload starts at byte 8 and
 * every column lies on a multiple of 8. One that is not alone is copied, since typed arrays need that alignment.
 * Typed arrays have the machine's byte order, which is little-endian on everything that runs a browser.
 */
function batch(buffer: ArrayBuffer, start: number, end: number): Batch {
  if (start % 8 !== 0) {
    const alone = buffer.slice(start, end);
    return batch(alone, 0, alone.byteLength);
  }
  if (end - start < BATCH_HEAD_BYTES) throw new MalformedError('BATCH ends inside its fixed part');
  const head = new DataView(buffer, start, BATCH_HEAD_BYTES);
  const count = head.getUint32(4, true);
  const flags = head.getUint32(32, true);
  const seriesAt = start + BATCH_HEAD_BYTES;
  const timesAt = after(seriesAt, (flags & SHORT_SERIES ? 2 : 4) * count);
  // The count is held against what is there before anything is made for it.
  const given = timesAt > end || (flags & TIME_RUNS) === 0 ? null : runs(buffer, timesAt, end, count);
  const valuesAt = given?.next ?? after(timesAt, 4 * count);
  if (after(valuesAt, (flags & SHORT_VALUES ? 4 : 8) * count) > end) {
    throw new MalformedError(`BATCH says ${count} samples, but its payload has ${end - start} bytes`);
  }
  return {
    type: 'batch',
    subscription: head.getUint32(0, true),
    position: head.getBigUint64(8, true),
    previous: head.getBigUint64(16, true),
    baseUs: Number(head.getBigInt64(24, true)),
    history: (flags & 1) !== 0,
    conflated: (flags & 2) !== 0,
    series: flags & SHORT_SERIES ? new Uint16Array(buffer, seriesAt, count) : new Uint32Array(buffer, seriesAt, count),
    offsetsUs: given?.offsetsUs ?? new Uint32Array(buffer, timesAt, count),
    values: flags & SHORT_VALUES ? new Float32Array(buffer, valuesAt, count) : new Float64Array(buffer, valuesAt, count),
  };
}

export interface SubscribeRequest {
  subscription: number;
  /** Empty: every device the viewer may see. */
  devices: readonly string[];
  /** Empty: every metric. */
  metrics: readonly string[];
  intervalMs: number;
  aggregate: Aggregate;
  historyMs: number;
  resume: { epoch: bigint; position: bigint } | null;
  /** Device groups; empty or absent: any. */
  groups?: readonly string[] | undefined;
  profiles?: readonly string[] | undefined;
  /** Key and value; an empty value stands for any. */
  tags?: readonly (readonly [string, string])[] | undefined;
  /** Fold over devices, per these labels: `group`, `profile`, `tag:KEY`; absent: series of single devices. */
  across?: readonly string[] | undefined;
}

export function encodeSubscribe(request: SubscribeRequest): Uint8Array<ArrayBuffer> {
  const write = new Writer();
  write.u32(request.subscription);
  write.list(request.devices, (device) => write.string(device));
  write.list(request.metrics, (metric) => write.string(metric));
  write.u32(request.intervalMs);
  write.u32(AGGREGATES.indexOf(request.aggregate));
  write.u32(request.historyMs);
  if (request.resume === null) {
    write.u8(0);
  } else {
    write.u8(1);
    write.u64(request.resume.epoch);
    write.u64(request.resume.position);
  }
  write.list(request.groups ?? [], (group) => write.string(group));
  write.list(request.profiles ?? [], (profile) => write.string(profile));
  write.list(request.tags ?? [], ([key, value]) => {
    write.string(key);
    write.string(value);
  });
  if (request.across === undefined) {
    write.u8(0);
  } else {
    write.u8(1);
    write.list(request.across, (label) => write.string(label));
  }
  return write.frame(TYPE.SUBSCRIBE);
}

/** Go on in the lossless lane after this position (SPEC §9.15). */
export function encodeEventsResume(epoch: bigint, position: bigint): Uint8Array<ArrayBuffer> {
  const write = new Writer();
  write.u64(epoch);
  write.u64(position);
  return write.frame(TYPE.EVENTS_RESUME);
}

export function encodeUnsubscribe(subscription: number): Uint8Array<ArrayBuffer> {
  const write = new Writer();
  write.u32(subscription);
  return write.frame(TYPE.UNSUBSCRIBE);
}

/** The viewer's own clock, position 0, and whether a person can see the page (SPEC §9.9). */
export function encodeHeartbeat(timeMs: number, visible: boolean): Uint8Array<ArrayBuffer> {
  const write = new Writer();
  write.i64(BigInt(Math.round(timeMs * 1000)));
  write.u64(0n);
  write.u8(visible ? 1 : 0);
  return write.frame(TYPE.HEARTBEAT);
}

export function encodeClose(code: number, text: string): Uint8Array<ArrayBuffer> {
  const write = new Writer();
  write.u32(code);
  write.string(text);
  write.u8(0);
  write.u32(0);
  return write.frame(TYPE.CLOSE);
}
