/**
 * Texts and formats. All texts are in `en.json`, a file of its own beside the scripts; another language is another file
 * with the same keys, named in `language.ts` and below. Numbers and dates go through `Intl`.
 */

import { read } from '../state/stored';
import type en from './en.json';
import { chooseLanguage, chooseLocale, direction } from './language';

export type TextKey = keyof typeof en;

const wishes = typeof navigator === 'undefined' ? ['en'] : navigator.languages;

/** Fixed for as long as the page is loaded: who chooses another one loads it anew. */
export const LANGUAGE = chooseLanguage(read('language'), wishes);
/** For `Intl`; undefined is the browser's own. */
export const LOCALE = chooseLocale(read('language'), wishes);
/** For `Intl`; undefined is where the browser is. */
export const TIME_ZONE = read('zone') === 'utc' ? 'UTC' : undefined;

/** One file per language; the names have to be written out for the build to find them. */
const CATALOGUES = {
  en: () => new URL('./en.json', import.meta.url),
  de: () => new URL('./de.json', import.meta.url),
} as const;

let catalogue: Readonly<Record<string, string>> = {};

/** Fetches the texts; before that, `t` answers the key. */
export async function loadTexts(): Promise<void> {
  const answer = await fetch(CATALOGUES[LANGUAGE]());
  if (!answer.ok) throw new Error(`the texts were answered with status ${answer.status}`);
  catalogue = await answer.json();
}

/** For screen readers, hyphens and the direction of lines. */
export function declareLanguage(root: HTMLElement): void {
  root.lang = LANGUAGE;
  root.dir = direction(LANGUAGE);
}

const plural = new Intl.PluralRules(LANGUAGE);

/**
 * The text of a key with `{name}` replaced. With a `count`, the form `key.one`, `key.other`, … is taken if there
 * is one, and the count is formatted.
 */
export function t(key: TextKey, values: Record<string, string | number> = {}): string {
  const { count } = values;
  const counted = typeof count === 'number' ? catalogue[`${key}.${plural.select(count)}`] : undefined;
  const text = counted ?? catalogue[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? formatCount(value) : value;
  });
}

const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 6 });
const short = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 4 });
const scientific = new Intl.NumberFormat(LOCALE, { notation: 'scientific', maximumSignificantDigits: 4 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone: TIME_ZONE });
const dateTime = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'medium', timeZone: TIME_ZONE });

export function formatCount(value: number): string {
  return whole.format(value);
}

/** 12.4K, 3.1M: for headline numbers; the exact one belongs in a tooltip. */
export function formatCompact(value: number): string {
  return value < 10_000 ? whole.format(value) : compact.format(value);
}

/** 4.1 MB: decimal units, as file managers show them. */
export function formatBytes(bytes: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'] as const;
  const size = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  const options = { style: 'unit', unit: units[size], unitDisplay: 'short', maximumSignificantDigits: 3 } as const;
  return new Intl.NumberFormat(LOCALE, options).format(bytes / 1000 ** size);
}

/** Six significant digits, as many as an f32 holds for sure; or four, where a value is glanced at and not read off. */
export function formatValue(value: number, digits: 4 | 6 = 6): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e12 || size < 1e-4)) return scientific.format(value);
  if (Number.isInteger(value) || size >= 1e6) return whole.format(value);
  return (digits === 4 && size < 1_000 ? short : significant).format(value);
}

/** For a glance: bytes get the prefix that makes them short, as 61.84 and GB; other units stay. NaN is for the caller. */
export function scaled(value: number, unit: string): [text: string, unit: string] {
  const power = unit === 'B' || unit === 'B/s' ? Math.min(4, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)) : 0;
  return [formatValue(value / 1000 ** power, 4), `${' kMGT'.charAt(power)}${unit}`.trim()];
}

export function formatTime(ms: number): string {
  return clock.format(ms);
}

export function formatDateTime(ms: number): string {
  return dateTime.format(ms);
}

/** Length of time in the largest fitting unit: "4 s", "12 min", "3 h", "5 d". */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 60) return t('time.seconds', { count: Math.floor(seconds) });
  if (seconds < 3_600) return t('time.minutes', { count: Math.floor(seconds / 60) });
  if (seconds < 86_400) return t('time.hours', { count: Math.floor(seconds / 3_600) });
  return t('time.days', { count: Math.floor(seconds / 86_400) });
}

/** "just now" below two seconds, since it would flicker between 0 and 1, else "12 s ago". */
export function formatAge(ms: number): string {
  return ms < 2_000 ? t('time.now') : t('time.ago', { age: formatDuration(ms) });
}
