/** uPlot with our axes, colours and cursor. */

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { formatValue, t } from '../i18n';
import { isolated, type Points } from './points';

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

/** Seconds between two labels; uPlot's own list lacks 2 minutes, so five minutes had a single label. */
const INCREMENTS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
  1_209_600, 2_592_000, 7_776_000, 31_536_000,
];

function timeLabel(time: number, increment: number): string {
  if (increment >= 86_400) return day.format(time * 1000);
  return (increment < 60 ? second : minute).format(time * 1000);
}

/** Tokens are functions of the theme, so they are resolved on an element instead of read as text. */
function colors(host: HTMLElement, series: number): { line: string; band: string; grid: string; text: string } {
  const probe = document.createElement('span');
  host.append(probe);
  const resolve = (token: string) => {
    probe.style.color = `var(${token})`;
    return getComputedStyle(probe).color;
  };
  const line = resolve(`--series-${series}`);
  const found = { line, band: line.replace('rgb(', 'rgba(').replace(')', ', 0.16)'), grid: resolve('--line'), text: resolve('--text-2') };
  probe.remove();
  return found;
}

export class Plot {
  readonly #plot: uPlot;
  readonly #lines: number;
  #span: [number, number] = [0, 1];

  /** `lines`: 1, or 3 for average, minimum and maximum, of which the last two become a band. */
  constructor(host: HTMLElement, lines: number, options: PlotOptions) {
    this.#lines = lines;
    const color = colors(host, options.color);
    const stepped = options.bool ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    const font = '11px system-ui, sans-serif';
    const line: uPlot.Series = {
      stroke: color.line,
      // Wider lines cost three times the raster time, which is most of what a live chart costs.
      width: 1,
      spanGaps: false,
      points: {
        show: true,
        size: 4,
        fill: color.line,
        filter: (plot, series) => isolated(plot.data[series] ?? []),
      },
      ...(stepped ? { paths: stepped } : {}),
    };
    const edge: uPlot.Series = { stroke: 'transparent', width: 0, points: { show: false } };
    const drag = options.onzoom !== null;
    const axis = { stroke: color.text, font, grid: { stroke: color.grid, width: 1 }, ticks: { show: false } };

    this.#plot = new uPlot(
      {
        width: options.width,
        height: options.height,
        pxAlign: 1,
        legend: { show: false },
        padding: [8, 8, 0, 0],
        scales: {
          x: { time: true, range: () => this.#span },
          y: {
            range: (_plot, min, max) => {
              if (options.bool) return [-0.1, 1.1];
              if (min == null || max == null) return [0, 1];
              return min === max ? widened(min) : uPlot.rangeNum(min, max, 0.1, true);
            },
          },
        },
        axes: [
          {
            ...axis,
            size: 24,
            // As wide as a label in this language: "04:54" or "04:54 AM".
            space: 12 + 7 * timeLabel(0, 60).length,
            incrs: INCREMENTS,
            gap: 4,
            values: (plot, splits, _axis, _space, increment) => {
              // A label whose middle is this near to the right edge would be cut off.
              const last = plot.bbox.width / devicePixelRatio - 26;
              return splits.map((at) => (plot.valToPos(at, 'x') > last ? '' : timeLabel(at, increment)));
            },
          },
          {
            ...axis,
            size: (_plot, values) => 14 + 6.4 * Math.max(2, ...(values ?? []).map((text) => text.length)),
            space: 26,
            gap: 4,
            ...(options.bool ? { splits: () => [0, 1] } : {}),
            values: (_plot, splits) =>
              splits.map((at) =>
                options.bool ? t(at === 1 ? 'value.true' : 'value.false') : formatValue(Number(at.toPrecision(10))),
              ),
          },
        ],
        series: lines === 1 ? [{}, line] : [{}, line, edge, edge],
        ...(lines === 1 ? {} : { bands: [{ series: [3, 2], fill: color.band }] as uPlot.Band[] }),
        cursor: {
          y: false,
          points: { size: 6 },
          drag: { x: drag, y: false, setScale: false },
          ...(options.sync === null ? {} : { sync: { key: options.sync, setSeries: false } }),
        },
        hooks: {
          setCursor: [
            (plot) => {
              const index = plot.cursor.idx;
              const time = index == null ? undefined : plot.data[0][index];
              if (index == null || time === undefined) options.oncursor(null);
              else options.oncursor({ time, value: plot.data[1]?.[index] ?? null });
            },
          ],
          setSelect: [
            (plot) => {
              const { left, width } = plot.select;
              if (width < 8 || options.onzoom === null) return;
              options.onzoom(plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x'));
              plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
      },
      [[], ...Array.from({ length: lines }, () => [])],
      host,
    );
  }

  /** How many lines of points it can draw. */
  get lines(): number {
    return this.#lines;
  }

  /** Pixels that points may use. */
  get width(): number {
    return Math.max(1, this.#plot.bbox.width / devicePixelRatio);
  }

  /** Draws points between two times in seconds. */
  draw(points: Points, from: number, to: number): void {
    this.#span = [from, to];
    this.#plot.setData([points.x, ...points.lines] as uPlot.AlignedData, true);
  }

  resize(width: number, height: number): void {
    this.#plot.setSize({ width, height });
  }

  /** Moves the cursor by so many points, for the keyboard. */
  moveCursor(by: number): void {
    const x = this.#plot.data[0];
    if (x.length === 0) return;
    const from = this.#plot.cursor.idx ?? x.length - 1;
    let index = Math.min(x.length - 1, Math.max(0, from + by));
    // Gaps have no value to tell.
    while (this.#plot.data[1]?.[index] == null && index + by >= 0 && index + by < x.length) index += by;
    const time = x[index];
    if (time === undefined) return;
    const value = this.#plot.data[1]?.[index];
    const top = value == null ? 0 : this.#plot.valToPos(value, 'y');
    this.#plot.setCursor({ left: this.#plot.valToPos(time, 'x'), top }, true);
  }

  hideCursor(): void {
    this.#plot.setCursor({ left: -10, top: -10 }, true);
  }

  destroy(): void {
    this.#plot.destroy();
  }
}

/** A flat line needs some space around it: a twentieth of its value, or one. */
function widened(value: number): [number, number] {
  const margin = value === 0 ? 1 : Math.abs(value) * 0.05;
  return [value - margin, value + margin];
}
