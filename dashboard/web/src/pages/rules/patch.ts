/** What differs between two rules. */

type Json = unknown;

const isObject = (value: Json): value is Record<string, Json> => value !== null && typeof value === 'object' && !Array.isArray(value);

export function same(a: Json, b: Json): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, index) => same(one, b[index]));
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => same(a[key] ?? null, b[key] ?? null));
  }
  return a === b;
}

/** What is one thing, of which a part says nothing. */
const WHOLE = ['scope', 'schedule', 'count', 'no_data'];

/** A merge patch (RFC 7396) that makes the one into the other: what is gone is null, what is the same is left out. */
export function mergePatch(from: Record<string, Json>, to: Record<string, Json>): Record<string, Json> {
  const patch: Record<string, Json> = {};
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const before = from[key] ?? null;
    const after = to[key] ?? null;
    if (same(before, after)) continue;
    if (!isObject(before) || !isObject(after)) patch[key] = after;
    else if (WHOLE.includes(key)) patch[key] = { ...Object.fromEntries(Object.keys(before).map((part) => [part, null])), ...after };
    else patch[key] = mergePatch(before, after);
  }
  return patch;
}

export interface Difference {
  /** `levels[0].when` */
  field: string;
  /** Null: it was not there. */
  before: string | null;
  after: string | null;
}

/** What differs, field by field, for people. */
export function differences(before: Json, after: Json, field = ''): Difference[] {
  if (same(before ?? null, after ?? null)) return [];
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => differences(before[key], after[key], field === '' ? key : `${field}.${key}`));
  }
  // A list of things is compared thing by thing; a list of words reads better whole.
  if (Array.isArray(before) && Array.isArray(after) && [...before, ...after].some(isObject)) {
    return Array.from({ length: Math.max(before.length, after.length) }, (_, index) =>
      differences(before[index], after[index], `${field}[${index}]`),
    ).flat();
  }
  return [{ field, before: said(before), after: said(after) }];
}

function said(value: Json): string | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) && !value.some(isObject)) return value.join(', ');
  if (isObject(value)) {
    return Object.entries(value)
      .filter(([, one]) => one !== null && one !== undefined)
      .map(([key, one]) => `${key}: ${said(one)}`)
      .join(', ');
  }
  return Array.isArray(value) ? value.map(said).join('; ') : String(value);
}
