/** A chart as a picture to keep: title, time, plot and legend in the colours of the page. */

import { formatDateTime } from '../i18n';
import type { ChartHandle } from './handle';
import { dashOf, paint, SERIES_COLORS } from './paint';

const WIDTH = 1_200;
const PLOT_HEIGHT = 420;
const MARGIN = 24;
const HEAD = 64;
const ROW = 22;
/** Sharp on screens of today. */
const SCALE = 2;
/** Longer names are cut: a legend is no place for novels. */
const NAME_MAX = 60;

/** Null when there is no picture yet. */
export async function pictureOf(chart: ChartHandle): Promise<Blob | null> {
  const drawn = chart.drawn();
  if (drawn === null) return null;
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  if (context === null) return null;
  const names = drawn.lines.map((line) => cut(line.unit === '' || chart.kind !== 'number' ? line.name : `${line.name} (${line.unit})`));
  context.font = '14px system-ui, sans-serif';
  // Where each name stands: as many in a row as fit.
  const places: { x: number; row: number }[] = [];
  let x = 0;
  let row = 0;
  for (const name of names) {
    const width = context.measureText(name).width + 48;
    if (x > 0 && x + width > WIDTH - 2 * MARGIN) {
      x = 0;
      row += 1;
    }
    places.push({ x, row });
    x += width;
  }
  const height = HEAD + PLOT_HEIGHT + (names.length === 0 ? 0 : (row + 1) * ROW) + MARGIN;

  // The plot clears what it is drawn on, so it has a canvas of its own.
  const plot = document.createElement('canvas');
  plot.width = (WIDTH - 2 * MARGIN) * SCALE;
  plot.height = PLOT_HEIGHT * SCALE;
  const plotContext = plot.getContext('2d');
  if (plotContext === null) return null;
  const scene = drawn.scene(WIDTH - 2 * MARGIN, PLOT_HEIGHT, SCALE);
  paint(plotContext, scene);

  canvas.width = WIDTH * SCALE;
  canvas.height = height * SCALE;
  context.setTransform(SCALE, 0, 0, SCALE, 0, 0);
  context.fillStyle = scene.colors.surface;
  context.fillRect(0, 0, WIDTH, height);
  context.fillStyle = scene.colors.ink;
  context.font = '600 20px system-ui, sans-serif';
  context.fillText(cut(chart.unit === '' ? chart.title : `${chart.title} (${chart.unit})`, 90), MARGIN, 32);
  context.fillStyle = scene.colors.text;
  context.font = '14px system-ui, sans-serif';
  context.fillText(`${formatDateTime(scene.from * 1000)} – ${formatDateTime(scene.to * 1000)}`, MARGIN, 54);
  context.drawImage(plot, MARGIN, HEAD, WIDTH - 2 * MARGIN, PLOT_HEIGHT);
  for (const [index, name] of names.entries()) {
    const place = places[index];
    const stroke = drawn.strokes[index];
    if (place === undefined || stroke === undefined) continue;
    const left = MARGIN + place.x;
    const middle = HEAD + PLOT_HEIGHT + place.row * ROW + ROW / 2;
    context.beginPath();
    context.strokeStyle = scene.colors.series[stroke.color % SERIES_COLORS] as string;
    context.lineWidth = 2;
    context.setLineDash(dashOf(stroke));
    context.moveTo(left, middle);
    context.lineTo(left + 20, middle);
    if (chart.kind !== 'text') context.stroke();
    context.setLineDash([]);
    context.fillStyle = scene.colors.ink;
    context.fillText(name, left + 28, middle + 5);
  }
  return new Promise((done) => canvas.toBlob(done, 'image/png'));
}

function cut(text: string, most = NAME_MAX): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
