/** What is wrong with the fields of the form, by their paths in the API. */

import type { FieldProblem } from '../../api/client';

export interface Wrong {
  text: string;
  /** Where in the field's text, in bytes of UTF-8. */
  at: readonly [number, number] | null;
}

export type WrongFields = Readonly<Record<string, Wrong>>;

export function idOf(form: string, path: string): string {
  return `${form}-${path.replace(/\W+/g, '-')}`;
}

/** What ties a control to what is wrong with it. */
export function about(form: string, wrong: WrongFields, path: string) {
  return {
    autocomplete: 'off' as const,
    'aria-describedby': wrong[path] === undefined ? undefined : idOf(form, path),
    'aria-invalid': wrong[path] !== undefined,
  };
}

/**
 * The control that a problem of the server is shown at: its own, or that of the thing it is part of, so `scope.tag` is shown at
 * `scope`. Null: there is none.
 */
export function controlOf(field: string, controls: readonly string[]): string | null {
  for (let path = field; path !== ''; path = path.replace(/(\.[^.[]*|\[\d+\]|^[^.[]*)$/, '')) {
    if (controls.includes(path)) return path;
  }
  return null;
}

export function byControl(problems: readonly FieldProblem[], controls: readonly string[]): { wrong: WrongFields; rest: string[] } {
  const wrong: Record<string, Wrong> = {};
  const rest: string[] = [];
  for (const { field, text, at } of problems) {
    const control = controlOf(field, controls);
    if (control === null) rest.push(text);
    else wrong[control] ??= { text, at };
  }
  return { wrong, rest };
}

/** The line of a text that a mistake is in, in three parts; `to` and `from` are where to put the cursor. */
export function pointed(text: string, at: readonly [number, number]) {
  const bytes = new TextEncoder().encode(text);
  const chars = (end: number) => new TextDecoder().decode(bytes.subarray(0, Math.min(Math.max(end, 0), bytes.length))).length;
  const from = chars(at[0]);
  const to = Math.max(from, chars(at[1]));
  const start = text.lastIndexOf('\n', from - 1) + 1;
  const newline = text.indexOf('\n', from);
  const end = newline < 0 ? text.length : newline;
  return { from, to, before: text.slice(start, from), bad: text.slice(from, Math.min(to, end)), after: text.slice(Math.min(to, end), end) };
}
