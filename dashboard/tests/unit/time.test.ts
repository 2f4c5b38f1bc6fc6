import { describe, expect, it } from 'vitest';
import { checkRange, localText } from '../../web/src/charts/range';
import { requestsOf } from '../../web/src/charts/source-requests';
import { panned, pausedAt, pinched, readMoment, readView, SPAN_MAX_MS, spanOf, zoomed } from '../../web/src/charts/time';

const view = (query: string) => readView(new URLSearchParams(query)).view;

describe('the time in the address', () => {
  it('is live by default and by range', () => {
    expect(view('')).toEqual({ kind: 'live', rangeMs: 300_000 });
    expect(view('range=24h')).toEqual({ kind: 'live', rangeMs: 86_400_000 });
    expect(view('range=3parsecs')).toEqual({ kind: 'live', rangeMs: 300_000 });
  });

  it('stands still at two moments, in milliseconds or in RFC 3339', () => {
    expect(view('from=1700000000000&to=1700000060000')).toEqual({ kind: 'fixed', fromMs: 1_700_000_000_000, toMs: 1_700_000_060_000 });
    expect(view('from=2026-11-20T00:00:00Z&to=2026-11-20T01:00:00Z')).toEqual({
      kind: 'fixed',
      fromMs: Date.UTC(2026, 10, 20),
      toMs: Date.UTC(2026, 10, 20, 1),
    });
  });

  it('ignores what makes no sense', () => {
    for (const query of ['from=5', 'from=9&to=5', 'from=a&to=b', 'from=-5&to=9000', `from=1&to=${SPAN_MAX_MS + 2}`, 'from=1e9&to=2e9', 'from=&to=']) {
      expect(view(query).kind, query).toBe('live');
    }
    expect(readMoment('0x10')).toBeNaN();
  });

  it('keeps the range for the way back to live', () => {
    const query = new URLSearchParams('range=1h&from=1700000000000&to=1700000060000');
    expect(readView(query).range).toBe('1h');
  });

  it('pauses at no less than a second', () => {
    expect(pausedAt(1_000.4, 1_000.6)).toEqual({ from: '1000', to: '2000' });
  });
});

describe('pan and zoom', () => {
  it('pans by a part, and not beyond the end', () => {
    expect(panned([100, 200], -0.25)).toEqual([75, 175]);
    expect(panned([100, 200], 0.5, 220)).toEqual([120, 220]);
    expect(panned([100, 200], 0.5, 150)).toEqual([100, 200]);
  });

  it('zooms and keeps what is below the pointer', () => {
    expect(zoomed([100_000, 200_000], 0.5, 0.5)).toEqual([125_000, 175_000]);
    expect(zoomed([100_000, 200_000], 2, 0)).toEqual([100_000, 300_000]);
    const [from, to] = zoomed([100_000, 200_000], 0.3, 0.8);
    expect(from + (to - from) * 0.8).toBeCloseTo(180_000);
  });

  it('has a shortest and a longest span, in whatever unit', () => {
    expect(zoomed([0, 2_000], 0.0001)).toEqual([500, 1_500]);
    expect(zoomed([0, 2], 0.0001, 0.5, 1_000)).toEqual([0.5, 1.5]);
    const [from, to] = zoomed([0, SPAN_MAX_MS], 5);
    expect(to - from).toBe(SPAN_MAX_MS);
  });

  it('keeps the times below two fingers where the fingers are', () => {
    // Fingers at a quarter and at three quarters go to the edges: half as long.
    expect(pinched([125, 175], [0, 1], 1_000)).toEqual([125, 175]);
    // Both go to the right by a tenth of the width: earlier times come in.
    const [from, to] = pinched([125, 175], [0.35, 0.85], 1_000);
    expect(from).toBeCloseTo(90);
    expect(to).toBeCloseTo(190);
  });

  it('survives fingers that meet or cross', () => {
    for (const parts of [[0.5, 0.5], [0.6, 0.4]] as const) {
      const [from, to] = pinched([125, 175], parts, 1_000);
      expect(Number.isFinite(from) && to > from, String(parts)).toBe(true);
    }
  });

  it('tells what a view shows', () => {
    expect(spanOf({ kind: 'live', rangeMs: 60_000 }, 100_000)).toEqual([40, 100]);
    expect(spanOf({ kind: 'fixed', fromMs: 5_000, toMs: 9_000 }, 100_000)).toEqual([5, 9]);
  });
});

describe('a time of one’s own', () => {
  const nowMs = Date.parse('2026-11-21T12:00:00');

  it('is read as local time, and written as it is read', () => {
    expect(localText(nowMs)).toBe('2026-11-21T12:00:00');
    expect(checkRange('2026-11-21T10:00:00', '2026-11-21T11:00', nowMs)).toEqual({ span: [nowMs - 7_200_000, nowMs - 3_600_000], wrong: {} });
  });

  it('says what is wrong with which end', () => {
    const wrong = (from: string, to: string) => checkRange(from, to, nowMs).wrong;
    expect(wrong('', '2026-11-21T11:00')).toEqual({ from: 'missing' });
    expect(wrong('2026-11-21T11:00', '2026-11-21T10:00')).toEqual({ to: 'order' });
    expect(wrong('2020-11-21T11:00', '2026-11-21T10:00')).toEqual({ to: 'long' });
    expect(wrong('2026-12-01T00:00', '2026-12-02T00:00')).toEqual({ from: 'future' });
    expect(checkRange('', '', nowMs).span).toBeNull();
  });
});

describe('requestsOf', () => {
  it('asks for metrics of the same devices together, and never for more than was wanted', () => {
    const pair = (device: string, metric: string) => ({ device, metric });
    expect(requestsOf([pair('a', 'x'), pair('b', 'x'), pair('a', 'y'), pair('b', 'y'), pair('a', 'z')])).toEqual([
      { devices: ['a', 'b'], metrics: ['x', 'y'] },
      { devices: ['a'], metrics: ['z'] },
    ]);
  });

  it('asks alone for a name that a list cannot hold', () => {
    const requests = requestsOf([{ device: 'a', metric: 'x' }, { device: 'a', metric: 'in,out' }]);
    expect(requests).toEqual([{ devices: ['a'], metrics: ['x'] }, { devices: ['a'], metrics: ['in,out'] }]);
  });
});
