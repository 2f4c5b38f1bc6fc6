/**
 * Draws one chart on a canvas: a line with gaps, the band between smallest and largest, axes, thresholds, spans of alerts.
 *
 * Our own, since the page's scripts have a budget in which a charting library would take a quarter, and because what costs
 * time is the raster of lines, which is the same for all. The cursor and the selection are elements above the canvas: moving
 * them draws nothing anew.
 */

import { formatValue, t } from '../i18n';
import type { Severity } from '../live/frame';
import { timeTicks, valueRange, valueTicks } from './axes';
import { bandsWithin, type Marks, NO_MARKS, withThresholds } from './marks';
import { isolated, type Points } from './points';
import './plot.css';

/** The tooltip's values: time in seconds, and what the line has there. */
export interface CursorValue {
  time: number;
  value: number | null;
}

export interface PlotOptions {
  width: number;
  height: number;
  /** 1–4, a colour of the tokens. */
  color: number;
  bool: boolean;
  /** Charts with one key share their cursor; null = none. */
  sync: string | null;
  /** The cursor moved; null = it left. */
  oncursor: (value: CursorValue | null) => void;
  /** A stretch was selected by dragging, seconds. */
  onzoom: ((from: number, to: number) => void) | null;
}

const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const second = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

function timeLabel(time: number, step: number): string {
  if (step >= 86_400) return day.format(time * 1000);
  return (step < 60 ? second : minute).format(time * 1000);
}

const FONT = '11px system-ui, sans-serif';
const TOP = 8;
const RIGHT = 8;
const BOTTOM = 24;
/** A drag shorter than this is a click. */
const DRAG_MIN = 8;

type Line = readonly (number | null)[];

interface Colors {
  line: string;
  grid: string;
  text: string;
  surface: string;
  severity: Record<Severity, string>;
}

/** Tokens are functions of the theme, so they are resolved on an element instead of read as text. */
function colors(host: HTMLElement, series: number): Colors {
  const probe = document.createElement('span');
  host.append(probe);
  const resolve = (token: string) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    line: resolve(`series-${series}`),
    grid: resolve('line'),
    text: resolve('text-2'),
    surface: resolve('surface'),
    severity: { info: resolve('accent'), warning: resolve('warning'), critical: resolve('critical') },
  };
  probe.remove();
  return found;
}

/** Charts that share a cursor. */
const groups = new Map<string, Set<Plot>>();

export class Plot {
  readonly lines: number;
  readonly #options: PlotOptions;
  readonly #colors: Colors;
  readonly #root = document.createElement('div');
  readonly #canvas = document.createElement('canvas');
  readonly #context = this.#canvas.getContext('2d') as CanvasRenderingContext2D;
  readonly #hair = document.createElement('i');
  readonly #dot = document.createElement('b');
  readonly #selection = document.createElement('s');
  #size = { width: 1, height: 1 };
  #box = { left: 0, width: 1, height: 1 };
  #points: Points = { x: [], lines: [] };
  #span: [number, number] = [0, 1];
  #range: [number, number] = [0, 1];
  /** Where the pointer is, which stays while the picture moves; or the point that the keyboard chose. */
  #pointer: number | null = null;
  #index: number | null = null;
  #dragFrom: number | null = null;
  /** Shown with the next `draw`. */
  marks: Marks = NO_MARKS;

  /** `lines`: 1, or 3 for average, minimum and maximum, of which the last two become a band. */
  constructor(host: HTMLElement, lines: number, options: PlotOptions) {
    this.lines = lines;
    this.#options = options;
    this.#colors = colors(host, options.color);
    this.#root.className = 'pw-plot';
    this.#dot.style.background = this.#colors.line;
    this.#root.append(this.#canvas, this.#selection, this.#hair, this.#dot);
    host.append(this.#root);
    this.resize(options.width, options.height);
    this.#selection.hidden = true;
    this.hideCursor();
    this.#canvas.addEventListener('pointermove', (event) => this.#moved(event));
    this.#canvas.addEventListener('pointerdown', (event) => this.#pressed(event));
    this.#canvas.addEventListener('pointerup', (event) => this.#released(event));
    this.#canvas.addEventListener('pointercancel', () => this.#endDrag());
    this.#canvas.addEventListener('pointerleave', () => {
      if (this.#dragFrom === null) this.#together((plot) => plot.hideCursor());
    });
    if (options.sync !== null) groups.set(options.sync, (groups.get(options.sync) ?? new Set<Plot>()).add(this));
  }

  /** Pixels that points may use. */
  get width(): number {
    return this.#box.width;
  }

