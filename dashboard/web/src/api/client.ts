/** Calls of the HTTP API. Every failure is an ApiError, whose `message` is fit to be shown. */

import { t } from '../i18n';
import type { AlertView, CommandView } from '../live/alerts';
import type { MetricType } from '../live/frame';
import type {
  Aggregate,
  AlertDetail,
  AlertSummary,
  BacktestJob,
  BulkAnswer,
  BulkRequest,
  CommandDetail,
  CommandRequest,
  CommandSet,
  Decision,
  Device,
  DeviceBulk,
  DevicePage,
  Facets,
  HistoryPage,
  JsonValue,
  NewDevice,
  NewEndpoint,
  Overview,
  Page,
  PushConfig,
  PushEndpoint,
  PushMessage,
  QueryAnswer,
  Rule,
  RuleCheck,
  RuleRequest,
  RuleVersion,
  SavedView,
  SeriesPage,
  Session,
  Silence,
  SilenceRequest,
  User,
} from './types';

/** What is wrong with one field, and where in its text. */
export interface FieldProblem {
  field: string;
  text: string;
  /** From and to, in bytes of UTF-8. */
  at: readonly [number, number] | null;
}

export class ApiError extends Error {
  override name = 'ApiError';
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** The stable `code` of the problem document, or `network`. */
  readonly code: string;
  /** What is wrong with single fields, by name. */
  readonly fields: Record<string, string>;
  readonly problems: readonly FieldProblem[];

