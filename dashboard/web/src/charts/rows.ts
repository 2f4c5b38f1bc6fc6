/** What a chart shows as rows, for a table and for a file. */

import type { Shown } from './handle';
import { MIXED } from './points';
import type { Stroke } from './paint';

export interface Rows {
  /** Seconds since the Unix epoch; ascending. */
  times: number[];
  /** By line, one cell per time; null where the line has no value. */
  cells: (number | string | null)[][];
}

/** Of each line the points between two times; points of one time are one row. */
export function rowsOf(lines: readonly Shown[], strokes: readonly Stroke[], from: number, to: number): Rows {
  const places = new Set<number>();
  for (const { line } of strokes) {
    for (let index = 0; index < line.length; index += 1) {
      const time = line.x[index] as number;
      if (time >= from && time <= to && !Number.isNaN(line.y[index])) places.add(time);
    }
  }
  const times = [...places].sort((a, b) => a - b);
  const rowOf = new Map(times.map((time, row) => [time, row]));
  const cells = strokes.map(({ line, words }, order) => {
    const column: (number | string | null)[] = new Array(times.length).fill(null);
    for (let index = 0; index < line.length; index += 1) {
      const row = rowOf.get(line.x[index] as number);
      const value = line.y[index] as number;
      if (row === undefined || Number.isNaN(value)) continue;
      const type = lines[order]?.type;
      column[row] = type === 'f32' ? shortest(value) : type === 'text' ? (value === MIXED ? '…' : (words[value] ?? '')) : value;
    }
    return column;
  });
  return { times, cells };
}

/** An f32 as it was meant: 8.17 and not 8.170000076293945. An average of several is left as it is. */
export function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** RFC 4180. Texts come from devices: one that a spreadsheet would take for a formula gets an apostrophe. */
export function csvCell(cell: number | string | null): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** With a row of names first; times in RFC 3339. */
export function csvOf(names: readonly string[], { times, cells }: Rows): string {
  const lines = [['time', ...names].map(csvCell).join(',')];
  for (const [row, time] of times.entries()) {
    lines.push([new Date(time * 1000).toISOString(), ...cells.map((column) => csvCell(column[row] ?? null))].join(','));
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** A name for a file on any system. */
export function fileName(title: string, ending: string): string {
  const plain = title.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '');
  return `${plain.slice(0, 80) || 'chart'}.${ending}`;
}
