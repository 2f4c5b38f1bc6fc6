/** Which devices are listed and in which order, as the address says it and as the API takes it. */

import { PRESENCES, SEVERITIES } from '../../live/frame';

export interface DeviceQuery {
  q: string;
  presence: string;
  /** `any`: has an open alert. */
  severity: string;
  group: string;
  profile: string;
  /** `key:value`, or `key:` for any value; a device must have one of the values named for each key. */
  tags: readonly string[];
  /** A name of SORTS, or `metric:NAME`. */
  sort: string;
  descending: boolean;
}

export const SORTS = ['id', 'name', 'group', 'profile', 'presence', 'last_seen', 'alerts'] as const;
/** Of one question. */
export const TAGS_MAX = 8;

export function readQuery(search: URLSearchParams): DeviceQuery {
  const one = (name: string, allowed: readonly string[]) => allowed.find((value) => value === search.get(name)) ?? '';
  const sort = search.get('sort') ?? '';
  return {
    q: search.get('q') ?? '',
    presence: one('presence', PRESENCES),
    severity: one('severity', ['any', ...SEVERITIES]),
    group: search.get('group') ?? '',
    profile: search.get('profile') ?? '',
    tags: [...new Set(search.getAll('tag').filter((tag) => tag.indexOf(':') > 0))].slice(0, TAGS_MAX),
    sort: (SORTS as readonly string[]).includes(sort) || /^metric:./.test(sort) ? sort : 'id',
    descending: search.get('order') === 'desc',
  };
}

/** What chooses, without the order; empty when all devices are listed. */
export function filterOf({ q, presence, severity, group, profile, tags }: DeviceQuery): Record<string, string | readonly string[]> {
  const filter: Record<string, string | readonly string[]> = {};
  for (const [name, value] of Object.entries({ q, presence, severity, group, profile })) if (value !== '') filter[name] = value;
  if (tags.length > 0) filter.tag = tags;
  return filter;
}

export function isFiltered(query: DeviceQuery): boolean {
  return Object.keys(filterOf(query)).length > 0;
}

/** The API's query for rows from `offset` on. */
export function apiQuery(query: DeviceQuery, offset: number, limit: number, metrics: readonly string[]): URLSearchParams {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(filterOf(query))) {
    for (const part of typeof value === 'string' ? [value] : value) search.append(name, part);
  }
  if (query.sort !== 'id') search.set('sort', query.sort);
  if (query.descending) search.set('order', 'desc');
  if (metrics.length > 0) search.set('metrics', metrics.join(','));
  search.set('offset', String(offset));
  search.set('limit', String(limit));
  return search;
}

/** What is most wanted first begins with the highest. */
const HIGHEST_FIRST = /^(last_seen|alerts|metric:)/;

/** Changes of the address after a click on a column's head: its order, the other way round, and none. */
export function sortedBy(query: DeviceQuery, sort: string): { sort: string | null; order: string | null } {
  const first = HIGHEST_FIRST.test(sort);
  if (query.sort !== sort) return { sort: sort === 'id' ? null : sort, order: first ? 'desc' : null };
  if (query.descending === first) return { sort: sort === 'id' ? null : sort, order: first ? null : 'desc' };
  return { sort: null, order: null };
}
