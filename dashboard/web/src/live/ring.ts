/**
 * Samples of one series in time order, in typed arrays that grow up to a bound. At the bound the oldest sample goes.
 *
 * Kept outside the framework's state on purpose: thousands of values per second must cost no proxies.
 */
export class Ring {
  #times: Float64Array;
  #values: Float64Array;
  #head = 0;
  #length = 0;
  readonly #capacity: number;
  /** Seconds at which something is missing before the next sample. */
  #breaks: number[] = [];

  /** `capacity`: most samples kept. Memory starts at 64 samples and doubles as needed, 16 bytes each. */
  constructor(capacity: number) {
    this.#capacity = Math.max(1, capacity);
    const first = Math.min(64, this.#capacity);
    this.#times = new Float64Array(first);
    this.#values = new Float64Array(first);
  }

  get length(): number {
    return this.#length;
  }

  /** Time in seconds since the Unix epoch of the sample at `index`, 0 being the oldest; NaN outside. */
  time(index: number): number {
    return index >= 0 && index < this.#length ? (this.#times[this.#slot(index)] as number) : NaN;
  }

  value(index: number): number {
    return index >= 0 && index < this.#length ? (this.#values[this.#slot(index)] as number) : NaN;
  }

  get lastTime(): number {
    return this.time(this.#length - 1);
  }

  /** Adds a sample. A sample with a time already there replaces it: the one stored last wins (SPEC §6.3). */
  push(time: number, value: number): void {
    if (this.#length === 0 || time > this.lastTime) {
      this.#append(time, value);
      return;
    }
    const index = this.lowerBound(time);
    if (this.time(index) === time) {
      this.#values[this.#slot(index)] = value;
      return;
    }
    // Late sample. When full, the oldest one makes room; a sample older than all of them has no room.
    let target = index;
    if (this.#length === this.#capacity) {
      if (index === 0) return;
      this.#head = (this.#head + 1) % this.#times.length;
      this.#length -= 1;
      target -= 1;
    }
    this.#append(this.lastTime, this.value(this.#length - 1));
    for (let at = this.#length - 2; at > target; at -= 1) {
      const to = this.#slot(at);
      const from = this.#slot(at - 1);
      this.#times[to] = this.#times[from] as number;
      this.#values[to] = this.#values[from] as number;
    }
    const slot = this.#slot(target);
    this.#times[slot] = time;
    this.#values[slot] = value;
  }

  /** Says that samples after the newest one may be missing, so that a chart does not join both sides by a line. */
  markBreak(): void {
    if (this.#length === 0) return;
    const time = this.lastTime;
    if (this.#breaks[this.#breaks.length - 1] === time) return;
    this.#breaks.push(time);
    if (this.#breaks.length > 64) this.#breaks.shift();
  }

  /** Whether something may be missing between two neighbouring samples. */
  breaksBetween(from: number, to: number): boolean {
    for (let index = this.#breaks.length - 1; index >= 0; index -= 1) {
      const at = this.#breaks[index] as number;
      if (at < from) return false;
      if (at < to) return true;
    }
    return false;
  }

  clear(): void {
    this.#head = 0;
    this.#length = 0;
    this.#breaks = [];
  }

  /** Index of the first sample at or after `time`; `length` if there is none. */
  lowerBound(time: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#times[this.#slot(middle)] as number) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #slot(index: number): number {
    const slot = this.#head + index;
    return slot >= this.#times.length ? slot - this.#times.length : slot;
  }

  #append(time: number, value: number): void {
    if (this.#length === this.#times.length) {
      if (this.#length < this.#capacity) {
        this.#grow();
      } else {
        this.#head = this.#slot(1);
        this.#length -= 1;
      }
    }
    const slot = this.#slot(this.#length);
    this.#times[slot] = time;
    this.#values[slot] = value;
    this.#length += 1;
  }

  #grow(): void {
    const size = Math.min(this.#capacity, this.#times.length * 2);
    const times = new Float64Array(size);
    const values = new Float64Array(size);
    for (let index = 0; index < this.#length; index += 1) {
      const slot = this.#slot(index);
      times[index] = this.#times[slot] as number;
      values[index] = this.#values[slot] as number;
    }
    this.#times = times;
    this.#values = values;
    this.#head = 0;
  }
}
