/**
 * One chart on the screen: its canvas, and above it the cursor and the selection, which are elements so that moving them
 * draws nothing anew.
 *
 * Our own, since the page's scripts have a budget in which a charting library would take a quarter, and because what costs
 * time is the raster of lines, which is the same for all.
 */

import { listen } from './gestures';
import { Line } from './line';
import { type Marks, NO_MARKS } from './marks';
import { type Box, type Colors, colorsOf, inRows, type Kind, paint, type Scene, type Stroke, SERIES_COLORS, TOP } from './paint';
import type { Member, Together } from './together';
import type { Span } from './time';
import './plot.css';

/** What the lines have at one time. */
export interface Cursor {
  /** Seconds. */
  time: number;
  /** By line; null = nothing there. */
  values: (number | null)[];
}

export interface PlotOptions {
  kind: Kind;
  /** With whom it shares its cursor. */
  group: Together;
  /** False: what it shows cannot be changed by a gesture. */
  zoomable: boolean;
  /** The newest time that there can be, in seconds. */
  end: () => number;
  /** The cursor moved; null = it left. */
  oncursor: (cursor: Cursor | null) => void;
  /** A gesture asks for another time, in seconds. */
  onshow: (from: number, to: number) => void;
  onlive: () => void;
  /** A gesture moves the picture: all charts of the group are to be drawn anew. */
  onpreview: () => void;
}

export class Plot implements Member {
  readonly #options: PlotOptions;
  readonly colors: Colors;
  readonly #root = document.createElement('div');
  readonly #canvas = document.createElement('canvas');
  readonly #context = this.#canvas.getContext('2d') as CanvasRenderingContext2D;
  readonly #hair = document.createElement('i');
  readonly #selection = document.createElement('s');
  readonly #breakOff: () => void;
  #dots: HTMLElement[] = [];
  #size = { width: 1, height: 1 };
  #box: Box = { left: 0, width: 1, height: 1, low: 0, high: 1 };
  #span: Span = [0, 1];
  strokes: Stroke[] = [];
  /** Where the pointer is, as a part of the width, which stays while the picture moves; or the time that the keyboard chose. */
  #at: { part: number } | { time: number } | null = null;
  /** Shown with the next `draw`. */
  marks: Marks = NO_MARKS;

