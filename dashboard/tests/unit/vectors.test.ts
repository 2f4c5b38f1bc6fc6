/** The codec against proto-spec/vectors, which are written from SPEC.md and shared by every implementation. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import {
  type Aggregate,
  decode,
  encodeClose,
  encodeEventsResume,
  encodeHeartbeat,
  encodeSubscribe,
  encodeUnsubscribe,
  type Message,
  REFUSALS,
  type AlertEvent,
} from '../../web/src/live/frame';

type Fields = Record<string, unknown>;

interface Vector {
  name: string;
  hex: string;
  fields?: Fields;
  error?: { field?: string; problem?: string };
  canonical?: boolean;
}

const FOLDER = resolve(import.meta.dirname, '../../../proto-spec/vectors');

function vectors(file: string): Vector[] {
  const text = readFileSync(resolve(FOLDER, `${file}.toml`), 'utf8');
  return (parse(text, { integersAsBigInt: true }) as unknown as { vector: Vector[] }).vector;
}

function bytes(text: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(text.replace(/#.*$/gm, '').replace(/\s/g, ''), 'hex')).buffer;
}

/** The microseconds of a time with six decimals. */
function microseconds(time: string): number {
  return Date.parse(`${time.slice(0, 23)}Z`) * 1000 + Number(time.slice(23, 26));
}

/** A ULID's text as the 32 digits of its bits. */
function bits(ulid: string): string {
  const value = [...ulid].reduce((sum, digit) => sum * 32n + BigInt('0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(digit)), 0n);
  return value.toString(16).padStart(32, '0');
}

/** What the decoder gives, under the names of SPEC.md. Integers are bigint, as the vectors are read. */
/** Of the vector that is compared: fields that were appended are in those of their time. */
let wanted: Fields = {};

function detail({ kind, members, condition, assigned, stale, flapping, recovering, isSilenced, child }: AlertEvent) {
  const flags = [stale, flapping, recovering, isSilenced, child].reduce((sum, on, bit) => sum + (on ? 1 << bit : 0), 0);
  return { kind, flags, members, condition, ...(assigned === null ? {} : { assigned }) };
}

const AS_FIELDS: { [Type in Message['type']]?: (message: Extract<Message, { type: Type }>) => Fields } = {
  close: ({ code, text, reconnect, retryAfterMs }) => ({ code, text, reconnect, retry_after_ms: retryAfterMs }),
  welcome: (message) => ({
    epoch: message.epoch,
    position: message.position,
    server_time_us: message.serverTimeUs,
    heartbeat_interval_ms: message.heartbeatIntervalMs,
    subscriptions_max: message.subscriptionsMax,
    interval_ms_min: message.intervalMsMin,
    events_epoch: message.eventsEpoch,
    events_position: message.eventsPosition,
  }),
  series: ({ subscription, series }) => ({
    subscription,
    labels: series.some(({ labels }) => labels.length > 0) ? series.map(({ labels }) => labels) : [],
    series: series.map(({ index, device, metric, unit, type }) => ({ index, device, metric, unit, metric_type: type })),
  }),
  batch: (message) => ({
    subscription: message.subscription,
    position: message.position,
    previous: message.previous,
    base_us: message.baseUs,
    history: message.history,
    conflated: message.conflated,
    samples: [...message.series].map((series, row) => [
      series,
      message.baseUs + (message.offsetsUs[row] ?? NaN),
      { f64: message.values[row] },
    ]),
  }),
  texts: ({ subscription, position, previous, history, items }) => ({
    subscription,
    position,
    previous,
    history,
    items: items.map(({ series, timeUs, text }) => ({ series, time_us: timeUs, text })),
  }),
  presence: ({ devices, position, previous }) => ({
    position,
    previous,
    devices: devices.map(({ device, state, lastSeenUs }) => ({ device, state, last_seen_us: lastSeenUs })),
  }),
  gap: ({ subscription, from, to, reason }) => ({ subscription, from_position: from, to_position: to, reason }),
  heartbeat: ({ timeUs, position, visible }) => ({ time_us: timeUs, position, visible }),
  snapshot_end: ({ subscription, position, series }) => ({ subscription, position, series }),
  alerts: ({ alerts, position, previous }) => ({
    position,
    previous,
    alerts: alerts.map((alert) => ({
      id: bits(alert.id),
      revision: alert.revision,
      rule: alert.rule,
      rule_name: alert.rule_name,
      device: alert.device,
      metric: alert.metric,
      severity: alert.severity,
      state: alert.state,
      started_us: microseconds(alert.started),
      fired_us: microseconds(alert.fired),
      ...(alert.resolved === null ? {} : { resolved_us: microseconds(alert.resolved) }),
      ...(alert.acknowledged === null ? {} : { acknowledged: { user: alert.acknowledged.user, time_us: microseconds(alert.acknowledged.time) } }),
      value: { f64: alert.value },
      // What is not one threshold has none.
      comparison: alert.comparison ?? '>',
      threshold: { f64: alert.threshold ?? Number.NaN },
      text: alert.text,
    })),
    ...('details' in wanted ? { details: (wanted.details as unknown[]).length === 0 ? [] : alerts.map(detail) } : {}),
  }),
  commands: ({ commands, position, previous }) => ({
    position,
    previous,
    commands: commands.map(({ id, changed, percent, ...same }) => ({
      ...same,
      id: bits(id),
      changed_us: microseconds(changed),
      ...(percent === null ? {} : { percent }),
    })),
  }),
  events_lost: ({ count, position, previous }) => ({ count, position, previous }),
  refused: ({ subscription, code, text }) => ({ subscription, code, text }),
};

/** Numbers that stand for integers become bigint; `{ f64 }` keeps a sample's value a number. */
function integers(value: unknown): unknown {
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return value.map(integers);
  if (value !== null && typeof value === 'object') {
    if ('f64' in value) return value.f64;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, integers(one)]));
  }
  return value;
}

