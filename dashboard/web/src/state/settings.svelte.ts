/** How this browser shows the page. */

import { read, write } from './stored';

export { read, write };

export type Theme = 'system' | 'light' | 'dark';
export type Density = 'comfortable' | 'compact';

const systemDark = matchMedia('(prefers-color-scheme: dark)');
const coarse = matchMedia('(pointer: coarse)');

/** Height of a table's row in pixels. A finger needs room, whatever was chosen. */
const ROW = { comfortable: 36, compact: 28, touched: 48 } as const;

class Settings {
  #theme = $state<Theme>('system');
  #shortcuts = $state(read('shortcuts') !== 'off');
  #guideDone = $state(read('guide') === 'done');
  #systemDark = $state(systemDark.matches);
  #density = $state<Density>(read('density') === 'compact' ? 'compact' : 'comfortable');
  #coarse = $state(coarse.matches);

  constructor() {
    coarse.addEventListener('change', (event) => {
      this.#coarse = event.matches;
    });
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

  get density(): Density {
    return this.#density;
  }

  set density(density: Density) {
    this.#density = density;
    write('density', density === 'compact' ? density : '');
    if (density === 'compact') document.documentElement.dataset.density = density;
    else delete document.documentElement.dataset.density;
  }

  /** Pixels; as `--row` of the style sheets. */
  get rowHeight(): number {
    return this.#coarse ? ROW.touched : ROW[this.#density];
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
