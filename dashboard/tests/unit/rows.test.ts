import { describe, expect, it } from 'vitest';
import type { Shown } from '../../web/src/charts/handle';
import { exploreHref, exportHref } from '../../web/src/charts/hrefs';
import { Line } from '../../web/src/charts/line';
import type { Stroke } from '../../web/src/charts/paint';
import { pinsQuery, PINS_MAX, readPins } from '../../web/src/charts/pin';
import { csvCell, csvOf, fileName, rowsOf, shortest } from '../../web/src/charts/rows';

function stroke(points: [number, number][], words: string[] = []): Stroke {
  const line = new Line();
  for (const [time, value] of points) line.push(time, value);
  return { line, color: 0, compared: false, words, name: '' };
}

const shown = (name: string, type: Shown['type'] = 'f64'): Shown => ({ device: 'a', metric: name, type, name, unit: '', color: 0 });

describe('rows of a chart', () => {
  it('joins lines by time, leaves gaps empty and takes only what is in sight', () => {
    const { times, cells } = rowsOf([shown('x'), shown('y')], [stroke([[0, 9], [1, 1], [2, NaN], [3, 3]]), stroke([[1, 10], [2.5, 20], [9, 30]])], 1, 5);
    expect(times).toEqual([1, 2.5, 3]);
    expect(cells).toEqual([[1, null, 3], [10, 20, null]]);
  });

  it('tells texts by their words', () => {
    const { cells } = rowsOf([shown('door', 'text')], [stroke([[1, 0], [2, 1], [3, -1]], ['open', 'closed'])], 0, 5);
    expect(cells).toEqual([['open', 'closed', '…']]);
  });

  it('tells an f32 as it was meant', () => {
    expect(shortest(Math.fround(8.17))).toBe(8.17);
    expect(shortest(Math.fround(1 / 3))).toBe(0.33333334);
    expect(shortest(0.1)).toBe(0.1);
  });
});

describe('the file', () => {
  it('is CSV as spreadsheets read it', () => {
    const text = csvOf(['a "b"', 'c,d'], { times: [0, 1.5], cells: [[1, null], ['x\ny', -2.5]] });
    expect(text).toBe('time,"a ""b""","c,d"\r\n1970-01-01T00:00:00.000Z,1,"x\ny"\r\n1970-01-01T00:00:01.500Z,,-2.5\r\n');
  });

  it('holds no formulas: names and texts come from devices', () => {
    expect(['=1+1', '@x', '-a', '+a', 'a=b'].map(csvCell)).toEqual(["'=1+1", "'@x", "'-a", "'+a", 'a=b']);
    expect(csvCell(-5)).toBe('-5');
  });

  it('has a name that any system takes, in any script', () => {
    expect(fileName('Kühlraum 1 / °C: <b>', 'csv')).toBe('Kühlraum-1-C-b.csv');
    expect(fileName('温度', 'png')).toBe('温度.png');
    expect(fileName('../../', 'png')).toBe('chart.png');
  });
});

describe('pins', () => {
  it('are read as they were written, whatever is in the names', () => {
    const pins = [{ device: 'a', metric: 'x' }, { device: 'a:b', metric: 'in:%3A&out=5%' }, { device: 'c', metric: 'Größe 温' }];
    expect(readPins(pinsQuery(pins))).toEqual(pins);
    expect(pinsQuery([{ device: 'a', metric: 'x' }])).toBe('chart=a%3Ax');
  });

  it('leave out what cannot be read, what is there twice, and what is too much', () => {
    expect(readPins('chart=a&chart=:x&chart=a:&chart=a:x&chart=a:x&q=1')).toEqual([{ device: 'a', metric: 'x' }]);
    const many = Array.from({ length: 50 }, (_, index) => ({ device: `d${index}`, metric: 'x' }));
    expect(readPins(pinsQuery(many))).toHaveLength(PINS_MAX);
  });
});

describe('links', () => {
  it('ask for all samples of what is shown', () => {
    const href = exportHref([{ device: 'a', metric: 'x y' }, { device: 'b', metric: 'x y' }], [0, 60]);
    expect(href).toBe('/api/v1/export?format=csv&device=a%2Cb&metric=x+y&from=1970-01-01T00%3A00%3A00.000Z&to=1970-01-01T00%3A01%3A00.000Z');
  });

  it('keep the time on the way to other charts', () => {
    expect(exploreHref([{ device: 'a', metric: 'x' }], new URLSearchParams('range=1h&q=5'))).toBe('/explore?device=a&metric=x&range=1h');
  });
});
