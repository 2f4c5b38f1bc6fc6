/** The demo's tour ticks off what really happened, in whatever order it is seen. */

import { describe, expect, it } from 'vitest';
import type { AlertView } from '../../web/src/live/alerts';
import type { CommandEvent } from '../../web/src/live/frame';
import { advance, FRESH, readTour } from '../../web/src/shell/tour';

const alert = (id: string, state: 'firing' | 'resolved', acknowledged = false) =>
  ({ id, device: 'cold-1', state, acknowledged: acknowledged ? { user: 'kim', time: '' } : null }) as AlertView;
const command = (state: CommandEvent['state'], device = 'cold-1') => ({ device, state }) as CommandEvent;
const nothing = { samples: 0, alerts: [], commands: [] };

describe('tour', () => {
  it('goes through its five steps', () => {
    let tour = advance(FRESH, { ...nothing, samples: 500 });
    expect(tour.done).toEqual(['watch']);
    tour = advance(tour, { ...nothing, alerts: [alert('1', 'firing')] });
    expect(tour).toMatchObject({ done: ['watch', 'alert'], alert: '1', device: 'cold-1' });
    tour = advance(tour, { ...nothing, alerts: [alert('1', 'firing', true)] });
    tour = advance(tour, { ...nothing, alerts: [alert('1', 'firing', true)], commands: [command('in_progress'), command('succeeded', 'other')] });
    expect(tour.done).toEqual(['watch', 'alert', 'acknowledge']);
    tour = advance(tour, { ...nothing, alerts: [alert('1', 'firing', true)], commands: [command('succeeded')] });
    tour = advance(tour, { ...nothing, alerts: [alert('1', 'resolved', true)] });
    expect(tour.done).toEqual(['watch', 'alert', 'acknowledge', 'command', 'resolve']);
  });

  it('stays the same object while nothing happens', () => {
    const tour = advance(FRESH, { ...nothing, alerts: [alert('1', 'firing')] });
    expect(advance(tour, { ...nothing, alerts: [alert('1', 'firing')] })).toBe(tour);
    expect(advance(tour, nothing)).toBe(tour);
  });

  it('takes a later alert when the first one ended before anyone took note of it', () => {
    const tour = advance(FRESH, { ...nothing, alerts: [alert('1', 'firing')] });
    expect(advance(tour, { ...nothing, alerts: [alert('1', 'resolved'), alert('2', 'firing')] }).alert).toBe('2');
  });

  it('survives a reload, and storage that holds something else', () => {
    const tour = advance(FRESH, { ...nothing, samples: 500, alerts: [alert('1', 'firing')] });
    expect(readTour(JSON.stringify(tour))).toEqual(tour);
    for (const text of [null, '', '{', '7', '{"done": 3}', '{"done": ["x"], "alert": 5}']) expect(readTour(text)).toEqual(FRESH);
  });
});
