/**
 * Draws one chart: lines with gaps, bands between smallest and largest, states, axes, thresholds, spans of alerts. On any
 * canvas, so that a picture to keep is drawn by the same lines as the one on the screen.
 */

import { formatValue, LOCALE, t, TIME_ZONE } from '../i18n';
import type { Severity } from '../live/frame';
import { timeTicks, valueRange, valueTicks } from './axes';
import type { Line } from './line';
import { bandsWithin, type Marks, withThresholds } from './marks';
import { MIXED } from './points';

export type Kind = 'number' | 'bool' | 'text';

export interface Stroke {
  readonly line: Line;
  /** 0–15; its colour and its dashes are told by it. */
  readonly color: number;
  /** What was, beside what is. */
  readonly compared: boolean;
  /** Of a text metric. */
  words: readonly string[];
  /** Stands above its row, where rows stand below each other. */
  readonly name: string;
}

export interface Scene {
  width: number;
  height: number;
  /** Pixels of the canvas per pixel of the page. */
  scale: number;
  from: number;
  to: number;
  kind: Kind;
  strokes: readonly Stroke[];
  marks: Marks;
  colors: Colors;
}

/** Where the picture has its plot, and what its top and bottom stand for. */
export interface Box {
  left: number;
  width: number;
  height: number;
  low: number;
  high: number;
}

export interface Colors {
  series: string[];
  grid: string;
  text: string;
  ink: string;
  surface: string;
  severity: Record<Severity, string>;
}

export const SERIES_COLORS = 8;

/** Tokens are functions of the theme, so they are resolved on an element instead of read as text. */
export function colorsOf(host: HTMLElement): Colors {
  const probe = document.createElement('span');
  host.append(probe);
  const resolve = (token: string) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    series: Array.from({ length: SERIES_COLORS }, (_, index) => resolve(`series-${index + 1}`)),
    grid: resolve('line'),
    text: resolve('text-2'),
    ink: resolve('text'),
    surface: resolve('surface'),
    severity: { info: resolve('accent'), warning: resolve('warning'), critical: resolve('critical') },
  };
  probe.remove();
  return found;
}

const day = new Intl.DateTimeFormat(LOCALE, { month: 'short', day: 'numeric', timeZone: TIME_ZONE });
const minute = new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', timeZone: TIME_ZONE });
const second = new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone: TIME_ZONE });

function timeLabel(time: number, step: number): string {
  if (step >= 86_400) return day.format(time * 1000);
  return (step < 60 ? second : minute).format(time * 1000);
}

export const FONT = '11px system-ui, sans-serif';
export const TOP = 8;
const RIGHT = 8;
const BOTTOM = 24;

/** Compared lines are dashed; of colours that come again, dotted. */
export function dashOf({ color, compared }: Pick<Stroke, 'color' | 'compared'>): number[] {
  return compared ? [6, 4] : color >= SERIES_COLORS ? [2, 3] : [];
}

/** Texts, and several switches: steps above each other could not be told apart. */
export function inRows({ kind, strokes }: { kind: Kind; strokes: readonly unknown[] }): boolean {
  return kind === 'text' || (kind === 'bool' && strokes.length > 1);
}

/** Millions and more with one letter, as long as that tells the labels of an axis apart. */
export function labelsOf(ticks: readonly number[]): string[] {
  const size = Math.max(...ticks.map(Math.abs));
  const power = Math.floor(Math.log10(size) / 3);
  const step = Math.abs((ticks[1] ?? 0) - (ticks[0] ?? 0));
  const letter = 'MGT'.charAt(power - 2);
  if (letter === '' || step * 1e5 < size) return ticks.map((value) => formatValue(value));
  return ticks.map((value) => (value === 0 ? '0' : `${formatValue(value / 1000 ** power)} ${letter}`));
}

export function paint(context: CanvasRenderingContext2D, scene: Scene): Box {
  const { width, height, scale, kind, colors } = scene;
  const rows = inRows(scene);
  const plotHeight = Math.max(1, height - TOP - BOTTOM);
  const [low, high] = reach(scene);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  const ticks = rows ? [] : kind === 'bool' ? [0, 1] : valueTicks(low, high, plotHeight);
  const labels = kind === 'bool' ? ticks.map((value) => t(value === 1 ? 'value.true' : 'value.false')) : labelsOf(ticks);
  const left = rows ? 12 : Math.ceil(Math.max(18, ...labels.map((text) => context.measureText(text).width))) + 12;
  const box = { left, width: Math.max(1, width - left - RIGHT), height: plotHeight, low, high };
  const painter = new Painter(context, scene, box);
  painter.bands();
  painter.axes(ticks, labels);
  context.save();
  context.beginPath();
  context.rect(left, TOP - 1, box.width, box.height + 2);
  context.clip();
  if (rows) painter.states();
  else {
    for (const stroke of scene.strokes) painter.line(stroke);
    painter.thresholds();
  }
  context.restore();
  context.fillStyle = colors.text;
  return box;
}

