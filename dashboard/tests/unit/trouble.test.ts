/** What the overview says of the store. */

import { describe, expect, it } from 'vitest';
import type { StoreState } from '../../web/src/api/types';
import { labelsOf } from '../../web/src/charts/paint';
import { formatBytes, formatValue, scaled } from '../../web/src/i18n';
import en from '../../web/src/i18n/en.json';
import { troublesOf } from '../../web/src/pages/overview/trouble';

const well: StoreState = {
  stopped: null,
  failing: null,
  journal_bytes: 1,
  heads_bytes: 1,
  disk_bytes: 900,
  size_bytes_max: 0,
  nearly_full: false,
  damaged: [],
};

describe('trouble of the store', () => {
  const keys = (changes: Partial<StoreState>) => troublesOf({ ...well, ...changes }).map((trouble) => trouble.key);

  it('is none while all is well', () => {
    expect(keys({})).toEqual([]);
  });

  it('comes worst first, and a stop hides what failed before it', () => {
    expect(keys({ stopped: 'a sync failed', failing: 'disk full' })).toEqual(['store.stopped']);
    expect(keys({ failing: 'disk full', damaged: ['chunk 1'], nearly_full: true, size_bytes_max: 1000 })).toEqual([
      'store.failing',
      'store.damaged',
      'store.nearly_full',
    ]);
  });

  it('has a text for each, with its reason', () => {
    const full = troublesOf({ ...well, nearly_full: true, size_bytes_max: 1000 });
    expect(full).toEqual([{ tone: 'warning', key: 'store.nearly_full', values: { percent: 90 } }]);
    for (const key of ['store.stopped', 'store.failing'] as const) expect(en[key]).toContain('{reason}');
    expect(en['store.nearly_full']).toContain('{percent}');
  });

  it('sizes have three digits and a unit', () => {
    expect(formatBytes(0)).toBe(new Intl.NumberFormat(undefined, { style: 'unit', unit: 'byte' }).format(0));
    expect(formatBytes(41_234_567)).toContain('41.2');
    expect(formatBytes(999)).toContain('999');
  });

  it('bytes of a chart get the prefix that makes them short, other units stay', () => {
    expect(scaled(61_835_100_160, 'B')).toEqual([formatValue(61.84, 4), 'GB']);
    expect(scaled(-2_500, 'B/s')).toEqual([formatValue(-2.5, 4), 'kB/s']);
    expect(scaled(0, 'B')).toEqual(['0', 'B']);
    expect(scaled(61_835, 'W')).toEqual([formatValue(61_835), 'W']);
  });

  it('labels of millions and more are short, unless they would be the same', () => {
    expect(labelsOf([0, 1e9, 2e9])).toEqual(['0', '1 G', '2 G']);
    expect(labelsOf([0, 500, 1_000])).toEqual([0, 500, 1_000].map((value) => formatValue(value)));
    expect(new Set(labelsOf([61_835_100_000, 61_835_100_010])).size).toBe(2);
    expect(labelsOf([])).toEqual([]);
  });
});
