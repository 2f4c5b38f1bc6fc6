/** Which devices are on the map: as the device list has it, and in the address. */

export const FILTERS = ['q', 'presence', 'severity', 'group', 'profile', 'tag'] as const;
export type MapFilter = Record<(typeof FILTERS)[number], string>;

export function readFilter(query: URLSearchParams): MapFilter {
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ''])) as MapFilter;
}
