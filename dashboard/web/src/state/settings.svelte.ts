/** Choices kept in this browser. Storage may be switched off: then they last as long as the page. */

export type Theme = 'system' | 'light' | 'dark';

export function read(name: string): string | null {
  try {
    return localStorage.getItem(`pulsewire.${name}`);
  } catch {
    return null;
  }
}

export function write(name: string, value: string): void {
  try {
    localStorage.setItem(`pulsewire.${name}`, value);
  } catch {
    // Nothing to do: the choice holds until the page is closed.
  }
}

const systemDark = matchMedia('(prefers-color-scheme: dark)');

class Settings {
  #theme = $state<Theme>('system');
  #shortcuts = $state(read('shortcuts') !== 'off');
  #guideDone = $state(read('guide') === 'done');
  #systemDark = $state(systemDark.matches);

  constructor() {
    const stored = read('theme');
    if (stored === 'light' || stored === 'dark') this.#theme = stored;
    systemDark.addEventListener('change', (event) => {
      this.#systemDark = event.matches;
    });
  }

  get theme(): Theme {
    return this.#theme;
  }

  set theme(theme: Theme) {
    this.#theme = theme;
    write('theme', theme);
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  /** Whether the page is dark now, by choice or by the system. Charts read their colours again when it changes. */
  get dark(): boolean {
    return this.#theme === 'dark' || (this.#theme === 'system' && this.#systemDark);
  }

  /** Single-key shortcuts; WCAG 2.1.4 asks that they can be switched off. */
  get shortcuts(): boolean {
    return this.#shortcuts;
  }

  set shortcuts(on: boolean) {
    this.#shortcuts = on;
    write('shortcuts', on ? 'on' : 'off');
  }

  /** The demo's guide was dismissed. */
  get guideDone(): boolean {
    return this.#guideDone;
  }

  set guideDone(done: boolean) {
    this.#guideDone = done;
    write('guide', done ? 'done' : '');
  }

  /** Switches between light and dark, starting from what is shown now. */
  toggleTheme(): void {
    this.theme = this.dark ? 'light' : 'dark';
  }
}

export const settings = new Settings();
