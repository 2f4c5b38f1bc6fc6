/** What the overview says of the store. */

import { describe, expect, it } from 'vitest';
import type { StoreState } from '../../web/src/api/types';
import { formatBytes } from '../../web/src/i18n';
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
});
