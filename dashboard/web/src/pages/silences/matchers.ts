/** Which alerts a silence hides, as it is typed and as the API takes it. */

/** Is, is not, is like, is not like. */
export const OPERATORS = ['=', '!=', '=~', '!~'] as const;
export type Operator = (typeof OPERATORS)[number];

/** Labels that every alert has; `tag.KEY` and the rule's own are typed. */
export const LABELS = ['rule', 'device', 'group', 'severity', 'kind', 'metric'] as const;

export interface Matcher {
  label: string;
  operator: Operator;
  value: string;
}

/** A star stands for anything in a pattern, and for itself after a backslash. */
export function write({ label, operator, value }: Matcher): string {
  const given = value.trim();
  const pattern = operator === '=~' || operator === '!~';
  // `=~` is read as one sign.
  const apart = given.startsWith('~') ? ' ' : '';
  return `${label.trim()}${operator.startsWith('!') ? '!=' : '='}${apart}${pattern ? given : given.replace(/[\\*]/g, '\\$&')}`;
}

/** Null if it is none. A label ends before the first sign, so a value may have any. */
export function parse(text: string): Matcher | null {
  const parts = /^([^\s!*=]+)(=~|!~|!=|=)(.*)$/.exec(text);
  if (parts === null) return null;
  const [, label = '', sign = '', given = ''] = parts;
  const not = sign.startsWith('!');
  const value = given.trim();
  const pattern = value.replace(/\\./g, '').includes('*');
  if (pattern) return { label, operator: not ? '!~' : '=~', value };
  return { label, operator: not ? '!=' : '=', value: value.replace(/\\(.)/g, '$1') };
}

const LABEL = /^[^\s!*=]{1,80}$/;

/** The matchers as texts, or which of them cannot be. Empty ones do not count. */
export function read(matchers: readonly Matcher[]): { matchers: string[] } | { wrong: number[] } {
  const wrong: number[] = [];
  const texts: string[] = [];
  for (const [index, one] of matchers.entries()) {
    if (one.value.trim() === '' && one.label !== 'group') wrong.push(index);
    else if (!LABEL.test(one.label.trim()) || one.label.trim() === 'tag.') wrong.push(index);
    else texts.push(write(one));
  }
  return wrong.length > 0 ? { wrong } : { matchers: texts };
}

/** The page that makes a silence, filled in. */
export function silenceHref(pairs: readonly (readonly [string, string])[]): string {
  const query = new URLSearchParams({ new: '1' });
  for (const [label, value] of pairs) if (value !== '') query.append('m', write({ label, operator: '=', value }));
  return `/silences?${query}`;
}

/** What such an address says; what cannot be read is left out. */
export function fromQuery(query: URLSearchParams): Matcher[] {
  return query.getAll('m').map(parse).filter((one) => one !== null);
}

const pad = (value: number) => String(value).padStart(2, '0');

/** For `<input type="datetime-local">`. */
export function localTime(ms: number): string {
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}`;
}

export type Times = { kind: 'silence'; for: string } | { kind: 'maintenance'; starts: string; ends: string };

/** A planned window; null while it has no length or is over. */
export function readWindow(from: string, to: string, nowMs: number): Times | null {
  const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
  if (!(fromMs < toMs) || toMs <= nowMs) return null;
  return { kind: 'maintenance', starts: new Date(fromMs).toISOString(), ends: new Date(toMs).toISOString() };
}