  constructor(status: number, code: string, message: string, problems: readonly FieldProblem[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = Object.fromEntries(problems.map(({ field, text }) => [field, text]));
    this.problems = problems;
  }
}

const TIMEOUT_MS = 15_000;
/** What is done to many devices takes its time. */
const BULK_TIMEOUT_MS = 600_000;

let whenSignedOut: () => void = () => {};

/** Called when a request is answered with 401, sign-in itself excepted. */
export function onSignedOut(callback: () => void): void {
  whenSignedOut = callback;
}

/** One request; the named ones are below, those of the settings in `push/calls.ts`. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, timeoutMs = TIMEOUT_MS): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const init: RequestInit = {
    method,
    headers: { Accept: 'application/json' },
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  };
  if (body !== undefined) {
    init.headers = { Accept: 'application/json', 'Content-Type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'network', t(timeout.aborted ? 'error.timeout' : 'error.network'));
  }
  if (response.status === 204) return undefined as T;
  const document: unknown = await response.json().catch(() => null);
  if (response.ok) {
    if (document !== null) return document as T;
    throw new ApiError(response.status, 'unreadable', t('error.unreadable'));
  }
  const error = problem(response, document);
  if (error.status === 401 && !(path.startsWith('session') && method !== 'DELETE')) whenSignedOut();
  throw error;
}

/** Reads a problem document (RFC 9457); a proxy's error page becomes its status. */
function problem(response: Response, document: unknown): ApiError {
  const part = (document ?? {}) as { code?: unknown; detail?: unknown; title?: unknown; errors?: unknown };
  const errors = Array.isArray(part.errors) ? part.errors.filter((one) => typeof one?.field === 'string') : [];
  const code = typeof part.code === 'string' ? part.code : 'http';
  const detail = [part.detail, part.title].find((text): text is string => typeof text === 'string' && text !== '');
  return new ApiError(response.status, code, detail ?? t('error.status', { status: response.status }), errors.map(fieldProblem));
}

function fieldProblem(entry: { field: string; detail?: unknown; at?: unknown; problem?: unknown; remedy?: unknown }): FieldProblem {
  const words = [entry.detail ?? entry.problem ?? '', entry.remedy ?? ''].filter((text) => typeof text === 'string' && text !== '') as string[];
  // The detail may say what to do already.
  const text = words.length === 2 && words[0]?.includes(words[1] as string) ? (words[0] as string) : words.join('; ');
  const at = Array.isArray(entry.at) && entry.at.length === 2 && entry.at.every(Number.isInteger) ? (entry.at as [number, number]) : null;
  return { field: entry.field, text, at };
}


export function query(parameters: Record<string, string | number | boolean | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}

const id = encodeURIComponent;

export interface DeviceFilter {
  q?: string;
  group?: string;
  presence?: string;
  tag?: string;
  limit?: number;
  cursor?: string | null;
}

export interface HistoryQuery {
  device: string;
  metric: string;
  /** RFC 3339; inclusive. */
  from: string;
  /** RFC 3339; exclusive. */
  to: string;
  limit?: number;
  cursor?: string | null;
  /** Such as `10s`, `5m`, `1h`; needs `agg`. */
  step?: string;
  agg?: Aggregate;
}

/** Many series at once; lists separated by commas. */
export interface SeriesQuery {
  device?: string;
  group?: string;
  tag?: string;
  metric?: string;
  from: string;
  to: string;
  step?: string;
  agg?: string;
  limit?: number;
}

export interface AlertFilter {
  state?: string;
  severity?: string;
  device?: string;
  rule?: string;
  group?: string;
  silenced?: string | boolean;
  acknowledged?: string | boolean;
  from?: string;
  to?: string;
  limit?: number;
  cursor?: string | null;
}

export type Paging = { limit?: number; cursor?: string | null };

export const api = {
  session: () => call<Session>('GET', 'session'),
  signIn: (user: string, password: string) => call<unknown>('POST', 'session', { user, password }),
  signInByLink: (code: string) => call<unknown>('POST', 'session/link', { code }),
  signOut: () => call<void>('DELETE', 'session'),
  overview: (signal?: AbortSignal) => call<Overview>('GET', 'overview', undefined, signal),
  devices: (filter: DeviceFilter = {}, signal?: AbortSignal) =>
    call<Page<Device>>('GET', `devices${query({ ...filter })}`, undefined, signal),
  device: (device: string, signal?: AbortSignal) =>
    call<Device>('GET', `devices/${id(device)}`, undefined, signal),
  /** Whatever the query says, as the address of the device list does. */
  devicePage: (search: URLSearchParams, signal?: AbortSignal) => call<DevicePage>('GET', `devices?${search}`, undefined, signal),
  /** Of all devices, or of those that a filter of the list finds. */
  facets: (signal?: AbortSignal, filter?: URLSearchParams) =>
    call<Facets>('GET', `devices/facets${filter && filter.size > 0 ? `?${filter}` : ''}`, undefined, signal),
  bulkDevices: (request: DeviceBulk, signal?: AbortSignal) => call<BulkAnswer>('POST', 'devices/bulk', request, signal, BULK_TIMEOUT_MS),
  views: (page: string, signal?: AbortSignal) => call<Page<SavedView> | SavedView[]>('GET', `views${query({ page })}`, undefined, signal),
  saveView: (page: string, name: string, view: { query: string; shared?: boolean }) =>
    call<SavedView>('PUT', `views/${id(page)}/${id(name)}`, view),
  deleteView: (page: string, name: string) => call<void>('DELETE', `views/${id(page)}/${id(name)}`),
  /** Buckets of one metric of many devices. */
  queryMany: (about: { device: string; metric: string; from: string; max_points: number; agg: Aggregate }, signal?: AbortSignal) =>
    call<SeriesPage>('GET', `query${query({ ...about })}`, undefined, signal),
  deviceToken: (device: string) => call<{ token: string }>('POST', `devices/${id(device)}/token`),
  latest: (device: string, signal?: AbortSignal) =>
    call<Page<{ metric: string; unit: string; type: MetricType; time: string; value: JsonValue }>>('GET', `devices/${id(device)}/latest`, undefined, signal),
  createDevice: (device: NewDevice) => call<{ device: Device; secret: string }>('POST', 'devices', device),
  patchDevice: (device: string, change: Partial<Pick<Device, 'name' | 'tags' | 'group' | 'profile' | 'enabled'>>) =>
    call<Device>('PATCH', `devices/${id(device)}`, change),
  deleteDevice: (device: string) => call<void>('DELETE', `devices/${id(device)}`),
  replaceSecret: (device: string, revokePrevious: boolean) =>
    call<{ secret: string; previous_valid_until: string | null }>(
      'POST',
      `devices/${id(device)}/secret`,
      revokePrevious ? { revoke_previous: true } : {},
    ),
  history: (parameters: HistoryQuery, signal?: AbortSignal) =>
    call<HistoryPage>('GET', `history${query({ ...parameters })}`, undefined, signal),
  query: (parameters: SeriesQuery, signal?: AbortSignal) =>
    call<QueryAnswer>('GET', `query${query({ ...parameters })}`, undefined, signal),
  commandSet: (device: string, signal?: AbortSignal) =>
    call<CommandSet>('GET', `devices/${id(device)}/command-set`, undefined, signal),
  sendCommand: (device: string, command: CommandRequest) =>
    call<CommandView>('POST', `devices/${id(device)}/commands`, command),
  commands: (device: string, paging: Paging = {}) =>
    call<Page<CommandView>>('GET', `devices/${id(device)}/commands${query({ state: 'all', ...paging })}`),
  command: (command: string) => call<CommandDetail>('GET', `commands/${id(command)}`),
  cancelCommand: (command: string) => call<CommandView>('POST', `commands/${id(command)}/cancel`),
  rules: (filter: Paging & { device?: string } = {}, signal?: AbortSignal) =>
    call<Page<Rule>>('GET', `rules${query({ ...filter })}`, undefined, signal),
  rule: (rule: string, signal?: AbortSignal) => call<Rule>('GET', `rules/${id(rule)}`, undefined, signal),
  createRule: (rule: RuleRequest) => call<Rule>('POST', 'rules', rule),
  checkRule: (rule: RuleRequest, signal?: AbortSignal) => call<RuleCheck>('POST', 'rules/check', rule, signal),
  versions: (rule: string, signal?: AbortSignal) =>
    call<Page<RuleVersion>>('GET', `rules/${id(rule)}/versions`, undefined, signal),
  backtest: (test: { rule: RuleRequest; from: string; to: string; compare?: boolean }, signal?: AbortSignal) =>
    call<BacktestJob>('POST', 'rules/backtest', test, signal),
  backtestJob: (job: string, signal?: AbortSignal) => call<BacktestJob>('GET', `rules/backtest/${id(job)}`, undefined, signal),
  cancelBacktest: (job: string) => call<void>('DELETE', `rules/backtest/${id(job)}`),
  patchRule: (rule: string, change: object) => call<Rule>('PATCH', `rules/${id(rule)}`, change),
  deleteRule: (rule: string) => call<void>('DELETE', `rules/${id(rule)}`),
  alerts: (filter: AlertFilter = {}, signal?: AbortSignal) =>
    call<Page<AlertView>>('GET', `alerts${query({ ...filter })}`, undefined, signal),
  alert: (alert: string) => call<AlertDetail>('GET', `alerts/${id(alert)}`),
  acknowledge: (alert: string) => call<AlertView>('POST', `alerts/${id(alert)}/acknowledge`),
  unacknowledge: (alert: string) => call<AlertView>('POST', `alerts/${id(alert)}/unacknowledge`),
  resolve: (alert: string) => call<AlertView>('POST', `alerts/${id(alert)}/resolve`),
  silence: (alert: string, forTime: string | null) => call<AlertView>('POST', `alerts/${id(alert)}/silence`, forTime === null ? {} : { for: forTime }),
  unsilence: (alert: string) => call<AlertView>('POST', `alerts/${id(alert)}/unsilence`),
  assign: (alert: string, user: string | null) => call<AlertView>('POST', `alerts/${id(alert)}/assign`, { user }),
  comment: (alert: string, text: string) => call<AlertView>('POST', `alerts/${id(alert)}/comment`, { text }),
  bulk: (request: BulkRequest) => call<{ matched: number; changed: number }>('POST', 'alerts/bulk', request),
  alertSummary: (signal?: AbortSignal) => call<AlertSummary>('GET', 'alerts/summary', undefined, signal),
  decisions: (alert: string, signal?: AbortSignal) =>
    call<Page<Decision>>('GET', `notifications${query({ alert, limit: 50 })}`, undefined, signal),
  silences: (filter: Paging & { state?: string } = {}, signal?: AbortSignal) =>
    call<Page<Silence>>('GET', `silences${query({ ...filter })}`, undefined, signal),
  addSilence: (silence: SilenceRequest) => call<Silence>('POST', 'silences', silence),
  previewSilence: (silence: SilenceRequest, signal?: AbortSignal) =>
    call<{ hides: number; alerts: AlertView[] }>('POST', 'silences/preview', silence, signal),
  patchSilence: (silence: string, change: { ends?: string; reason?: string }) =>
    call<Silence>('PATCH', `silences/${id(silence)}`, change),
  endSilence: (silence: string) => call<Silence>('DELETE', `silences/${id(silence)}`),
  users: (signal?: AbortSignal) => call<Page<User>>('GET', 'users?limit=500', undefined, signal),
  pushConfig: (signal?: AbortSignal) => call<PushConfig>('GET', 'push/config', undefined, signal),
  endpoints: (signal?: AbortSignal) => call<Page<PushEndpoint>>('GET', 'push/endpoints', undefined, signal),
  addEndpoint: (endpoint: NewEndpoint) => call<PushEndpoint>('POST', 'push/endpoints', endpoint),
  removeEndpoint: (endpoint: string) => call<void>('DELETE', `push/endpoints/${id(endpoint)}`),
  testEndpoint: (endpoint: string) => call<PushMessage>('POST', `push/endpoints/${id(endpoint)}/test`),
  messages: (filter: Paging & { alert?: string } = {}, signal?: AbortSignal) =>
    call<Page<PushMessage>>('GET', `push/messages${query({ ...filter })}`, undefined, signal),
  message: (message: string) => call<PushMessage>('GET', `push/messages/${id(message)}`),
  replayMessage: (message: string) => call<PushMessage>('POST', `push/messages/${id(message)}/replay`),
};
