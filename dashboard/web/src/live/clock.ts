/**
 * The server's clock, estimated from the times it sends. A browser whose clock is wrong by an hour would otherwise
 * show every value as an hour old.
 *
 * A time stamp always arrives late, never early, so the largest difference among the last few is the nearest one.
 */
export class ServerClock {
  readonly #differencesMs: number[] = [];
  readonly #localMs: () => number;

  constructor(localMs: () => number = () => Date.now()) {
    this.#localMs = localMs;
  }

  observe(serverTimeUs: number): void {
    if (!Number.isFinite(serverTimeUs) || serverTimeUs <= 0) return;
    this.#differencesMs.push(serverTimeUs / 1000 - this.#localMs());
    if (this.#differencesMs.length > 8) this.#differencesMs.shift();
  }

  /** Forgets what an earlier connection said. */
  reset(): void {
    this.#differencesMs.length = 0;
  }

  /** Milliseconds to add to this machine's clock; 0 until the server has said its time. */
  get offsetMs(): number {
    return this.#differencesMs.length === 0 ? 0 : Math.max(...this.#differencesMs);
  }

  /** Milliseconds since the Unix epoch by the server's clock. */
  nowMs(): number {
    return this.#localMs() + this.offsetMs;
  }
}
