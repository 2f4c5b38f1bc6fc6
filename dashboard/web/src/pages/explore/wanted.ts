/** What Explore shows, as the address says it. */

export const FOLDS = ['avg', 'min', 'max', 'p95'] as const;
export type FoldKind = (typeof FOLDS)[number];
export const SPLITS = ['unit', 'device', 'metric'] as const;
export type Split = (typeof SPLITS)[number];
export const COMPARES = { '1d': 86_400_000, '7d': 604_800_000 } as const;
export type Compare = keyof typeof COMPARES;

export interface Wanted {
  /** By id. They come beside those that the filter finds. */
  devices: string[];
  group: string | null;
  profile: string | null;
  /** Key and value; an empty value is any. */
  tags: [string, string][];
  metrics: string[];
  split: Split;
  /** One line for many devices: what is told of them, and per what (`group`, `profile`, `tag:KEY`, or empty for all together). */
  across: { fold: FoldKind; by: string } | null;
  compare: Compare | null;
}

export const DEVICES_MAX = 64;
export const METRICS_MAX = 20;
export const TAGS_MAX = 16;

/** What makes no sense is left out. */
export function readWanted(query: URLSearchParams): Wanted {
  const list = (name: string, most: number) => [...new Set(query.getAll(name).filter((one) => one !== ''))].slice(0, most);
  const fold = FOLDS.find((one) => one === query.get('across'));
  const by = query.get('by') ?? '';
  const compare = query.get('compare');
  return {
    devices: list('device', DEVICES_MAX),
    group: query.get('group') || null,
    profile: query.get('profile') || null,
    tags: list('tag', TAGS_MAX).flatMap((tag) => {
      const at = tag.indexOf(':');
      return at > 0 ? [[tag.slice(0, at), tag.slice(at + 1)] as [string, string]] : [];
    }),
    metrics: list('metric', METRICS_MAX),
    split: SPLITS.find((one) => one === query.get('split')) ?? 'unit',
    across: fold === undefined ? null : { fold, by: by === 'group' || by === 'profile' || /^tag:./.test(by) ? by : '' },
    compare: compare !== null && compare in COMPARES ? (compare as Compare) : null,
  };
}

/** With the time that the page shows. */
export function wantedQuery(wanted: Wanted, time: URLSearchParams): string {
  const query = new URLSearchParams();
  for (const device of wanted.devices) query.append('device', device);
  if (wanted.group !== null) query.set('group', wanted.group);
  if (wanted.profile !== null) query.set('profile', wanted.profile);
  for (const [key, value] of wanted.tags) query.append('tag', `${key}:${value}`);
  for (const metric of wanted.metrics) query.append('metric', metric);
  if (wanted.split !== 'unit') query.set('split', wanted.split);
  if (wanted.across !== null) {
    query.set('across', wanted.across.fold);
    if (wanted.across.by !== '') query.set('by', wanted.across.by);
  }
  if (wanted.compare !== null) query.set('compare', wanted.compare);
  for (const name of ['range', 'from', 'to']) {
    const value = time.get(name);
    if (value !== null) query.set(name, value);
  }
  return query.toString();
}

export function hasFilter({ group, profile, tags }: Wanted): boolean {
  return group !== null || profile !== null || tags.length > 0;
}

/** For the list of devices and its facets. Without a filter and without devices: all of them. */
export function filterQuery({ group, profile, tags }: Wanted): URLSearchParams {
  const query = new URLSearchParams();
  if (group !== null) query.set('group', group);
  if (profile !== null) query.set('profile', profile);
  for (const [key, value] of tags) query.append('tag', `${key}:${value}`);
  return query;
}
