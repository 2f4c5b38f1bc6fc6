/** What someone has typed into a command's form, checked as the server does it, so that mistakes show before it is asked. */

import type { ArgumentSpec, Values } from '../../../api/types';

/** What is wrong with a field: a key of `command.wrong_…` and what it says. */
export interface Wrong {
  wrong: 'required' | 'integer' | 'number' | 'min' | 'max' | 'long' | 'json' | 'object' | 'value' | 'duration' | 'name';
  limit?: string;
}

export type Read<T> = { value: T } | Wrong;

const TEXT_BYTES_MAX = 4_096;
const bytes = new TextEncoder();

/** One argument out of its text; undefined when it is optional and empty. */
export function readArgument(spec: ArgumentSpec, text: string): Read<number | boolean | string | undefined> {
  const given = spec.type === 'text' ? text : text.trim();
  if (given === '') return spec.required ? { wrong: 'required' } : { value: undefined };
  if (spec.type === 'text') {
    return bytes.encode(given).length > TEXT_BYTES_MAX ? { wrong: 'long', limit: `${TEXT_BYTES_MAX}` } : { value: given };
  }
  if (spec.type === 'bool') return { value: given === 'true' };
  const value = Number(given.replace(',', '.'));
  if (!Number.isFinite(value)) return { wrong: 'number' };
  // Beyond 2^53 the number that is sent would not be the one that was typed.
  if (spec.type === 'i64' && !Number.isSafeInteger(value)) return { wrong: 'integer' };
  if (spec.min !== null && value < spec.min) return { wrong: 'min', limit: `${spec.min}` };
  if (spec.max !== null && value > spec.max) return { wrong: 'max', limit: `${spec.max}` };
  return { value };
}

/** All arguments of a declared command. */
export function readArguments(
  specs: readonly ArgumentSpec[],
  texts: Readonly<Record<string, string>>,
): { values: Values; wrong: Record<string, Wrong> } {
  const values: Values = {};
  const wrong: Record<string, Wrong> = {};
  for (const spec of specs) {
    const read = readArgument(spec, texts[spec.name] ?? '');
    if ('wrong' in read) wrong[spec.name] = read;
    else if (read.value !== undefined) values[spec.name] = read.value;
  }
  return { values, wrong };
}

/** Arguments in JSON, for a device that never said what it takes. */
export function readJson(text: string): Read<Values> {
  if (text.trim() === '') return { value: {} };
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { wrong: 'json' };
  }
  if (document === null || typeof document !== 'object' || Array.isArray(document)) return { wrong: 'object' };
  const odd = Object.entries(document).find(([, value]) => !['boolean', 'number', 'string'].includes(typeof value));
  return odd === undefined ? { value: document as Values } : { wrong: 'value', limit: odd[0] };
}

export function readName(text: string): Read<string> {
  return /^[A-Za-z0-9_.:-]{1,64}$/.test(text.trim()) ? { value: text.trim() } : { wrong: 'name' };
}

const UNIT_S: Record<string, number> = { s: 1, min: 60, m: 60, h: 3_600, d: 86_400 };

/** `30 s`, `5m`, `1 h`, or null; in seconds. A number alone is seconds. */
export function seconds(text: string): number | null {
  const parts = /^(\d+(?:[.,]\d+)?)\s*(s|min|m|h|d)?$/.exec(text.trim());
  if (parts === null) return null;
  return Math.round(Number((parts[1] as string).replace(',', '.')) * (UNIT_S[parts[2] ?? 's'] as number));
}

/** A length of time as the API writes it; undefined when nothing was typed. */
export function readDuration(text: string, minS: number, maxS: number): Read<string | undefined> {
  if (text.trim() === '') return { value: undefined };
  const given = seconds(text);
  if (given === null || given < minS || given > maxS) return { wrong: 'duration', limit: `${minS} s – ${maxS / 3_600} h` };
  return { value: `${given}s` };
}
