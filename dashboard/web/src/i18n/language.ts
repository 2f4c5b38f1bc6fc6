/** Which language and which time zone the page speaks; chosen in the settings, else as the browser wishes. */

/** Languages with a catalogue of their own beside this file. */
export const LANGUAGES = ['en', 'de'] as const;
export type Language = (typeof LANGUAGES)[number];

const RIGHT_TO_LEFT = ['ar', 'fa', 'he', 'ur', 'yi', 'ps', 'sd', 'ug', 'dv'];

function known(tag: string): Language | null {
  const base = tag.toLowerCase().split('-')[0];
  return LANGUAGES.find((one) => one === base) ?? null;
}

/** The choice if there is one, else the first of the browser's wishes that there is a catalogue for. */
export function chooseLanguage(chosen: string | null, wishes: readonly string[]): Language {
  const own = chosen === null ? null : known(chosen);
  if (own !== null) return own;
  for (const wish of wishes) {
    const found = known(wish);
    if (found !== null) return found;
  }
  return 'en';
}

/**
 * How numbers and dates are written. Undefined: as the browser does. A language chosen by hand brings its own way, in the
 * browser's flavour of it (en-GB) if the browser has one.
 */
export function chooseLocale(chosen: string | null, wishes: readonly string[]): string | undefined {
  const own = chosen === null ? null : known(chosen);
  if (own === null) return undefined;
  return wishes.find((wish) => known(wish) === own) ?? own;
}

export function direction(language: string): 'ltr' | 'rtl' {
  return RIGHT_TO_LEFT.includes(language) ? 'rtl' : 'ltr';
}
