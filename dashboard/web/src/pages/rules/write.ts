/** Numbers and names as people type them and as expressions have them. */

/** Also with a decimal comma and with the minus sign of typographers. */
export function readNumber(text: string): number | null {
  const given = text.trim().replace(',', '.').replace('−', '-');
  const value = Number(given);
  return given === '' || !Number.isFinite(value) ? null : value;
}

const KEYWORDS = ['and', 'or', 'not', 'in', 'true', 'false'];

/** A metric's name as expressions have it: in backquotes unless it is a plain word. */
export function metricWord(name: string): string {
  const plain = /^[A-Za-z_][A-Za-z0-9_.:]*$/.test(name) && !KEYWORDS.includes(name);
  return plain ? name : `\`${name.replaceAll('`', '``')}\``;
}
