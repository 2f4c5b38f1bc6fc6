/** What the palette knows by itself: pages and what can be done. Devices, rules and alerts are added as they are found. */

import type { IconName } from '../../ui/Icon.svelte';
import { type Found, fuzzy } from './fuzzy';

export const KINDS = ['page', 'action', 'alert', 'device', 'rule'] as const;
export type Kind = (typeof KINDS)[number];

export interface Entry {
  id: string;
  kind: Kind;
  text: string;
  /** Beside the text, and searched with less weight. */
  hint: string;
  icon: IconName;
  /** Found by these words too. */
  words?: string;
  /** The shortcut that does the same. */
  keys?: string;
  run: () => void;
}

export interface Hit {
  entry: Entry;
  found: Found;
}

const PER_KIND = 7;
/** What the hint or another word says is a little further away than what the text says. */
const ASIDE = 0.6;
/** What fits so much less than the best was not meant: letters scattered over a long text fit nearly anything. */
const FAR_BELOW = 0.4;

/** The best of each kind, the kind with the best of all first. Without a query: what is there, in its own order. */
export function choose(query: string, entries: readonly Entry[]): { kind: Kind; hits: Hit[] }[] {
  const hits: Hit[] = [];
  for (const entry of entries) {
    const found = look(query, entry);
    if (found !== null) hits.push({ entry, found });
  }
  const empty = query.trim() === '';
  const least = empty ? Number.NEGATIVE_INFINITY : Math.max(...hits.map((hit) => hit.found.score)) * FAR_BELOW;
  const groups = KINDS.map((kind) => {
    const own = hits.filter((hit) => hit.entry.kind === kind && hit.found.score >= least);
    if (!empty) own.sort((a, b) => b.found.score - a.found.score);
    return { kind, hits: own.slice(0, empty && kind === 'alert' ? 3 : empty ? 20 : PER_KIND) };
  }).filter((group) => group.hits.length > 0);
  if (!empty) groups.sort((a, b) => (b.hits[0]?.found.score ?? 0) - (a.hits[0]?.found.score ?? 0));
  return groups;
}

function look(query: string, entry: Entry): Found | null {
  const direct = fuzzy(query, entry.text);
  if (direct !== null) return direct;
  const aside = fuzzy(query, `${entry.text} ${entry.hint} ${entry.words ?? ''}`);
  if (aside === null) return null;
  const length = [...entry.text].length;
  return { score: aside.score * ASIDE, marks: aside.marks.filter((mark) => mark < length) };
}
