/** What a silence hides, as it is typed; and which alerts a list shows. */

import { describe, expect, it } from 'vitest';
import type { AlertView } from '../../web/src/live/alerts';
import { asMatch, asQuery, fits, fromQuery as filterOf, isFiltered } from '../../web/src/pages/alerts/filter';
import { fromQuery, localTime, parse, read, readWindow, silenceHref, write } from '../../web/src/pages/silences/matchers';

describe('matchers', () => {
  it.each(['rule=cold', 'group!=cellar', 'device=cold-*', 'tag.site!=n*', 'rule==x', 'team=a=b', 'group=', 'name=a\\*b', 'path=c:\\\\x', 'name=a\\**', 'name= ~x'])('%s is read and written', (text) => {
    const matcher = parse(text);
    expect(matcher).not.toBeNull();
    if (matcher !== null) expect(write(matcher)).toBe(text);
  });

  it('a star stands for anything only where that is meant', () => {
    expect(write({ label: 'name', operator: '=', value: 'a*b\\' })).toBe('name=a\\*b\\\\');
    expect(write({ label: 'device', operator: '!~', value: 'cold-*' })).toBe('device!=cold-*');
    expect(parse('device!=cold-*')).toEqual({ label: 'device', operator: '!~', value: 'cold-*' });
    expect(parse('device=~cold-*')).toEqual({ label: 'device', operator: '=~', value: 'cold-*' });
    expect(parse('device!~cold')).toEqual({ label: 'device', operator: '!=', value: 'cold' });
    expect(parse('name=a\\*b')).toEqual({ label: 'name', operator: '=', value: 'a*b' });
  });

  it('what has no sign or label is none', () => {
    expect([parse('cold'), parse('=cold'), parse(''), parse('a b=c')]).toEqual([null, null, null, null]);
  });

  it('all that are wrong are named, and only whole ones are sent', () => {
    const line = (label: string, value: string) => ({ label, operator: '=' as const, value });
    expect(read([line('rule', ' cold '), line('tag.site', 'north')])).toEqual({ matchers: ['rule=cold', 'tag.site=north'] });
    expect(read([line('rule', ''), line('tag.', 'x'), line('device', 'd')])).toEqual({ wrong: [0, 1] });
    // Devices of no group are a group of their own.
    expect(read([line('group', '')])).toEqual({ matchers: ['group='] });
    expect(read([])).toEqual({ matchers: [] });
  });

  it('travel in an address', () => {
    const href = silenceHref([['rule', 'a&b'], ['device', 'cold-1'], ['group', '']]);
    const query = new URL(href, 'http://x').searchParams;
    expect(query.get('new')).toBe('1');
    expect(fromQuery(query)).toEqual([
      { label: 'rule', operator: '=', value: 'a&b' },
      { label: 'device', operator: '=', value: 'cold-1' },
    ]);
    expect(fromQuery(new URLSearchParams('m=nothing&m=rule%3Dx'))).toHaveLength(1);
  });

  it('a planned window ends after it begins, and not in the past', () => {
    const nowMs = Date.parse('2026-11-21T09:00');
    expect(readWindow('2026-11-21T10:00', '2026-11-21T12:00', nowMs)).toMatchObject({ kind: 'maintenance' });
    expect(readWindow('2026-11-21T12:00', '2026-11-21T10:00', nowMs)).toBeNull();
    expect(readWindow('2026-11-21T07:00', '2026-11-21T08:00', nowMs)).toBeNull();
    expect(readWindow('', '2026-11-21T08:00', nowMs)).toBeNull();
    expect(Date.parse(localTime(nowMs))).toBe(nowMs);
  });
});

describe('the filter of alerts', () => {
  const alert = (change: Partial<AlertView> = {}) =>
    ({ state: 'firing', severity: 'warning', device: 'd', rule: 'r', group: 'g', silenced: null, acknowledged: null, ...change }) as AlertView;

  it('is what stands in the address, as far as it means something', () => {
    const filter = filterOf(new URLSearchParams('state=open&severity=critical&silenced=false&acknowledged=maybe&rule=r'));
    expect(filter).toMatchObject({ tab: 'open', severity: 'critical', silenced: 'false', acknowledged: '', rule: 'r' });
    expect(isFiltered(filter)).toBe(true);
    expect(isFiltered(filterOf(new URLSearchParams('state=all&severity=loud&silenced=true')))).toBe(false);
    expect(asQuery(filter)).toMatchObject({ state: 'open', severity: 'critical', silenced: 'false', rule: 'r' });
    expect(asMatch(filter)).toEqual({ severity: 'critical', silenced: false, rule: 'r' });
  });

  it('decides for one alert as the server does for many', () => {
    const of = (query: string) => filterOf(new URLSearchParams(query));
    expect(fits(alert(), of(''))).toBe(true);
    expect(fits(alert({ state: 'resolved' }), of(''))).toBe(false);
    expect(fits(alert({ state: 'resolved' }), of('state=all'))).toBe(true);
    expect(fits(alert(), of('silenced=true'))).toBe(false);
    const silenced = { until: null, by: '', reason: '', silence: null };
    expect(fits(alert({ silenced }), of('silenced=true&group=g&rule=r&device=d'))).toBe(true);
    expect(fits(alert({ group: null }), of('group=g'))).toBe(false);
    expect(fits(alert({ acknowledged: { user: 'kim', time: '' } }), of('acknowledged=false'))).toBe(false);
  });
});
