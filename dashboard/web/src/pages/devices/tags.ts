/** Tags as people type them: `site=north, floor=2`. */

export type ParsedTags = { tags: Record<string, string> } | { error: 'pair' | 'twice'; part: string };

export function parseTags(text: string): ParsedTags {
  const tags: Record<string, string> = {};
  for (const part of text.split(',').map((piece) => piece.trim()).filter((piece) => piece !== '')) {
    const at = part.search(/[=:]/);
    const key = part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    if (at <= 0 || key === '' || value === '') return { error: 'pair', part };
    if (key in tags) return { error: 'twice', part: key };
    tags[key] = value;
  }
  return { tags };
}

export function formatTags(tags: Record<string, string>): string {
  return Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
}
