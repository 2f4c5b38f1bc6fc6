/** Keeps the page's files for when the server is out of reach, and finds out that the server has a newer page. */

import { link } from './live.svelte';

/** A page that is shown again after so long asks. */
const ASK_MS = 600_000;
/** After the first values are on the screen. */
const REGISTER_MS = 3_000;

/** The first script of this page, whose name changes with every build; null while it comes from its source. */
function ownEntry(): string | null {
  const script = document.querySelector<HTMLScriptElement>('script[type=module][src*="/assets/"]');
  return script === null ? null : new URL(script.src).pathname;
}

class Update {
  /** The server has another page than this one. */
  available = $state(false);
  readonly #entry = ownEntry();
  #askedMs = performance.now();

  constructor() {
    if (this.#entry === null) return;
    setTimeout(() => void navigator.serviceWorker?.register('/sw.js').catch(() => {}), REGISTER_MS);
    // A server that comes back may be a newer one.
    let welcomes = 0;
    link.client.listen({
      connected: () => {
        welcomes += 1;
        if (welcomes > 1) void this.ask();
      },
    });
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible' && performance.now() - this.#askedMs > ASK_MS) void this.ask();
    });
    setInterval(() => document.visibilityState === 'visible' && void this.ask(), 6 * ASK_MS);
  }

  async ask(): Promise<void> {
    this.#askedMs = performance.now();
    try {
      const answer = await fetch('/build.json', { cache: 'no-cache' });
      if (!answer.ok) return;
      const { entry } = (await answer.json()) as { entry?: string };
      if (typeof entry === 'string' && entry !== this.#entry) this.available = true;
    } catch {
      // Asked again with the next occasion.
    }
  }
}

export const update = new Update();