  resize(width: number, height: number): void {
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * devicePixelRatio);
    this.#canvas.height = Math.round(height * devicePixelRatio);
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
  }

  /** Draws points between two times in seconds. */
  draw(points: Points, from: number, to: number): void {
    this.#points = points;
    this.#span = [from, to];
    this.#range = this.#reach();
    const context = this.#context;
    const { width, height } = this.#size;
    const plotHeight = height - TOP - BOTTOM;
    const ticks = this.#options.bool ? [0, 1] : valueTicks(...this.#range, plotHeight);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    const label = (value: number) => (this.#options.bool ? t(value === 1 ? 'value.true' : 'value.false') : formatValue(value));
    const labels = ticks.map(label);
    const left = Math.ceil(Math.max(18, ...labels.map((text) => context.measureText(text).width))) + 12;
    this.#box = { left, width: Math.max(1, width - left - RIGHT), height: Math.max(1, plotHeight) };

    this.#drawBands();
    this.#drawAxes(ticks, labels);
    context.save();
    context.beginPath();
    context.rect(left, TOP - 1, this.#box.width, this.#box.height + 2);
    context.clip();
    this.#drawLines();
    this.#drawThresholds();
    context.restore();
    // The picture moved on below the pointer.
    if (this.#pointer !== null) this.#show(this.#nearest(this.#time(this.#pointer)));
    else if (this.#index !== null) this.#show(this.#index);
  }

  /** Moves the cursor by so many points, for the keyboard. */
  moveCursor(by: number): void {
    const { x, lines } = this.#points;
    if (x.length === 0) return;
    const start = this.#index ?? x.length - 1;
    let index = Math.min(x.length - 1, Math.max(0, start + by));
    // Gaps have no value to tell.
    while (lines[0]?.[index] == null && index + Math.sign(by) >= 0 && index + Math.sign(by) < x.length) index += Math.sign(by);
    this.#pointer = null;
    this.#show(index);
  }

  hideCursor(): void {
    this.#pointer = null;
    this.#show(null);
  }

  destroy(): void {
    if (this.#options.sync !== null) groups.get(this.#options.sync)?.delete(this);
    this.#root.remove();
  }

  #x(time: number): number {
    const [from, to] = this.#span;
    return this.#box.left + ((time - from) / (to - from)) * this.#box.width;
  }

  #time(x: number): number {
    const [from, to] = this.#span;
    return from + ((x - this.#box.left) / this.#box.width) * (to - from);
  }

  #y(value: number): number {
    const [low, high] = this.#range;
    return TOP + ((high - value) / (high - low)) * this.#box.height;
  }

  /** Low and high end of the value axis. */
  #reach(): [number, number] {
    if (this.#options.bool) return [-0.1, 1.1];
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (const line of this.#points.lines) {
      for (const value of line) {
        if (value === null) continue;
        if (value < min) min = value;
        if (value > max) max = value;
      }
    }
    if (min > max) return [0, 1];
    // A flat line has no height by which a threshold could be near.
    const [low, high] = min === max ? valueRange(min, max) : [min, max];
    const [lowest, highest] = withThresholds(low, high, this.marks);
    return lowest === low && highest === high ? valueRange(min, max) : valueRange(Math.min(min, lowest), Math.max(max, highest));
  }

  #drawAxes(ticks: readonly number[], labels: readonly string[]): void {
    const context = this.#context;
    const { left, width, height } = this.#box;
    const [from, to] = this.#span;
    context.beginPath();
    context.fillStyle = this.#colors.text;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const [index, value] of ticks.entries()) {
      const y = Math.round(this.#y(value)) + 0.5;
      context.moveTo(left, y);
      context.lineTo(left + width, y);
      context.fillText(labels[index] ?? '', left - 6, y);
    }
    // As wide as a label in this language: "04:54" or "04:54 AM"; with seconds where a minute is wide.
    const room = 16 + context.measureText(timeLabel(from, to - from < width / 2 ? 1 : 60)).width;
    const { at, step } = timeTicks(from, to, width, room);
    context.textAlign = 'center';
    for (const time of at) {
      const x = Math.round(this.#x(time)) + 0.5;
      context.moveTo(x, TOP);
      context.lineTo(x, TOP + height);
      const text = timeLabel(time, step);
      // Half of a label at the edge would be cut off.
      if (x + context.measureText(text).width / 2 <= this.#size.width) context.fillText(text, x, TOP + height + 14);
    }
    context.strokeStyle = this.#colors.grid;
    context.lineWidth = 1;
    context.stroke();
  }

  #drawLines(): void {
    const context = this.#context;
    const [line = [], low, high] = this.#points.lines;
    if (low !== undefined && high !== undefined) this.#fillBetween(low, high);
    const { x } = this.#points;
    context.beginPath();
    let down = false;
    let lastY = 0;
    for (const [index, value] of line.entries()) {
      if (value === null) {
        down = false;
        continue;
      }
      const atX = this.#x(x[index] as number);
      const atY = this.#y(value);
      if (!down) context.moveTo(atX, atY);
      else {
        if (this.#options.bool) context.lineTo(atX, lastY);
        context.lineTo(atX, atY);
      }
      down = true;
      lastY = atY;
    }
    context.strokeStyle = this.#colors.line;
    context.lineJoin = 'bevel';
    // Wider lines cost three times the raster time, which is most of what a live chart costs.
    context.lineWidth = 1;
    context.stroke();
    context.fillStyle = this.#colors.line;
    for (const index of isolated(line)) {
      context.fillRect(this.#x(x[index] as number) - 2, this.#y(line[index] as number) - 2, 4, 4);
    }
  }

  /** Piece by piece: a gap is a gap here too. */
  #fillBetween(low: Line, high: Line): void {
    const context = this.#context;
    const { x } = this.#points;
    context.globalAlpha = 0.16;
    context.fillStyle = this.#colors.line;
    for (let start = 0; start < x.length; start += 1) {
      let end = start;
      while (end < x.length && low[end] != null && high[end] != null) end += 1;
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

  /** Behind the lines: where an alert fired, tinted, with a bar at the top that a tint alone would not be. */
  #drawBands(): void {
    const context = this.#context;
    const { left, width, height } = this.#box;
    for (const band of bandsWithin(this.marks.bands, ...this.#span)) {
      const start = Math.max(left, this.#x(band.from));
      const end = band.to === null ? left + width : Math.min(left + width, this.#x(band.to));
      context.fillStyle = this.#colors.severity[band.severity];
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

  #drawThresholds(): void {
    const context = this.#context;
    const { left, width } = this.#box;
    context.textAlign = 'left';
    context.textBaseline = 'alphabetic';
    for (const { value, severity, comparison } of this.marks.thresholds) {
      const y = Math.round(this.#y(value)) + 0.5;
      context.strokeStyle = this.#colors.severity[severity];
      context.lineWidth = 1;
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(left + width, y);
      context.stroke();
      context.setLineDash([]);
      // An edge in the colour of the ground keeps the label readable over the line of values.
      const text = `${comparison} ${formatValue(value)}`;
      context.strokeStyle = this.#colors.surface;
      context.lineWidth = 3;
      context.strokeText(text, left + 4, y - 4);
      context.fillStyle = this.#colors.severity[severity];
      context.fillText(text, left + 4, y - 4);
    }
  }

  /** The point next to a time; null when there is none. */
  #nearest(time: number): number | null {
    const { x } = this.#points;
    if (x.length === 0) return null;
    let low = 0;
    let high = x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((x[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    return low > 0 && time - (x[low - 1] as number) < (x[low] as number) - time ? low - 1 : low;
  }

  #show(index: number | null): void {
    this.#index = index;
    const time = index === null ? undefined : this.#points.x[index];
    if (index === null || time === undefined) {
      this.#hair.hidden = true;
      this.#dot.hidden = true;
      this.#options.oncursor(null);
      return;
    }
    const value = this.#points.lines[0]?.[index] ?? null;
    this.#hair.hidden = false;
    this.#hair.style.transform = `translateX(${Math.round(this.#x(time))}px)`;
    this.#hair.style.height = `${this.#box.height}px`;
    this.#dot.hidden = value === null;
    if (value !== null) this.#dot.style.transform = `translate(${this.#x(time) - 3}px, ${this.#y(value) - 3}px)`;
    this.#options.oncursor({ time, value });
  }

  #together(act: (plot: Plot) => void): void {
    const group = this.#options.sync === null ? undefined : groups.get(this.#options.sync);
    for (const plot of group ?? [this]) act(plot);
  }

  #moved(event: PointerEvent): void {
    const x = Math.min(this.#box.left + this.#box.width, Math.max(this.#box.left, event.offsetX));
    // Others may have wider labels: they share the time and not the pixel.
    const part = (x - this.#box.left) / this.#box.width;
    this.#together((plot) => {
      plot.#pointer = plot.#box.left + part * plot.#box.width;
      plot.#show(plot.#nearest(plot.#time(plot.#pointer)));
    });
    if (this.#dragFrom === null) return;
    this.#selection.hidden = false;
    this.#selection.style.transform = `translateX(${Math.min(x, this.#dragFrom)}px)`;
    this.#selection.style.width = `${Math.abs(x - this.#dragFrom)}px`;
    this.#selection.style.height = `${this.#box.height}px`;
  }

  #pressed(event: PointerEvent): void {
    if (this.#options.onzoom === null || event.button !== 0 || event.offsetX < this.#box.left) return;
    this.#dragFrom = event.offsetX;
    this.#canvas.setPointerCapture(event.pointerId);
  }

  #released(event: PointerEvent): void {
    const from = this.#dragFrom;
    this.#endDrag();
    const to = Math.min(this.#box.left + this.#box.width, Math.max(this.#box.left, event.offsetX));
    if (from === null || Math.abs(to - from) < DRAG_MIN) return;
    this.#options.onzoom?.(this.#time(Math.min(from, to)), this.#time(Math.max(from, to)));
  }

  #endDrag(): void {
    this.#dragFrom = null;
    this.#selection.hidden = true;
  }
}
