/** A document of the API asked for again and again while the page is visible. */

import { ApiError } from '../api/client';

export class Poll<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  readonly #load: (signal: AbortSignal) => Promise<T>;
  #wake: () => void = () => {};
  /** Asked for while an answer was on its way, which may be older than what was changed. */
  #again = false;

  /** Runs for as long as the component that makes it lives. `everyMs` counts from answer to request. */
  constructor(load: (signal: AbortSignal) => Promise<T>, everyMs: number) {
    this.#load = load;
    $effect(() => {
      const abort = new AbortController();
      void this.#run(abort.signal, everyMs);
      return () => {
        abort.abort();
        this.#wake();
      };
    });
  }

  /** Asks now, after something was changed. */
  refresh(): void {
    this.#again = true;
    this.#wake();
  }

  async #run(signal: AbortSignal, everyMs: number): Promise<void> {
    while (!signal.aborted) {
      this.#again = false;
      if (document.visibilityState === 'visible') await this.#once(signal);
      if (this.#again) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, everyMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async #once(signal: AbortSignal): Promise<void> {
    try {
      const value = await this.#load(signal);
      if (signal.aborted) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError(0, 'network', String(error));
    }
  }
}
