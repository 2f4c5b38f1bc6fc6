import { describe, expect, it } from 'vitest';
import { crossings, observe, observeMinutes, readMinutes, suggest } from '../../web/src/pages/start/suggest';
import { after, idOf, isDeviceId, isLoopback, placeHref, readPlace, STEPS } from '../../web/src/pages/start/steps';

const place = (query: string) => readPlace(new URLSearchParams(query));

describe('steps', () => {
  it('are read from the address, and what makes no sense leads to the first', () => {
    expect(place('')).toEqual({ step: 'name', device: null });
    expect(place('device=pump-7')).toEqual({ step: 'connect', device: 'pump-7' });
    expect(place('device=pump-7&step=rule')).toEqual({ step: 'rule', device: 'pump-7' });
    expect(place('step=rule')).toEqual({ step: 'name', device: null });
    expect(place('device=no%20id&step=rule')).toEqual({ step: 'name', device: null });
    expect(place('device=pump-7&step=nonsense').step).toBe('connect');
  });

  it('lead to each other until the last', () => {
    for (const step of STEPS) {
      const href = placeHref(step, 'a:b');
      if (step !== 'name') expect(place(href.split('?')[1] as string)).toEqual({ step, device: 'a:b' });
    }
    expect(after('push')).toBe('done');
    expect(after('done')).toBe('done');
  });

  it('make an id of a name, which the server takes', () => {
    expect(idOf('Pump 7, north')).toBe('pump-7-north');
    expect(idOf('  Kühlraum #3 ')).toBe('kuhlraum-3');
    expect(idOf('ポンプ')).toBe('');
    for (const name of ['Pump 7', 'a'.repeat(200), '<b>x</b>']) expect(isDeviceId(idOf(name))).toBe(true);
    expect(isDeviceId('a b')).toBe(false);
    expect(isDeviceId('')).toBe(false);
  });
});

describe('addresses', () => {
  it('know which addresses are of this machine alone', () => {
    for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', '::1']) expect(isLoopback(host), host).toBe(true);
    for (const host of ['192.168.1.4', 'server', 'localhost.example.com']) expect(isLoopback(host), host).toBe(false);
  });
});

describe('suggestion', () => {
  const of = (metric: string, unit: string, ...values: number[]) => {
    const seen = observe(values);
    if (seen === null) throw new Error('no values');
    return suggest(metric, unit, seen);
  };

  it('is a round threshold just outside of what was seen', () => {
    expect(of('load', '', 0.4, 1.2)).toEqual({ comparison: '>', threshold: 1.6 });
    expect(of('temperature', '°C', 20.1, 22.3)).toEqual({ comparison: '>', threshold: 25 });
    expect(of('temperature', '°C', -18.4, -17.2).threshold).toBeGreaterThan(-17.2);
  });

  it('never would have fired on what was seen', () => {
    let seed = 7;
    const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 2_000; round += 1) {
      const scale = 10 ** Math.floor(random() * 12 - 5);
      const offset = (random() - 0.5) * scale * 10;
      const values = Array.from({ length: 1 + Math.floor(random() * 20) }, () => offset + random() * scale);
      const metric = random() < 0.5 ? 'battery' : 'temperature';
      const found = of(metric, random() < 0.3 ? '%' : 'x', ...values);
      expect(Number.isFinite(found.threshold)).toBe(true);
      expect(crossings(values, found), `${metric} ${values} ${JSON.stringify(found)}`).toBe(0);
    }
  });

  it('looks below for what runs low, and stays positive there', () => {
    expect(of('battery', '%', 70, 72)).toEqual({ comparison: '<', threshold: 62 });
    const { comparison, threshold } = of('fuel_level', 'l', 0.9, 3);
    expect(comparison).toBe('<');
    expect(threshold).toBeGreaterThan(0);
  });

  it('keeps percent within a hundred, and knows flat lines and zeros', () => {
    expect(of('disk_used', '%', 60, 89).threshold).toBe(95);
    expect(of('cpu', '%', 20, 99).threshold).toBeLessThanOrEqual(100);
    expect(of('constant', '', 5, 5).threshold).toBeGreaterThan(5);
    expect(of('zero', '', 0, 0).threshold).toBeGreaterThan(0);
    expect(observe([Number.NaN, Number.POSITIVE_INFINITY])).toBeNull();
  });

  it('judges an hour by its minutes: their extremes, and all that came in them', () => {
    const minutes = readMinutes({ min: [1, null, 3], max: [2, null, 9], count: [600, 0, 600] });
    expect(minutes).toHaveLength(2);
    expect(observeMinutes(minutes)).toEqual({ count: 1_200, min: 1, max: 9 });
    expect(observeMinutes(readMinutes({}))).toBeNull();
  });
});
