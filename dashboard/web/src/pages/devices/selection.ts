/** Which devices are chosen: some by their ids, or all that match, of which most were never loaded. */

/** More than that are chosen by what they match, not one by one. */
export const CHOSEN_MAX = 10_000;

export class Selection {
  /** All that match the filters. */
  all = false;
  readonly ids = new Set<string>();
  /** Where a range begins. */
  #anchor: string | null = null;
  readonly #changed: () => void;

  constructor(changed: () => void = () => {}) {
    this.#changed = changed;
  }

  has(id: string): boolean {
    return this.all || this.ids.has(id);
  }

  count(total: number): number {
    return this.all ? total : this.ids.size;
  }

  /** With all chosen, a click on one begins anew with that one. */
  toggle(id: string): void {
    if (this.all) {
      this.all = false;
      this.ids.clear();
    }
    this.#anchor = id;
    if (!this.ids.delete(id) && this.ids.size < CHOSEN_MAX) this.ids.add(id);
    this.#changed();
  }

  /** From the one that was chosen last to this one, in the order of the list. False if the beginning is not there any more. */
  range(id: string, order: readonly string[]): boolean {
    const from = this.#anchor === null ? -1 : order.indexOf(this.#anchor);
    const to = order.indexOf(id);
    if (this.all || from < 0 || to < 0) {
      this.toggle(id);
      return false;
    }
    for (const one of order.slice(Math.min(from, to), Math.max(from, to) + 1)) {
      if (this.ids.size >= CHOSEN_MAX) break;
      this.ids.add(one);
    }
    this.#changed();
    return true;
  }

  chooseAll(): void {
    this.all = true;
    this.ids.clear();
    this.#changed();
  }

  clear(): void {
    if (!this.all && this.ids.size === 0) return;
    this.all = false;
    this.ids.clear();
    this.#anchor = null;
    this.#changed();
  }
}