  constructor(host: HTMLElement, options: PlotOptions) {
    this.#options = options;
    this.colors = colorsOf(host);
    this.#root.className = options.zoomable ? 'pw-plot zoomable' : 'pw-plot';
    this.#root.append(this.#canvas, this.#selection, this.#hair);
    host.append(this.#root);
    this.#selection.hidden = true;
    this.#hair.hidden = true;
    options.group.members.add(this);
    this.#breakOff = listen(
      {
        element: this.#canvas,
        box: () => this.#box,
        span: () => this.#span,
        end: options.end,
        hover: (part) => options.group.point(part === null ? null : { part }),
        select: (from, to) => this.#select(from, to),
        deselect: () => {
          this.#selection.hidden = true;
        },
        preview: (span) => {
          options.group.preview = span;
          if (this.#root.isConnected) options.onpreview();
        },
        show: ([from, to]) => options.onshow(from, to),
        live: options.onlive,
      },
      options.zoomable,
    );
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

  /** One line for each, with its points in `strokes[…].line` filled before `draw`. */
  setStrokes(strokes: Stroke[]): void {
    this.strokes = strokes;
    for (const dot of this.#dots) dot.remove();
    this.#dots = strokes.map(({ color }) => {
      const dot = document.createElement('b');
      dot.style.background = this.colors.series[color % SERIES_COLORS] as string;
      dot.hidden = true;
      return dot;
    });
    this.#root.append(...this.#dots);
  }

  /** Draws what the lines have between two times in seconds. */
  draw(from: number, to: number): void {
    this.#span = [from, to];
    this.#box = paint(this.#context, this.scene(this.#size.width, this.#size.height, devicePixelRatio));
    // The picture moved on below the pointer.
    if (this.#at !== null) this.point(this.#at);
  }

  /** What is drawn, for a picture of another size. */
  scene(width: number, height: number, scale: number): Scene {
    const [from, to] = this.#span;
    return { width, height, scale, from, to, kind: this.#options.kind, strokes: this.strokes, marks: this.marks, colors: this.colors };
  }

  get span(): Span {
    return this.#span;
  }

  /** Moves the cursor by so many points, for the keyboard; the others of its group follow in time. */
  moveCursor(by: number): void {
    const leader = this.strokes.reduce<Line | null>((most, { line }) => (line.length > (most?.length ?? 0) ? line : most), null);
    if (leader === null || leader.last < 0) return;
    const time = this.#at === null ? null : 'time' in this.#at ? this.#at.time : this.#timeAt(this.#at.part);
    let at = time === null ? leader.last : leader.nearest(time);
    if (time !== null || Math.abs(by) > 1) {
      at = Math.min(leader.length - 1, Math.max(0, at + by));
      const way = Math.sign(by);
      // Gaps have no value to tell.
      while (Number.isNaN(leader.y[at]) && at + way >= 0 && at + way < leader.length) at += way;
    }
    const [from, to] = this.#span;
    this.#options.group.point({ time: Math.min(to, Math.max(from, leader.x[at] as number)) });
  }

  hideCursor(): void {
    this.#options.group.point(null);
  }

  destroy(): void {
    this.#options.group.members.delete(this);
    this.#root.remove();
    // Else the others of its group would show for good what its gesture did.
    this.#breakOff();
  }

  point(at: { part: number } | { time: number } | null): void {
    this.#at = at;
    if (at === null) {
      this.#hair.hidden = true;
      for (const dot of this.#dots) dot.hidden = true;
      this.#options.oncursor(null);
      return;
    }
    const wanted = 'time' in at ? at.time : this.#timeAt(at.part);
    const [from, to] = this.#span;
    const indexes = this.strokes.map(({ line }) => this.#valueAt(line, wanted));
    // The hair stands at the nearest point of all, so that a lone line is read exactly.
    let time = wanted;
    let apart = Number.POSITIVE_INFINITY;
    for (const [order, index] of indexes.entries()) {
      const there = this.strokes[order]?.line.x[index];
      if (index < 0 || there === undefined || there < from || there > to) continue;
      if (Math.abs(there - wanted) < apart && this.#options.kind !== 'text') {
        apart = Math.abs(there - wanted);
        time = there;
      }
    }
    this.#hair.hidden = false;
    this.#hair.style.transform = `translateX(${Math.round(this.#x(time))}px)`;
    this.#hair.style.height = `${this.#box.height}px`;
    const values = indexes.map((index, order) => (index < 0 ? null : (this.strokes[order]?.line.y[index] ?? null)));
    const rows = inRows({ kind: this.#options.kind, strokes: this.strokes });
    for (const [order, dot] of this.#dots.entries()) {
      const index = indexes[order] ?? -1;
      const value = values[order] ?? null;
      dot.hidden = value === null || rows;
      if (value !== null) dot.style.transform = `translate(${this.#x(this.strokes[order]?.line.x[index] ?? time) - 3}px, ${this.#y(value) - 3}px)`;
    }
    this.#options.oncursor({ time, values });
  }

  /** Which point of a line tells what was at a time; -1 when none does. */
  #valueAt(line: Line, time: number): number {
    if (this.#options.kind === 'text') {
      const at = line.x[line.lowerBound(time)] === time ? line.lowerBound(time) : line.lowerBound(time) - 1;
      return at >= 0 && !Number.isNaN(line.y[at]) ? at : -1;
    }
    const at = line.nearest(time);
    if (at < 0) return -1;
    const away = Math.abs((line.x[at] as number) - time);
    const [from, to] = this.#span;
    // As far away as two of its values usually are, or so near that one means it.
    return away <= Math.max(line.joinS, ((to - from) / this.#box.width) * 24) ? at : -1;
  }

  #x(time: number): number {
    const [from, to] = this.#span;
    return this.#box.left + ((time - from) / (to - from)) * this.#box.width;
  }

  #timeAt(part: number): number {
    const [from, to] = this.#span;
    return from + part * (to - from);
  }

  #y(value: number): number {
    const { low, high, height } = this.#box;
    return TOP + ((high - value) / (high - low)) * height;
  }

  #select(from: number, to: number): void {
    this.#selection.hidden = false;
    this.#selection.style.transform = `translateX(${from}px)`;
    this.#selection.style.width = `${to - from}px`;
    this.#selection.style.height = `${this.#box.height}px`;
  }
}
