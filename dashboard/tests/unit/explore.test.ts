import { describe, expect, it } from 'vitest';
import { fold, foldOver } from '../../web/src/pages/explore/fold';
import { chartsOf, LINES_MAX, type Member } from '../../web/src/pages/explore/split';
import { DEVICES_MAX, filterQuery, readWanted, wantedQuery } from '../../web/src/pages/explore/wanted';

const read = (query: string) => readWanted(new URLSearchParams(query));

describe('the address', () => {
  it('says everything, and is read as it was written', () => {
    const query =
      'device=a&device=b%3Ac&group=pumps&profile=p&tag=site%3AA&tag=kind%3A&metric=temperature&metric=in%2Cout+%3C%3E&split=metric&across=p95&by=tag%3Asite&compare=7d&range=1h';
    const wanted = read(query);
    expect(wanted).toEqual({
      devices: ['a', 'b:c'],
      group: 'pumps',
      profile: 'p',
      tags: [['site', 'A'], ['kind', '']],
      metrics: ['temperature', 'in,out <>'],
      split: 'metric',
      across: { fold: 'p95', by: 'tag:site' },
      compare: '7d',
    });
    expect(wantedQuery(wanted, new URLSearchParams('range=1h&other=5'))).toBe(query);
    expect(filterQuery(wanted).toString()).toBe('group=pumps&profile=p&tag=site%3AA&tag=kind%3A');
  });

  it('leaves out what makes no sense, and what is too much', () => {
    const wanted = read('device=&device=a&device=a&tag=noColon&tag=:v&split=hours&across=median&by=x&compare=9d');
    expect(wanted).toEqual({ devices: ['a'], group: null, profile: null, tags: [], metrics: [], split: 'unit', across: null, compare: null });
    expect(read('across=avg&by=mood').across).toEqual({ fold: 'avg', by: '' });
    expect(read(Array.from({ length: 500 }, (_, index) => `device=d${index}`).join('&')).devices).toHaveLength(DEVICES_MAX);
    expect(wantedQuery(wanted, new URLSearchParams())).toBe('device=a');
  });
});

describe('the charts', () => {
  const member = (device: string, metric: string, unit: string, type: Member['type'] = 'f64'): Member => ({ device, who: device.toUpperCase(), metric, unit, type });
  const words = { many: (heading: string, number: number, of: number) => `${heading} ${number}/${of}`, unitless: 'no unit' };
  const all = [member('a', 't', '°C'), member('a', 'h', '%'), member('b', 't', '°C'), member('b', 'p', '%'), member('b', 'door', '', 'bool'), member('b', 'mode', '', 'text')];
  const names = (split: 'unit' | 'device' | 'metric') => chartsOf(all, split, null, words).map((chart) => [chart.heading, chart.unit, chart.kind, chart.lines.map((line) => line.name)]);

  it('are one per unit, and never mix numbers with switches or texts', () => {
    expect(names('unit')).toEqual([
      ['t', '°C', 'number', ['A', 'B']],
      ['%', '%', 'number', ['A · h', 'B · p']],
      ['door', '', 'bool', ['B']],
      ['mode', '', 'text', ['B']],
    ]);
  });

  it('are one per device or metric and unit', () => {
    expect(names('device').map(([heading, unit]) => [heading, unit])).toEqual([['A', '°C'], ['A', '%'], ['B', '°C'], ['B', '%'], ['B', ''], ['B', '']]);
    expect(names('metric').map(([heading, , , lines]) => [heading, lines])).toEqual([['t', ['A', 'B']], ['h', ['A']], ['p', ['B']], ['door', ['B']], ['mode', ['B']]]);
  });

  it('have at most 16 lines; more go to a further one', () => {
    const many = Array.from({ length: 40 }, (_, index) => member(`d${index}`, 't', '°C'));
    const charts = chartsOf(many, 'unit', null, words);
    expect(charts.map((chart) => [chart.heading, chart.lines.length])).toEqual([['t 1/3', LINES_MAX], ['t 2/3', LINES_MAX], ['t 3/3', 8]]);
    expect(new Set(charts.map((chart) => chart.key)).size).toBe(3);
  });

  it('compare each line with what it was, in its colour, texts excepted', () => {
    const compared = { shiftMs: 86_400_000, words: 'a day before', origin: null };
    const charts = chartsOf([member('a', 't', '°C'), member('b', 't', '°C'), member('b', 'mode', '', 'text')], 'unit', compared, words);
    expect(charts[0]?.lines.map((line) => [line.name, line.color, line.shiftMs])).toEqual([
      ['A', 0, undefined],
      ['B', 1, undefined],
      ['A (a day before)', 0, 86_400_000],
      ['B (a day before)', 1, 86_400_000],
    ]);
    expect(charts[1]?.lines).toHaveLength(1);
  });
});

describe('many devices as one line', () => {
  it('folds', () => {
    expect(fold('avg', [1, 2, 6])).toBe(3);
    expect([fold('min', [4, 2, 6]), fold('max', [4, 2, 6])]).toEqual([2, 6]);
    expect(fold('p95', Array.from({ length: 100 }, (_, index) => 100 - index))).toBe(95);
    expect(fold('p95', [7])).toBe(7);
    expect(fold('avg', [])).toBeNaN();
  });

  it('takes what each device said last, for as long as it counts', () => {
    const a = { times: [0, 10], values: [10, 20] };
    const b = { times: [5], values: [30] };
    expect(foldOver('avg', [a, b], 0, 20, 5)).toEqual({ times: [0, 5, 10, 15], values: [10, 20, 25, 25] });
    // After five minutes what was said counts no more: there is a gap, and no line of old values.
    const folded = foldOver('avg', [a], 0, 1_000, 10);
    expect(folded.times.at(-1)).toBe(310);
  });

  it('begins with what was said before the range, and leaves out what is no number', () => {
    expect(foldOver('max', [{ times: [-20, 10], values: [5, NaN] }], 0, 20, 10)).toEqual({ times: [0], values: [5] });
    expect(foldOver('avg', [], 0, 100, 10)).toEqual({ times: [], values: [] });
  });
});
