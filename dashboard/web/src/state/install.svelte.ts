/** Putting the page among the machine's applications. Browsers that can offer it say so once, soon after the page is loaded. */

interface InstallEvent extends Event {
  prompt(): Promise<void>;
  readonly userChoice: Promise<{ outcome: 'accepted' | 'dismissed' }>;
}

/** `insecure`: needs HTTPS or localhost. `manual`: by the browser's own menu, or not at all. */
export type InstallState = 'installed' | 'offered' | 'insecure' | 'ios' | 'manual';

class Install {
  #event = $state.raw<InstallEvent | null>(null);
  #installed = $state(matchMedia('(display-mode: standalone)').matches);

  constructor() {
    addEventListener('beforeinstallprompt', (event) => {
      // Asked for where it is explained, not when the browser likes.
      event.preventDefault();
      this.#event = event as InstallEvent;
    });
    addEventListener('appinstalled', () => {
      this.#installed = true;
      this.#event = null;
    });
  }

  get state(): InstallState {
    if (this.#installed) return 'installed';
    if (this.#event !== null) return 'offered';
    if (!isSecureContext) return 'insecure';
    const touchedMac = /Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1;
    return /iPhone|iPad|iPod/.test(navigator.userAgent) || touchedMac ? 'ios' : 'manual';
  }

  async ask(): Promise<void> {
    const event = this.#event;
    // It can be used once.
    this.#event = null;
    await event?.prompt();
  }
}

export const install = new Install();
