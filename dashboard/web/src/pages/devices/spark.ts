/** Small pictures of the last minutes, one per row: what is drawn, without the drawing. */

import { Ring } from '../../live/ring';

/** Time that a picture shows. */
export const SPARK_MS = 900_000;
/** Of history and of what comes live alike: a picture half of means and half of single samples would look as if something happened. */
export const STEP_S = 10;
const SAMPLES_MAX = Math.ceil(SPARK_MS / 1_000 / STEP_S) + 8;
/** Series kept beyond those in sight, so that scrolling back costs nothing. */
const SERIES_MAX = 600;

/** Seconds between samples that a line still joins: some usual intervals of this series, of which one outage changes nothing. */
function joinS(ring: Ring): number {
  const intervals: number[] = [];
  for (let index = Math.max(1, ring.length - 32); index < ring.length; index += 1) intervals.push(ring.time(index) - ring.time(index - 1));
  intervals.sort((a, b) => a - b);
  return Math.max(3 * STEP_S, 3 * (intervals[intervals.length >> 1] ?? 0));
}

/** Strokes in pixels: x and y in turns; a new stroke after every gap. A single sample is a stroke of one point. */
export function strokes(ring: Ring, from: number, to: number, width: number, height: number): number[][] {
  const first = ring.lowerBound(from);
  const end = ring.lowerBound(to);
  let [low, high] = [Infinity, -Infinity];
  for (let index = first; index < end; index += 1) {
    const value = ring.value(index);
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [];
  const limit = joinS(ring);
  const all: number[][] = [];
  let stroke: number[] = [];
  let before = NaN;
  // A picture of a value that rests is a line in the middle.
  const scale = high === low ? 0 : (height - 2) / (high - low);
  for (let index = first; index < end; index += 1) {
    const [time, value] = [ring.time(index), ring.value(index)];
    if (!Number.isFinite(value)) {
      before = NaN;
      continue;
    }
    if (!(time - before <= limit)) {
      stroke = [];
      all.push(stroke);
    }
    before = time;
    stroke.push(((time - from) / (to - from)) * width, scale === 0 ? height / 2 : height - 1 - (value - low) * scale);
  }
  return all;
}

interface Entry {
  ring: Ring;
  known: boolean;
  version: number;
  /** Time of the newest sample, and the mean of its step. */
  newest: number;
  step: number;
  sum: number;
  count: number;
}

/** Samples for the pictures: history once, then what comes live. */
export class SparkStore {
  readonly #rings = new Map<string, Entry>();

  /** Series of which the history was not asked for yet. */
  unknown(devices: readonly string[], metric: string): string[] {
    return devices.filter((device) => !this.#entry(device, metric).known);
  }

  /** Their history is being asked for. */
  asked(devices: readonly string[], metric: string): void {
    for (const device of devices) this.#entry(device, metric).known = true;
  }

  /** It was not answered. */
  forget(devices: readonly string[], metric: string): void {
    for (const device of devices) this.#entry(device, metric).known = false;
  }

  /** One step of the history; seconds since the Unix epoch. */
  history(device: string, metric: string, time: number, value: number): void {
    const entry = this.#entry(device, metric);
    // What came live is newer.
    if (time >= entry.step) return;
    entry.ring.push(time, value);
    entry.version += 1;
  }

  /** A live sample; the mean of each step is drawn, of a switch its last state. */
  live(device: string, metric: string, time: number, value: number, last: boolean): void {
    const entry = this.#entry(device, metric);
    if (!(time > entry.newest) || !Number.isFinite(value)) return;
    entry.newest = time;
    const step = Math.floor(time / STEP_S) * STEP_S;
    if (step !== entry.step) [entry.step, entry.sum, entry.count] = [step, 0, 0];
    entry.sum += value;
    entry.count += 1;
    entry.ring.push(step, last ? value : entry.sum / entry.count);
    entry.version += 1;
  }

  /** Samples are missing: the connection was gone. All are asked for anew. */
  reset(): void {
    this.#rings.clear();
  }

  version(device: string, metric: string): number {
    return this.#rings.get(`${metric}\u0000${device}`)?.version ?? -1;
  }

  strokes(device: string, metric: string, to: number, width: number, height: number): number[][] {
    const from = to - SPARK_MS / 1_000;
    return strokes(this.#entry(device, metric).ring, from, to, width, height);
  }

  #entry(device: string, metric: string): Entry {
    const key = `${metric}\u0000${device}`;
    const known = this.#rings.get(key);
    // The one used longest ago is the first.
    if (known !== undefined) this.#rings.delete(key);
    const entry = known ?? { ring: new Ring(SAMPLES_MAX), known: false, version: 0, newest: -Infinity, step: Infinity, sum: 0, count: 0 };
    this.#rings.set(key, entry);
    if (this.#rings.size > SERIES_MAX) {
      const oldest = this.#rings.keys().next();
      if (!oldest.done) this.#rings.delete(oldest.value);
    }
    return entry;
  }
}
