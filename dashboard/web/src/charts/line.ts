/** Points of one line in typed arrays, which are used again for the next picture: ten pictures per second make no garbage. */

/** What a line may be made of: samples or buckets in time order. */
export interface Samples {
  readonly length: number;
  /** Seconds since the Unix epoch; ascending. */
  time(index: number): number;
  /** NaN is no value. For a text metric the place of its word in the words of its feed. */
  value(index: number): number;
  /** Index of the first one at or after a time; `length` if there is none. */
  lowerBound(time: number): number;
  /** Whether something may be missing between two neighbours. */
  breaksBetween(from: number, to: number): boolean;
}

export class Line {
  x = new Float64Array(256);
  /** NaN is a gap. */
  y = new Float64Array(256);
  /** Smallest and largest of a bucket; only read while `banded`. */
  low = new Float64Array(0);
  high = new Float64Array(0);
  length = 0;
  banded = false;
  /** The longest distance in seconds between two points that is no gap. */
  joinS = Number.POSITIVE_INFINITY;

  clear(banded = false): void {
    this.length = 0;
    this.banded = banded;
    if (banded && this.low.length < this.x.length) {
      this.low = new Float64Array(this.x.length);
      this.high = new Float64Array(this.x.length);
    }
  }

  push(time: number, value: number, low = value, high = value): void {
    if (this.length === this.x.length) this.#grow();
    this.x[this.length] = time;
    this.y[this.length] = value;
    if (this.banded) {
      this.low[this.length] = low;
      this.high[this.length] = high;
    }
    this.length += 1;
  }

  gap(time: number): void {
    this.push(time, NaN);
  }

  /** Index of the first point at or after a time. */
  lowerBound(time: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.x[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The point next to a time, gaps left out; -1 when there is none. */
  nearest(time: number): number {
    const after = this.lowerBound(time);
    let up = after;
    while (up < this.length && Number.isNaN(this.y[up])) up += 1;
    let down = after - 1;
    while (down >= 0 && Number.isNaN(this.y[down])) down -= 1;
    if (up >= this.length) return down;
    if (down < 0) return up;
    return time - (this.x[down] as number) < (this.x[up] as number) - time ? down : up;
  }

  /** The newest point with a value; -1 when there is none. */
  get last(): number {
    let at = this.length - 1;
    while (at >= 0 && Number.isNaN(this.y[at])) at -= 1;
    return at;
  }

  #grow(): void {
    const larger = (old: Float64Array) => {
      const grown = new Float64Array(this.x.length * 2);
      grown.set(old);
      return grown;
    };
    const { low, high } = this;
    if (this.banded) {
      this.low = larger(low);
      this.high = larger(high);
    }
    this.y = larger(this.y);
    this.x = larger(this.x);
  }
}

/** Columns that grow, for what the history answers and for text metrics. */
export class Columns implements Samples {
  x = new Float64Array(64);
  y = new Float64Array(64);
  low: Float64Array | null = null;
  high: Float64Array | null = null;
  length = 0;
  /** Seconds; given instead of being told from the samples, since the length of buckets is known. */
  joinS: number | null = null;
  #breakTimes: number[] = [];

  constructor(banded = false) {
    if (banded) {
      this.low = new Float64Array(64);
      this.high = new Float64Array(64);
    }
  }

  time(index: number): number {
    return index >= 0 && index < this.length ? (this.x[index] as number) : NaN;
  }

  value(index: number): number {
    return index >= 0 && index < this.length ? (this.y[index] as number) : NaN;
  }

  lowerBound(time: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.x[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  breaksBetween(from: number, to: number): boolean {
    return this.#breakTimes.some((at) => at >= from && at < to);
  }

  /** Something may be missing after the newest one. */
  markBreak(): void {
    if (this.length === 0) return;
    const at = this.x[this.length - 1] as number;
    if (this.#breakTimes.at(-1) !== at) this.#breakTimes.push(at);
    if (this.#breakTimes.length > 64) this.#breakTimes.shift();
  }

  /** What was missing was fetched. */
  heal(): void {
    this.#breakTimes = [];
  }

  /** Whether there is one within half a step of a time, but not at it. */
  isNear(time: number, step: number): boolean {
    const next = this.time(this.lowerBound(time - step / 2));
    return next < time + step / 2 && next !== time;
  }

  /** Adds one at its place in time; one with the same time takes the other's place. */
  push(time: number, value: number, low = value, high = value): void {
    let at = this.length;
    if (at > 0 && time <= (this.x[at - 1] as number)) {
      at = this.lowerBound(time);
      if (this.x[at] === time) {
        this.#set(at, time, value, low, high);
        return;
      }
    }
    if (this.length === this.x.length) this.#grow();
    for (const column of [this.x, this.y, this.low, this.high]) column?.copyWithin(at + 1, at, this.length);
    this.#set(at, time, value, low, high);
    this.length += 1;
  }

  /** Forgets those before and those from a time on. */
  keep(from: number, to: number): void {
    const first = this.lowerBound(from);
    const end = this.lowerBound(to);
    for (const column of [this.x, this.y, this.low, this.high]) column?.copyWithin(0, first, end);
    this.length = Math.max(0, end - first);
    this.#breakTimes = this.#breakTimes.filter((at) => at >= from);
  }

  clear(): void {
    this.length = 0;
    this.#breakTimes = [];
  }

  #set(at: number, time: number, value: number, low: number, high: number): void {
    this.x[at] = time;
    this.y[at] = value;
    if (this.low !== null && this.high !== null) {
      this.low[at] = low;
      this.high[at] = high;
    }
  }

  #grow(): void {
    const larger = (old: Float64Array) => {
      const grown = new Float64Array(old.length * 2);
      grown.set(old);
      return grown;
    };
    this.x = larger(this.x);
    this.y = larger(this.y);
    this.low &&= larger(this.low);
    this.high &&= larger(this.high);
  }
}
