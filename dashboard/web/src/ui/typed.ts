/**
 * What a search box shows when the filter in force changes from `before` to `now`: the new filter, after a link or the way
 * back, but never less than what someone is typing, which is in force a moment later.
 */
export function boxText(typed: string, before: string, now: string): string {
  return now === before || now === typed.trim() ? typed : now;
}
