/** All that people read is in the catalogues, and each catalogue is whole. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LANGUAGES } from '../../web/src/i18n/language';

const SOURCE = resolve(import.meta.dirname, '../../web/src');
const read = (language: string) => JSON.parse(readFileSync(join(SOURCE, 'i18n', `${language}.json`), 'utf8')) as Record<string, string>;
const en = read('en');

/** Forms of a counted text are named after the plural of their language: `key.one`, `key.few`, …; `key` itself is for all others. */
const PLURAL = /\.(zero|one|two|few|many)$/;
const base = (key: string) => key.replace(PLURAL, '');
const isForm = (key: string, all: Record<string, string>) => PLURAL.test(key) && base(key) in all;
const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string).sort();

describe.each(LANGUAGES.filter((one) => one !== 'en'))('catalogue %s', (language) => {
  const own = read(language);

  it('has every text, and none that nobody uses', () => {
    const wanted = Object.keys(en).filter((key) => !isForm(key, en));
    const there = Object.keys(own).filter((key) => !isForm(key, own));
    expect(wanted.filter((key) => !there.includes(key))).toEqual([]);
    expect(there.filter((key) => !wanted.includes(key))).toEqual([]);
  });

  it('has the plural forms that its language tells apart', () => {
    const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories.filter((one) => one !== 'other');
    const counted = new Set(Object.keys(en).filter((key) => isForm(key, en)).map(base));
    const missing = [...counted].flatMap((key) => categories.filter((one) => !(`${key}.${one}` in own) && own[key]?.includes('{count}')).map((one) => `${key}.${one}`));
    expect(missing).toEqual([]);
  });

  it('names the same values in its texts', () => {
    const wrong = Object.entries(own).filter(([key, text]) => {
      const english = en[key] ?? en[base(key)] ?? '';
      const [is, should] = [placeholders(text), placeholders(en[base(key)] ?? english)];
      // One thing may be said without its number.
      const missing = should.filter((name) => !is.includes(name) && !(name === 'count' && PLURAL.test(key)));
      return missing.length > 0 || is.some((name) => !should.includes(name));
    });
    expect(wrong.map(([key]) => key)).toEqual([]);
  });

  it('says nothing in English by accident', () => {
    // Names, units and words that both languages have.
    const same = Object.keys(own).filter((key) => own[key] === en[key] && /[a-z]{4,} [a-z]{3,}/i.test(own[key] as string));
    expect(same.length, same.join(', ')).toBeLessThan(12);
  });
});

describe('texts in the code', () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((one) => one.endsWith('.svelte'));

  /** What is a name everywhere, or no word of a language. */
  const ALLOWED = /^(Pulsewire|Esc|latitude|longitude|lat|lon|lng)$/;

  /** Addresses and examples of what is typed, the same in every language. */
  const SYNTAX = /[=:/_]/;

  it('has no hard-coded text in any page', async () => {
    const { parse } = await import(join(SOURCE, '../node_modules/svelte/src/compiler/index.js'));
    const found: string[] = [];
    const words = (text: string) => text.split(/[\s{}]+/).filter((word) => /\p{L}{2,}/u.test(word) && !ALLOWED.test(word) && !SYNTAX.test(word));
    for (const file of files) {
      const code = readFileSync(join(SOURCE, file), 'utf8');
      const walk = (node: unknown): void => {
        if (Array.isArray(node)) return node.forEach(walk);
        if (typeof node !== 'object' || node === null) return;
        const { type, data, name, value } = node as { type?: string; data?: string; name?: string; value?: unknown };
        if (type === 'Text' && typeof data === 'string' && words(data).length > 0) found.push(`${file}: ${data.trim()}`);
        if (type === 'Attribute') {
          // Of attributes only those that are read or heard.
          if (['aria-label', 'title', 'placeholder', 'alt', 'aria-description'].includes(name ?? '')) walk(value);
          return;
        }
        if (type === 'StyleSheet' || type === 'Script' || type === 'StyleDirective') return;
        for (const [key, child] of Object.entries(node)) if (key !== 'parent') walk(child);
      };
      walk((parse(code, { modern: true }) as { fragment: unknown }).fragment);
    }
    expect(found).toEqual([]);
  }, 60_000);

  it('asks for no text that there is none of', () => {
    const all = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((one) => /\.(svelte|ts)$/.test(one));
    const missing: string[] = [];
    for (const file of all) {
      for (const [, key] of readFileSync(join(SOURCE, file), 'utf8').matchAll(/\bt\('([\w.<>=!~]+)'/g)) if (!((key as string) in en)) missing.push(`${file}: ${key}`);
    }
    expect(missing).toEqual([]);
  });
});