const RECEIVED = ['close', 'live_welcome', 'series_def', 'batch', 'texts', 'presence', 'gap', 'heartbeat', 'snapshot_end', 'refused', 'alert', 'command_state', 'events_lost'];

describe.each(RECEIVED)('%s', (file) => {
  const fromServer = vectors(file).filter(({ fields, error }) => fields?.visible !== true && error?.field !== 'visible');
  it.each(fromServer.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const { messages, error } = decode(bytes(vector.hex));
    if (vector.error !== undefined) {
      // A page may be more lenient than a server about values that only have no meaning, such as a time beyond i64.
      if (vector.error.problem === 'not_allowed') return;
      expect(error?.name).toBe('MalformedError');
      return;
    }
    expect(error).toBeNull();
    const message = messages[0] as Message;
    wanted = vector.fields as Fields;
    const fields = (AS_FIELDS[message.type] as (message: Message) => Fields)(message);
    expect(integers(fields)).toEqual(vector.fields);
  });
});

const number = (value: unknown) => Number(value as bigint);

/** What the page sends, from the fields of a vector. */
const SENT: Record<string, (fields: Fields) => Uint8Array | null> = {
  subscribe: (fields) =>
    encodeSubscribe({
      subscription: number(fields.subscription),
      devices: fields.devices as string[],
      metrics: fields.metrics as string[],
      intervalMs: number(fields.interval_ms),
      aggregate: fields.aggregate as Aggregate,
      historyMs: number(fields.history_ms),
      resume: (fields.resume as { epoch: bigint; position: bigint } | undefined) ?? null,
      groups: fields.groups as string[],
      profiles: fields.profiles as string[],
      tags: (fields.tags as { key: string; value: string }[]).map(({ key, value }) => [key, value] as const),
      across: fields.across as string[] | undefined,
    }),
  events_resume: (fields) => encodeEventsResume(fields.epoch as bigint, fields.position as bigint),
  unsubscribe: (fields) => encodeUnsubscribe(number(fields.subscription)),
  // The page's own heartbeat has position 0, in whole milliseconds of its clock.
  heartbeat: (fields) => (fields.position === 0n && number(fields.time_us) % 1000 === 0 ? encodeHeartbeat(number(fields.time_us) / 1000, fields.visible === true) : null),
  // It closes for good only.
  close: (fields) =>
    fields.reconnect === false && fields.retry_after_ms === 0n ? encodeClose(number(fields.code), fields.text as string) : null,
};

describe.each(Object.keys(SENT))('sending %s', (file) => {
  const usable = vectors(file).filter((vector) => vector.fields !== undefined && vector.canonical !== false);
  it.each(usable.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const sent = SENT[file]?.(vector.fields as Fields);
    if (sent == null) return;
    expect(Buffer.from(sent).toString('hex')).toBe(Buffer.from(bytes(vector.hex)).toString('hex'));
  });
});

it('every refusal of SPEC §9.11 has a name', () => {
  expect(REFUSALS).toHaveLength(5);
});
