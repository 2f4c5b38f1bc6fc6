/** Which alerts the list shows: what stands in the address, as the API takes it, and whether one alert fits. */

import type { AlertFilter } from '../../api/client';
import type { AlertMatch } from '../../api/types';
import type { AlertView } from '../../live/alerts';
import { SEVERITIES, type Severity } from '../../live/frame';

export const TABS = ['open', 'resolved', 'all'] as const;
export type Tab = (typeof TABS)[number];
/** Empty: either. */
export type Either = '' | 'true' | 'false';

export interface Filter {
  tab: Tab;
  severity: string;
  device: string;
  rule: string;
  group: string;
  silenced: Either;
  acknowledged: Either;
}

/** Everything that chooses beside the tab. */
export const CHOOSING = ['severity', 'device', 'rule', 'group', 'silenced', 'acknowledged'] as const;

const either = (text: string | null): Either => (text === 'true' || text === 'false' ? text : '');

export function fromQuery(query: URLSearchParams): Filter {
  const tab = TABS.find((one) => one === query.get('state')) ?? 'open';
  return {
    tab,
    severity: SEVERITIES.find((one) => one === query.get('severity')) ?? '',
    device: query.get('device') ?? '',
    rule: query.get('rule') ?? '',
    group: query.get('group') ?? '',
    // Only what is open can be silenced.
    silenced: tab === 'open' ? either(query.get('silenced')) : '',
    acknowledged: either(query.get('acknowledged')),
  };
}

export function isFiltered(filter: Filter): boolean {
  return CHOOSING.some((name) => filter[name] !== '');
}

export function asQuery({ tab, ...choosing }: Filter): AlertFilter {
  return { state: tab, ...choosing };
}

/** For what is done to all that match. */
export function asMatch(filter: Filter): AlertMatch {
  const match: AlertMatch = {};
  if (filter.severity !== '') match.severity = filter.severity as Severity;
  if (filter.device !== '') match.device = filter.device;
  if (filter.rule !== '') match.rule = filter.rule;
  if (filter.group !== '') match.group = filter.group;
  if (filter.silenced !== '') match.silenced = filter.silenced === 'true';
  if (filter.acknowledged !== '') match.acknowledged = filter.acknowledged === 'true';
  return match;
}

/** Whether an alert is one of them. Frames leave out groups: what only they told of fits none until the API was asked. */
export function fits(alert: AlertView, filter: Filter): boolean {
  return (
    (filter.tab === 'all' || alert.state === (filter.tab === 'open' ? 'firing' : 'resolved')) &&
    (filter.severity === '' || alert.severity === filter.severity) &&
    (filter.device === '' || alert.device === filter.device) &&
    (filter.rule === '' || alert.rule === filter.rule) &&
    (filter.group === '' || alert.group === filter.group) &&
    (filter.silenced === '' || (alert.silenced != null) === (filter.silenced === 'true')) &&
    (filter.acknowledged === '' || (alert.acknowledged !== null) === (filter.acknowledged === 'true'))
  );
}
