/**
 * Tiles that were loaded, are loading and could not be had. It asks for what is in sight and no more, keeps a bounded number,
 * and leaves a server alone that does not answer. It knows neither the page nor how a picture is loaded.
 */

import { type Cell, IN_SIGHT_MAX, keyOf, piecesOf, type Piece, urlOf } from './tiles';

/** Tiles that are held, about 256 KiB of memory each; above it those that were drawn least recently go. */
export const TILES_MAX = IN_SIGHT_MAX + 64;
/** Requests at a time: as many as browsers have connections to one host over HTTP/1.1. */
export const LOADING_MAX = 6;
/** A tile that could not be had is asked for again after this long, if it is in sight. */
export const RETRY_MS = 30_000;
/** After so many failures one after the other people are told. */
export const FAILURES_TOLD = 4;
/** From then on tiles are asked for one at a time, and this long after the last failure, until one comes. */
export const PROBE_MS = 5_000;
/** Tiles that are remembered as not to be had. */
const FAILED_MAX = 2_000;

/** Loads a picture and answers null if it cannot be had, once; what it returns gives it up, after which nothing is answered. */
export type Load<Picture> = (url: string, done: (picture: Picture | null) => void) => () => void;

export class TileStore<Picture> {
  /** Tiles of what was looked at last cannot be had, and not for the first time. */
  isTroubled = false;
  readonly #template: string;
  readonly #load: Load<Picture>;
  readonly #changed: () => void;
  readonly #now: () => number;
  /** In the order in which they were drawn: the one drawn last is the last. */
  readonly #held = new Map<string, Picture>();
  readonly #loading = new Map<string, () => void>();
  /** When each failed. */
  readonly #failed = new Map<string, number>();
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `template`: address with `{z}`, `{x}` and `{y}`. `changed`: something has come or failed, or may be asked for again; then call `look`. `now`: ms, never back. */
  constructor(template: string, load: Load<Picture>, changed: () => void, now: () => number = () => performance.now()) {
    this.#template = template;
    this.#load = load;
    this.#changed = changed;
    this.#now = now;
  }

  get held(): number {
    return this.#held.size;
  }

  get loading(): number {
    return this.#loading.size;
  }

  /** Asks for what is missing, the first first, gives up what is out of sight, and answers what there is to draw. */
  look(cells: readonly Cell[]): Piece<Picture>[] {
    const wanted = new Map(cells.map((cell) => [keyOf(cell), cell]));
    for (const [key, giveUp] of this.#loading) {
      if (wanted.has(key)) continue;
      this.#loading.delete(key);
      giveUp();
    }
    this.#ask(wanted);
    const pieces = cells.flatMap((cell) => piecesOf(cell, (key) => this.#drawn(key)));
    // Only now: what stands in for others was drawn, too.
    for (const key of this.#held.keys()) {
      if (this.#held.size <= TILES_MAX) break;
      this.#held.delete(key);
    }
    this.isTroubled = this.#failures >= FAILURES_TOLD && [...wanted.keys()].some((key) => !this.#held.has(key));
    return pieces;
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const giveUp of this.#loading.values()) giveUp();
    this.#loading.clear();
    this.#held.clear();
  }

  #drawn(key: string): Picture | undefined {
    const picture = this.#held.get(key);
    if (picture !== undefined) {
      this.#held.delete(key);
      this.#held.set(key, picture);
    }
    return picture;
  }

  #ask(wanted: ReadonlyMap<string, Cell>): void {
    const now = this.#now();
    const probing = this.#failures >= FAILURES_TOLD;
    let again = Number.POSITIVE_INFINITY;
    for (const [key, cell] of wanted) {
      if (this.#held.has(key) || this.#loading.has(key)) continue;
      const due = Math.max((this.#failed.get(key) ?? Number.NEGATIVE_INFINITY) + RETRY_MS, probing ? this.#failedAt + PROBE_MS : now);
      if (due > now) again = Math.min(again, due);
      else if (this.#loading.size < (probing ? 1 : LOADING_MAX)) this.#begin(key, urlOf(this.#template, cell));
    }
    clearTimeout(this.#timer);
    // What is loading tells by itself when it has come or failed.
    if (again < Number.POSITIVE_INFINITY) this.#timer = setTimeout(this.#changed, again - now);
  }

  #begin(key: string, url: string): void {
    this.#loading.set(
      key,
      this.#load(url, (picture) => {
        this.#loading.delete(key);
        if (picture !== null) {
          this.#failures = 0;
          this.#failed.delete(key);
          this.#held.set(key, picture);
        } else {
          this.#failures += 1;
          this.#failedAt = this.#now();
          this.#failed.delete(key);
          this.#failed.set(key, this.#failedAt);
          const oldest = this.#failed.keys().next().value;
          if (this.#failed.size > FAILED_MAX && oldest !== undefined) this.#failed.delete(oldest);
        }
        this.#changed();
      }),
    );
  }
}
