/** Finds what someone means by a few letters: `dvc` in "Devices", `cold al` in "Alerts: Cold room 1". */

export interface Found {
  /** Higher is nearer; comparable between texts for the same query. */
  score: number;
  /** Which characters of the text matched, ascending. */
  marks: number[];
}

/** Longer texts are looked at as far as this. */
const TEXT_MAX = 160;
const QUERY_MAX = 64;

const START = 12;
const WORD = 9;
const NEXT = 7;
const FAR = -4;

/** One character without accents and case; "ß" stays one character. */
function fold(character: string): string {
  const plain = character.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
  return plain === '' ? character : (plain[0] as string);
}

/** Null: a word of the query has no place in the text. An empty query fits everything. */
export function fuzzy(query: string, text: string): Found | null {
  const characters = [...text].slice(0, TEXT_MAX);
  const folded = characters.map(fold);
  const words = query.trim().slice(0, QUERY_MAX).split(/\s+/).filter((word) => word !== '');
  let score = 0;
  const marks = new Set<number>();
  for (const word of words) {
    const found = place([...word].map(fold), folded, characters);
    if (found === null) return null;
    score += found.score;
    for (const mark of found.marks) marks.add(mark);
  }
  // Of two that fit alike the shorter one is meant.
  return { score: score - characters.length * 0.05, marks: [...marks].sort((a, b) => a - b) };
}

/** The best way to place the letters in order: at the start, at starts of words, beside each other. */
function place(word: readonly string[], text: readonly string[], original: readonly string[]): Found | null {
  const n = text.length;
  const m = word.length;
  if (m > n) return null;
  const worth = text.map((_, at) => {
    if (at === 0) return START;
    const before = original[at - 1] as string;
    const here = original[at] as string;
    if (!/[\p{L}\p{N}]/u.test(before)) return WORD;
    return /\p{Ll}/u.test(before) && /\p{Lu}/u.test(here) ? WORD - 2 : 0;
  });
  // best[i][at]: the letters up to i placed, the last of them at `at`; from[i][at]: where the one before it is.
  const best = word.map(() => new Float64Array(n).fill(Number.NEGATIVE_INFINITY));
  const from = word.map(() => new Int32Array(n).fill(-1));
  for (let i = 0; i < m; i += 1) {
    const row = best[i] as Float64Array;
    const above = best[i - 1];
    let far = Number.NEGATIVE_INFINITY;
    let farAt = -1;
    for (let at = i; at < n; at += 1) {
      // All but the one right before count as far.
      const two = above?.[at - 2];
      if (two !== undefined && two > far) {
        far = two;
        farAt = at - 2;
      }
      if (text[at] !== word[i]) continue;
      const own = 1 + (worth[at] as number);
      if (above === undefined) {
        row[at] = own - Math.min(at, 6) * 0.5;
        continue;
      }
      const beside = (above[at - 1] ?? Number.NEGATIVE_INFINITY) + NEXT;
      const apart = far + FAR;
      row[at] = own + Math.max(beside, apart);
      (from[i] as Int32Array)[at] = beside >= apart ? at - 1 : farAt;
    }
  }
  const last = best[m - 1] as Float64Array;
  let end = -1;
  let top = Number.NEGATIVE_INFINITY;
  last.forEach((score, at) => {
    if (score > top) {
      top = score;
      end = at;
    }
  });
  if (end < 0) return null;
  const marks: number[] = [];
  for (let i = m - 1, at = end; i >= 0 && at >= 0; i -= 1) {
    marks.unshift(at);
    at = (from[i] as Int32Array)[at] as number;
  }
  return { score: top, marks };
}

/** The text in pieces, those that matched marked. */
export function pieces(text: string, marks: readonly number[]): { text: string; mark: boolean }[] {
  const set = new Set(marks);
  const out: { text: string; mark: boolean }[] = [];
  [...text].forEach((character, at) => {
    const mark = set.has(at);
    const last = out.at(-1);
    if (last !== undefined && last.mark === mark) last.text += character;
    else out.push({ text: character, mark });
  });
  return out;
}
