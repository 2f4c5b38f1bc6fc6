import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Device } from '../../web/src/api/types';
import type { AlertView, CommandView } from '../../web/src/live/alerts';
import { changes, draftOf } from '../../web/src/pages/device/identity';
import { CHARTS_DEFAULT, CHARTS_MAX, chartsOf, chosenCharts } from '../../web/src/pages/device/shown';
import { timeline } from '../../web/src/pages/device/timeline';
import { fill, KITS, PROGRAMS, runCommand, simulatorCommand } from '../../web/src/pages/devices/kits';
import { packList, unpackList } from '../../web/src/pages/devices/listparam';

describe('lists in the address', () => {
  it('keep names with commas, backslashes and any script', () => {
    const names = ['a,b', 'c\\', '温度', ' spaced ', 'x'];
    expect(unpackList(packList(names), 10)).toEqual(names);
  });

  it('leave out empty names and repeats, and end at the bound', () => {
    expect(unpackList(',,a,,a,b,', 10)).toEqual(['a', 'b']);
    expect(unpackList('a,b,c', 2)).toEqual(['a', 'b']);
    expect(unpackList(null, 2)).toEqual([]);
    expect(unpackList('a\\', 2)).toEqual(['a\\']);
  });
});

describe('charts of a device', () => {
  const metrics = Array.from({ length: 500 }, (_, index) => ({ metric: `m${index}`, type: index === 3 ? ('bool' as const) : index === 4 ? ('text' as const) : ('f64' as const) }));

  it('are the first few without a choice, switches last and texts only where chosen', () => {
    expect(chartsOf(metrics, null)).toHaveLength(CHARTS_DEFAULT);
    expect(chartsOf(metrics.slice(0, 6), null)).toEqual(['m0', 'm1', 'm2', 'm5', 'm3']);
    expect(chartsOf(metrics.slice(0, 6), 'm0,m4')).toEqual(['m0', 'm4']);
  });

  it('follow the choice in the address, of which names that are gone fall out', () => {
    expect(chartsOf(metrics, 'm499,gone,m3')).toEqual(['m499', 'm3']);
    expect(chartsOf(metrics, chosenCharts(metrics, ['m7', 'm400']))).toEqual(['m7', 'm400']);
  });

  it('are none if none was chosen, and the usual ones need no address', () => {
    const none = chosenCharts(metrics, []);
    expect(none).not.toBeNull();
    expect(none).not.toBe('');
    expect(chartsOf(metrics, none)).toEqual([]);
    expect(chosenCharts(metrics, chartsOf(metrics, null))).toBeNull();
  });

  it('are bounded', () => {
    const all = metrics.map(({ metric }) => metric);
    expect(chartsOf(metrics, chosenCharts(metrics, all)).length).toBeLessThanOrEqual(CHARTS_MAX);
    expect(chartsOf(metrics, packList(all)).length).toBeLessThanOrEqual(CHARTS_MAX);
  });
});

describe('the list of events', () => {
  const alert = { id: 'a', severity: 'critical', rule_name: 'Hot', fired: '2026-11-21T10:00:00Z', acknowledged: { user: 'eve', time: '2026-11-21T10:05:00Z' }, resolved: '2026-11-21T10:10:00Z' };
  const command = { id: 'c', name: 'restart', state: 'failed', changed: '2026-11-21T10:07:00Z', code: 'busy', text: 'later' };

  it('puts alerts, commands and presence in one order, the newest first', () => {
    const events = timeline([alert as AlertView], [command as CommandView], [{ atMs: Date.parse('2026-11-21T10:06:00Z'), presence: 'offline' }], 10);
    expect(events.map((event) => (event.kind === 'alert' ? event.what : event.kind))).toEqual(['resolved', 'command', 'presence', 'acknowledged', 'fired']);
    expect(events[1]).toMatchObject({ text: 'busy: later' });
  });

  it('leaves out what has no time, and ends at the bound', () => {
    expect(timeline([{ ...alert, fired: 'never' } as AlertView], [], [], 10)).toHaveLength(2);
    expect(timeline([alert as AlertView], [command as CommandView], [], 2)).toHaveLength(2);
  });
});

describe('editing a device', () => {
  const device = { id: 'd', name: 'D', group: 'g', profile: null, tags: { site: 'north' } } as unknown as Device;

  it('sends only what differs', () => {
    const draft = draftOf(device);
    expect(changes(device, draft)).toEqual({ change: {} });
    expect(changes(device, { ...draft, name: ' E ' })).toEqual({ change: { name: 'E' } });
    expect(changes(device, { ...draft, group: ' ' })).toEqual({ change: { group: null } });
    expect(changes(device, { ...draft, tags: [...draft.tags, { key: 'floor', value: '2' }, { key: '', value: ' ' }] })).toEqual({ change: { tags: { site: 'north', floor: '2' } } });
    expect(changes(device, { ...draft, tags: [] })).toEqual({ change: { tags: {} } });
  });

  it('says which tag is wrong', () => {
    const draft = draftOf(device);
    expect(changes(device, { ...draft, tags: [{ key: 'floor', value: '' }] })).toEqual({ wrong: 'pair', part: 'floor' });
    expect(changes(device, { ...draft, tags: [...draft.tags, { key: 'site', value: 'x' }] })).toEqual({ wrong: 'twice', part: 'site' });
  });
});

describe('kits', () => {
  const place = { host: '::1', port: 7410, tls: false };
  const source = (kit: 'python' | 'c' | 'bytes') => fill(readFileSync(resolve(import.meta.dirname, `../../web/src/pages/devices/kits/${kit}.txt`), 'utf8'), 'pump:7', place);

  it('have everything filled in', () => {
    for (const kit of KITS) {
      if (kit === 'simulator') continue;
      expect(source(kit)).toContain('pump:7');
      expect(source(kit)).not.toMatch(/\{(host|port|device|tls)\}/);
      expect(runCommand(kit, 'abc')).toContain(`${PROGRAMS[kit].variable}=abc`);
    }
    expect(simulatorCommand('pump:7', 'abc', place)).toContain('--connect [::1]:7410');
  });

  it('are programs that their languages read', () => {
    expect(spawnSync('bash', ['-n'], { input: source('bytes') }).status).toBe(0);
    const python = spawnSync('python3', ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], { input: source('python') });
    if (python.error === undefined) expect(python.status, String(python.stderr)).toBe(0);
    const c = spawnSync('cc', ['-std=c99', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c', '-'], { input: source('c') });
    if (c.error === undefined) expect(c.status, String(c.stderr)).toBe(0);
  });
});