/** Low and high end of the value axis. */
function reach({ kind, strokes, marks }: Scene): [number, number] {
  if (kind !== 'number') return [-0.1, 1.1];
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const { line } of strokes) {
    for (const values of line.banded ? [line.low, line.high] : [line.y]) {
      for (let index = 0; index < line.length; index += 1) {
        const value = values[index] as number;
        if (value < min) min = value;
        if (value > max) max = value;
      }
    }
  }
  if (min > max) return [0, 1];
  // A flat line has no height by which a threshold could be near.
  const [low, high] = min === max ? valueRange(min, max) : [min, max];
  const [lowest, highest] = withThresholds(low, high, marks);
  return lowest === low && highest === high ? valueRange(min, max) : valueRange(Math.min(min, lowest), Math.max(max, highest));
}

class Painter {
  readonly #context: CanvasRenderingContext2D;
  readonly #scene: Scene;
  readonly #box: Box;

  constructor(context: CanvasRenderingContext2D, scene: Scene, box: Box) {
    this.#context = context;
    this.#scene = scene;
    this.#box = box;
  }

  #x(time: number): number {
    const { from, to } = this.#scene;
    return this.#box.left + ((time - from) / (to - from)) * this.#box.width;
  }

  #y(value: number): number {
    const { low, high, height } = this.#box;
    return TOP + ((high - value) / (high - low)) * height;
  }

  axes(ticks: readonly number[], labels: readonly string[]): void {
    const context = this.#context;
    const { left, width, height } = this.#box;
    const { from, to, colors } = this.#scene;
    context.beginPath();
    context.fillStyle = colors.text;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const [index, value] of ticks.entries()) {
      const y = Math.round(this.#y(value)) + 0.5;
      context.moveTo(left, y);
      context.lineTo(left + width, y);
      context.fillText(labels[index] ?? '', left - 6, y);
    }
    // As wide as a label in this language: "04:54" or "04:54 AM"; with seconds where a minute is wide.
    const ticksFor = (unit: number) => timeTicks(from, to, width, 16 + context.measureText(timeLabel(from, unit)).width, TIME_ZONE === 'UTC');
    const some = ticksFor(60);
    const { at, step } = some.step < 60 ? ticksFor(1) : some;
    context.textAlign = 'center';
    for (const time of at) {
      const x = Math.round(this.#x(time)) + 0.5;
      context.moveTo(x, TOP);
      context.lineTo(x, TOP + height);
      const text = timeLabel(time, step);
      // Half of a label at the edge would be cut off.
      if (x + context.measureText(text).width / 2 <= this.#scene.width) context.fillText(text, x, TOP + height + 14);
    }
    context.strokeStyle = colors.grid;
    context.lineWidth = 1;
    context.stroke();
  }

  line(stroke: Stroke): void {
    const context = this.#context;
    const { line } = stroke;
    const { x, y, length } = line;
    const color = this.#scene.colors.series[stroke.color % SERIES_COLORS] as string;
    // The bands of many lines would hide each other.
    if (line.banded && !stroke.compared && this.#scene.strokes.length <= 4) this.#fillBetween(line, color);
    const steps = this.#scene.kind === 'bool';
    context.beginPath();
    let down = false;
    let lastY = 0;
    for (let index = 0; index < length; index += 1) {
      const value = y[index] as number;
      if (Number.isNaN(value)) {
        down = false;
        continue;
      }
      const atX = this.#x(x[index] as number);
      const atY = this.#y(value);
      if (!down) context.moveTo(atX, atY);
      else {
        if (steps) context.lineTo(atX, lastY);
        context.lineTo(atX, atY);
      }
      down = true;
      lastY = atY;
    }
    context.strokeStyle = color;
    context.lineJoin = 'bevel';
    // Wider lines cost three times the raster time, which is most of what a live chart costs.
    context.lineWidth = 1;
    context.setLineDash(dashOf(stroke));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = color;
    // A point without a neighbour on either side: a line through it would show nothing.
    for (let index = 0; index < length; index += 1) {
      if (Number.isNaN(y[index]) || (index > 0 && !Number.isNaN(y[index - 1])) || (index + 1 < length && !Number.isNaN(y[index + 1]))) continue;
      context.fillRect(this.#x(x[index] as number) - 2, this.#y(y[index] as number) - 2, 4, 4);
    }
  }

  /** Piece by piece: a gap is a gap here too. */
  #fillBetween({ x, y, low, high, length }: Line, color: string): void {
    const context = this.#context;
    context.globalAlpha = 0.16;
    context.fillStyle = color;
    for (let start = 0; start < length; start += 1) {
      let end = start;
      while (end < length && !Number.isNaN(y[end])) end += 1;
      if (end > start + 1) {
        context.beginPath();
        for (let index = start; index < end; index += 1) context.lineTo(this.#x(x[index] as number), this.#y(high[index] as number));
        for (let index = end - 1; index >= start; index -= 1) context.lineTo(this.#x(x[index] as number), this.#y(low[index] as number));
        context.fill();
      }
      start = end;
    }
    context.globalAlpha = 1;
  }

  /** One row per line: each state tinted in a colour of its own, with its word where there is room; of a switch, where it is on. */
  states(): void {
    const context = this.#context;
    const { left, width, height } = this.#box;
    const { strokes, colors, kind, to } = this.#scene;
    const row = height / Math.max(1, strokes.length);
    const head = strokes.length > 1 ? 14 : 0;
    context.textAlign = 'left';
    context.textBaseline = 'middle';
    for (const [order, { line, words, name, color }] of strokes.entries()) {
      const top = TOP + order * row + head;
      const tall = Math.max(2, Math.min(40, row - head - 3));
      if (head > 0) {
        context.fillStyle = colors.text;
        context.fillText(name.slice(0, 80), left + 2, top - 7);
      }
      for (let index = 0; index < line.length; index += 1) {
        const word = line.y[index] as number;
        if (Number.isNaN(word)) continue;
        const start = Math.max(left, this.#x(line.x[index] as number));
        const end = Math.min(left + width, this.#x(index + 1 < line.length ? (line.x[index + 1] as number) : Math.min(to, (line.x[index] as number) + line.joinS)));
        if (end <= start) continue;
        if (kind === 'bool') {
          context.fillStyle = colors.series[color % SERIES_COLORS] as string;
          // Of a bucket, how much of it.
          context.globalAlpha = 0.08 + 0.62 * Math.min(1, Math.max(0, word));
          context.fillRect(start, top, Math.max(1, end - start), tall);
          context.globalAlpha = 1;
          continue;
        }
        context.fillStyle = word === MIXED ? colors.text : (colors.series[word % SERIES_COLORS] as string);
        context.globalAlpha = 0.24;
        context.fillRect(start, top, Math.max(1, end - start), tall);
        context.globalAlpha = 1;
        context.fillRect(start, top, Math.min(2, Math.max(1, end - start)), tall);
        const text = words[word] ?? '';
        if (word === MIXED || end - start < 24 || text === '') continue;
        context.save();
        context.beginPath();
        context.rect(start, top, end - start - 4, tall);
        context.clip();
        context.fillStyle = colors.ink;
        // Longer than any chart is wide; measuring a novel takes its time.
        context.fillText(text.slice(0, 120), start + 6, top + tall / 2);
        context.restore();
      }
    }
  }

  /** Behind the lines: where an alert fired, tinted, with a bar at the top that a tint alone would not be. */
  bands(): void {
    const context = this.#context;
    const { left, width, height } = this.#box;
    const { marks, from, to, colors } = this.#scene;
    for (const band of bandsWithin(marks.bands, from, to)) {
      const start = Math.max(left, this.#x(band.from));
      const end = band.to === null ? left + width : Math.min(left + width, this.#x(band.to));
      context.fillStyle = colors.severity[band.severity];
      context.globalAlpha = 0.13;
      // Where nothing came there is nothing to see: hatched instead of tinted.
      if (band.kind === 'no_data') this.#hatch(start, Math.max(1, end - start), height);
      else context.fillRect(start, TOP, Math.max(1, end - start), height);
      context.globalAlpha = 1;
      context.fillRect(start, TOP, Math.max(1, end - start), 3);
    }
  }

  #hatch(left: number, width: number, height: number): void {
    const context = this.#context;
    for (let x = left; x < left + width; x += 6) context.fillRect(x, TOP, Math.min(3, left + width - x), height);
  }

  thresholds(): void {
    const context = this.#context;
    const { left, width } = this.#box;
    const { marks, colors } = this.#scene;
    context.textAlign = 'left';
    context.textBaseline = 'alphabetic';
    for (const { value, severity, comparison } of marks.thresholds) {
      const y = Math.round(this.#y(value)) + 0.5;
      context.strokeStyle = colors.severity[severity];
      context.lineWidth = 1;
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(left + width, y);
      context.stroke();
      context.setLineDash([]);
      // An edge in the colour of the ground keeps the label readable over the line of values.
      const text = `${comparison} ${formatValue(value)}`;
      context.strokeStyle = colors.surface;
      context.lineWidth = 3;
      context.strokeText(text, left + 4, y - 4);
      context.fillStyle = colors.severity[severity];
      context.fillText(text, left + 4, y - 4);
    }
  }
}
