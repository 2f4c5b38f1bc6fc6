/**
 * Rows of a long list by their place, read page by page as they come into sight. Of a list of 100,000 only the pages near what is
 * looked at are kept.
 */

export interface Part<Row> {
  /** Rows in all. */
  total: number;
  items: readonly Row[];
}

interface Page<Row> {
  items: readonly Row[] | null;
  /** Being read. */
  abort: AbortController | null;
  /** Was read before the list may have changed. */
  stale: boolean;
}

export interface Options<Row> {
  load: (offset: number, limit: number, signal: AbortSignal) => Promise<Part<Row>>;
  /** Something is different: rows, their number, or an error. */
  changed: () => void;
  /** Rows per page. */
  size?: number;
  /** Most pages kept; the farthest from what is in sight go first. */
  pagesMax?: number;
}

/** Pages under way at once: scrolling fast must not queue what nobody looks at any more. */
const LOADING_MAX = 2;

export class PageCache<Row> {
  /** Null until the first answer. */
  total: number | null = null;
  /** Why the last question failed; null after one that did not. */
  error: Error | null = null;
  readonly size: number;
  readonly #options: Options<Row>;
  readonly #pagesMax: number;
  #pages = new Map<number, Page<Row>>();
  /** First and last page in sight. */
  #sight: [number, number] = [0, 0];
  #closed = false;

  constructor(options: Options<Row>) {
    this.#options = options;
    this.size = options.size ?? 100;
    this.#pagesMax = Math.max(4, options.pagesMax ?? 40);
  }

  row(index: number): Row | undefined {
    return this.#pages.get(Math.floor(index / this.size))?.items?.[index % this.size];
  }

  /** Rows from `first` up to `end` that are there. */
  *rows(first: number, end: number): Generator<[number, Row]> {
    for (let index = first; index < end; index += 1) {
      const row = this.row(index);
      if (row !== undefined) yield [index, row];
    }
  }

  get loading(): boolean {
    return [...this.#pages.values()].some((page) => page.abort !== null);
  }

  get kept(): number {
    return this.#pages.size;
  }

  /** Rows from `first` up to `end` are in sight. */
  want(first: number, end: number): void {
    const last = Math.max(first, end - 1);
    this.#sight = [Math.max(0, Math.floor(first / this.size)), Math.max(0, Math.floor(last / this.size))];
    for (const [number, page] of this.#pages) {
      if (page.abort === null || this.#distance(number) === 0) continue;
      // Scrolled past before it came.
      page.abort.abort();
      page.abort = null;
      if (page.items === null) this.#pages.delete(number);
    }
    this.#fill();
  }

  /** The list may have changed: what is in sight is read again, the rest when it comes into sight. What is shown stays until then. */
  refresh(): void {
    for (const page of this.#pages.values()) page.stale = true;
    this.#fill();
  }

  /** After an error. */
  retry(): void {
    this.error = null;
    this.#fill();
    this.#options.changed();
  }

  /** Rows that fit are changed in place, until the list is read again. */
  replace(fits: (row: Row) => boolean, change: (row: Row) => Row): void {
    for (const page of this.#pages.values()) {
      if (page.items?.some(fits)) page.items = page.items.map((row) => (fits(row) ? change(row) : row));
    }
    this.#options.changed();
  }

  close(): void {
    this.#closed = true;
    for (const page of this.#pages.values()) page.abort?.abort();
  }

  /** Pages between this one and what is in sight. */
  #distance(number: number): number {
    const [first, last] = this.#sight;
    return number < first ? first - number : number > last ? number - last : 0;
  }

  #fill(): void {
    if (this.#closed || this.error !== null) return;
    const [first, last] = this.#sight;
    let loading = 0;
    for (const page of this.#pages.values()) if (page.abort !== null) loading += 1;
    // The first answer tells how many there are; one page is asked for until then.
    const end = this.total === null ? first : Math.max(0, Math.ceil(this.total / this.size) - 1);
    for (let number = first; number <= Math.min(last, end) && loading < LOADING_MAX; number += 1) {
      const page = this.#pages.get(number);
      if (page === undefined || (page.abort === null && (page.stale || page.items === null))) {
        void this.#read(number);
        loading += 1;
      }
    }
  }

  async #read(number: number): Promise<void> {
    const page = this.#pages.get(number) ?? { items: null, abort: null, stale: false };
    const abort = new AbortController();
    page.abort = abort;
    this.#pages.set(number, page);
    try {
      const { total, items } = await this.#options.load(number * this.size, this.size, abort.signal);
      if (abort.signal.aborted) return;
      page.items = items;
      page.stale = false;
      this.total = total;
      // Rows that are gone.
      for (const one of this.#pages.keys()) if (one * this.size >= Math.max(total, 1)) this.#pages.delete(one);
      this.#evict();
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error instanceof Error ? error : new Error(String(error));
    }
    page.abort = null;
    this.#fill();
    if (!this.#closed) this.#options.changed();
  }

  #evict(): void {
    if (this.#pages.size <= this.#pagesMax) return;
    const far = [...this.#pages.keys()].sort((a, b) => this.#distance(b) - this.#distance(a));
    for (const number of far.slice(0, this.#pages.size - this.#pagesMax)) {
      if (this.#distance(number) === 0) return;
      this.#pages.get(number)?.abort?.abort();
      this.#pages.delete(number);
    }
  }
}
