/** The demo's round: what has been done of it, judged by what really happened. */

import type { AlertView } from '../live/alerts';
import type { CommandEvent } from '../live/frame';

export const STEPS = ['watch', 'alert', 'acknowledge', 'command', 'resolve'] as const;
export type Step = (typeof STEPS)[number];

export interface Tour {
  done: Step[];
  /** The alert that it is about, and its device. */
  alert: string | null;
  device: string | null;
}

export const FRESH: Tour = { done: [], alert: null, device: null };

/** Samples after which values surely moved before someone's eyes. */
const SAMPLES = 200;

export interface Seen {
  samples: number;
  alerts: readonly AlertView[];
  commands: readonly CommandEvent[];
}

/** The next state of the tour; the same object when nothing changed. */
export function advance(tour: Tour, seen: Seen): Tour {
  const done = new Set(tour.done);
  if (seen.samples >= SAMPLES) done.add('watch');
  // A later alert takes the place of one that ended before anyone took note of it.
  const own = seen.alerts.find((alert) => alert.id === tour.alert);
  const stuck = tour.alert === null || (!done.has('acknowledge') && (own === undefined || own.state === 'resolved'));
  const about = stuck ? (seen.alerts.find((alert) => alert.state === 'firing') ?? own) : own;
  if (about !== undefined) {
    done.add('alert');
    if (about.acknowledged !== null) done.add('acknowledge');
    if (about.state === 'resolved' && done.has('command')) done.add('resolve');
  }
  const device = about?.device ?? tour.device;
  if (seen.commands.some((command) => command.device === device && command.state === 'succeeded')) done.add('command');
  const next = { done: STEPS.filter((step) => done.has(step)), alert: about?.id ?? tour.alert, device };
  const same = next.done.length === tour.done.length && next.alert === tour.alert && next.device === tour.device;
  return same ? tour : next;
}

export function readTour(text: string | null): Tour {
  try {
    const read = JSON.parse(text ?? '') as Partial<Tour>;
    const known = STEPS.filter((step) => Array.isArray(read.done) && read.done.includes(step));
    const id = (value: unknown) => (typeof value === 'string' ? value : null);
    return { done: known, alert: id(read.alert), device: id(read.device) };
  } catch {
    return FRESH;
  }
}
