/** What the charts of a page share: the cursor, and the time while a gesture moves it. */

import type { Span } from './time';

export interface Member {
  /** The pointer is at this part (0–1) of the chart, or the keyboard chose this time; null = it left. */
  point(at: { part: number } | { time: number } | null): void;
}

export class Together {
  readonly members = new Set<Member>();
  /** What a gesture shows until it ends, in seconds; null = what the page says. */
  preview: Span | null = null;

  /** Others may have wider labels: they share the part of the time and not the pixel. */
  point(at: { part: number } | { time: number } | null): void {
    for (const member of this.members) member.point(at);
  }
}

const groups = new Map<string, Together>();

/** Charts with one key belong together; without one each is alone. */
export function together(key: string | null): Together {
  if (key === null) return new Together();
  const found = groups.get(key) ?? new Together();
  groups.set(key, found);
  return found;
}

/** The same preview for all charts that share a key; null = what the page says. */
export function previewAll(span: Span | null): void {
  for (const group of groups.values()) group.preview = span;
}
