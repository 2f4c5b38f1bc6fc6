import { describe, expect, it } from 'vitest';
import { choose, type Entry, type Kind } from '../../web/src/shell/palette/entries';
import { fuzzy, pieces } from '../../web/src/shell/palette/fuzzy';

const score = (query: string, text: string) => fuzzy(query, text)?.score ?? Number.NEGATIVE_INFINITY;

describe('fuzzy match', () => {
  it('finds letters in their order and nothing else', () => {
    expect(fuzzy('dvs', 'Devices')?.marks).toEqual([0, 2, 6]);
    expect(fuzzy('cvd', 'Devices')).toBeNull();
    expect(fuzzy('devicess', 'Devices')).toBeNull();
    expect(fuzzy('', 'anything')?.marks).toEqual([]);
  });

  it('prefers starts of words and letters beside each other', () => {
    expect(fuzzy('cr', 'Cold room 1')?.marks).toEqual([0, 5]);
    expect(fuzzy('room', 'Corridor room')?.marks).toEqual([9, 10, 11, 12]);
    expect(score('alert', 'Alerts')).toBeGreaterThan(score('alert', 'A long text, early or late'));
    expect(score('pump', 'Pump 7')).toBeGreaterThan(score('pump', 'Heat pump of the north building'));
  });

  it('takes words in any order, and letters without their accents', () => {
    expect(fuzzy('room cold', 'Cold room 1')).not.toBeNull();
    expect(fuzzy('kuhl', 'Kühlraum')?.marks).toEqual([0, 1, 2, 3]);
    expect(fuzzy('温度', 'センサー温度')).not.toBeNull();
  });

  it('stays quick with texts that match everywhere', () => {
    const begin = performance.now();
    for (let round = 0; round < 200; round += 1) fuzzy('a'.repeat(64), 'a'.repeat(5_000));
    expect(performance.now() - begin).toBeLessThan(2_000);
  });

  it('cuts a text into what matched and what did not', () => {
    expect(pieces('Devices', [0, 2, 5])).toEqual([
      { text: 'D', mark: true },
      { text: 'e', mark: false },
      { text: 'v', mark: true },
      { text: 'ic', mark: false },
      { text: 'e', mark: true },
      { text: 's', mark: false },
    ]);
  });
});

describe('results', () => {
  const entry = (kind: Kind, text: string, more: Partial<Entry> = {}): Entry => ({ id: `${kind} ${text}`, kind, text, hint: '', icon: 'info', run: () => {}, ...more });

  it('puts the kind with the best match first', () => {
    const entries = [entry('page', 'Settings'), entry('action', 'Switch between comfortable and compact'), entry('device', 'Cold room 1')];
    expect(choose('cold', entries).map((group) => group.kind)).toEqual(['device']);
    expect(choose('se', entries)[0]?.kind).toBe('page');
  });

  it('finds by what stands beside, and marks the text alone', () => {
    const [group] = choose('sim-0001', [entry('device', 'Cold room 1', { hint: 'sim-0001' })]);
    expect(group?.hits[0]?.found.marks.every((mark) => mark < 11)).toBe(true);
  });

  it('shows what there is while nothing is typed', () => {
    const many = Array.from({ length: 9 }, (_, n) => entry('alert', `Alert ${n}`));
    const groups = choose(' ', [entry('page', 'Overview'), ...many]);
    expect(groups.map((group) => [group.kind, group.hits.length])).toEqual([
      ['page', 1],
      ['alert', 3],
    ]);
  });
});
