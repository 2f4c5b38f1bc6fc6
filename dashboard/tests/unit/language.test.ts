import { describe, expect, it } from 'vitest';
import { chooseLanguage, chooseLocale, direction } from '../../web/src/i18n/language';

describe('language', () => {
  it('is the choice, else the first wish that there are texts for, else English', () => {
    expect(chooseLanguage('en', ['fr'])).toBe('en');
    expect(chooseLanguage(null, ['fr-CA', 'de-AT', 'en-GB'])).toBe('de');
    expect(chooseLanguage('de', ['en-GB'])).toBe('de');
    expect(chooseLanguage('klingon', ['fr'])).toBe('en');
    expect(chooseLanguage(null, [])).toBe('en');
  });

  it('leaves numbers and dates to the browser until a language is chosen', () => {
    expect(chooseLocale(null, ['fr-CA'])).toBeUndefined();
    expect(chooseLocale('en', ['fr', 'en-GB'])).toBe('en-GB');
    expect(chooseLocale('de', ['en-GB', 'de-CH'])).toBe('de-CH');
    expect(chooseLocale('en', ['fr'])).toBe('en');
  });

  it('knows which way it is read', () => {
    expect(direction('en')).toBe('ltr');
    expect(direction('ar')).toBe('rtl');
  });
});
