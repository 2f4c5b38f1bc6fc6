/** Draws the map: land, a net of lines, and devices as shapes. Plain canvas, no framework. */

import type { Clusters } from './cluster';
import { RANKS, type Rank } from './cluster';
import { latitudeAt, longitudeAt, scaleOf, screenX, screenY, type Size, type View, worldY } from './projection';
import type { Piece } from './tiles';

export interface Colors {
  water: string;
  land: string;
  coast: string;
  net: string;
  text: string;
  halo: string;
  focus: string;
  rank: Record<Rank, string>;
}

/** Custom properties hold `light-dark(…)`; only a computed colour says which of the two it is. */
export function readColors(host: HTMLElement): Colors {
  const probe = document.createElement('span');
  host.append(probe);
  const read = (token: string) => {
    probe.style.color = token.includes('(') ? token : `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const colors: Colors = {
    water: read('bg'),
    land: read('color-mix(in srgb, var(--line) 60%, var(--raised))'),
    coast: read('line-strong'),
    net: read('color-mix(in srgb, var(--line-strong) 35%, var(--line))'),
    text: read('text-2'),
    halo: read('surface'),
    focus: read('text'),
    rank: {
      online: read('ok'),
      stale: read('warning'),
      offline: read('offline'),
      info: read('accent'),
      warning: read('warning'),
      critical: read('critical'),
    },
  };
  probe.remove();
  return colors;
}

export interface Land {
  fill: Path2D;
  /** Without what only closes a ring at the lower edge. */
  coast: Path2D;
}

/** Rings of world.json, in the units of the picture. One that goes over the date line goes on beyond it, into the next world. */
export function landOf(rings: readonly (readonly number[])[]): Land {
  const fill = new Path2D();
  const coast = new Path2D();
  for (const ring of rings) {
    let lon = 0;
    let lat = 0;
    let begin = 0;
    let x = 0;
    for (let at = 0; at < ring.length; at += 2) {
      lon += ring[at] as number;
      lat += ring[at + 1] as number;
      x = lon / 36_000 + 0.5;
      const y = worldY(lat / 100);
      if (at === 0) {
        begin = x;
        fill.moveTo(x, y);
        coast.moveTo(x, y);
      } else {
        fill.lineTo(x, y);
        coast.lineTo(x, y);
      }
    }
    if (Math.abs(x - begin) > 0.5) {
      // Once round the world: Antarctica, which reaches to the lower edge.
      fill.lineTo(x, 1.1);
      fill.lineTo(begin, 1.1);
    } else coast.closePath();
    fill.closePath();
  }
  return { fill, coast };
}

/** Degrees between two lines of the net. */
const NET = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const NET_PX = 110;
const LABEL_PX = 64;

function octagon(context: CanvasRenderingContext2D, x: number, y: number, r: number) {
  for (let corner = 0; corner < 8; corner += 1) {
    const angle = Math.PI / 8 + (corner * Math.PI) / 4;
    context.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
  }
  context.closePath();
}

function triangle(context: CanvasRenderingContext2D, x: number, y: number, r: number) {
  context.moveTo(x, y - r);
  context.lineTo(x + r, y + r * 0.8);
  context.lineTo(x - r, y + r * 0.8);
  context.closePath();
}

/** Never colour alone: each state has its own shape, as elsewhere on the page. */
export function symbol(context: CanvasRenderingContext2D, rank: Rank, x: number, y: number, r: number, colors: Colors) {
  context.lineWidth = 2;
  context.lineJoin = 'round';
  context.beginPath();
  switch (rank) {
    case 'critical':
      octagon(context, x, y, r * 1.25);
      break;
    case 'warning':
      triangle(context, x, y, r * 1.25);
      break;
    case 'info':
      context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
      break;
    case 'stale':
      triangle(context, x, y, r * 1.15);
      break;
    case 'offline':
      context.roundRect(x - r * 1.1, y - r * 0.45, r * 2.2, r * 0.9, 2);
      break;
    default:
      context.arc(x, y, r, 0, 2 * Math.PI);
  }
  const filled = rank === 'critical' || rank === 'warning' || rank === 'info' || rank === 'offline';
  // A rim of the ground keeps it readable on any.
  context.strokeStyle = colors.halo;
  context.lineWidth = filled ? 3 : 5;
  context.stroke();
  context.fillStyle = filled ? colors.rank[rank] : colors.halo;
  context.fill();
  if (!filled) {
    context.strokeStyle = colors.rank[rank];
    context.lineWidth = 2;
    context.stroke();
  }
}

const RADIUS = 6;

export function clusterRadius(size: number): number {
  return size === 1 ? RADIUS : Math.min(24, 11 + 2.2 * Math.log2(size));
}

export interface Scene {
  view: View;
  size: Size;
  ratio: number;
  land: Land | null;
  /** What there is of the tiles in sight; null where there is no tile server. */
  tiles: readonly Piece<HTMLImageElement>[] | null;
  dark: boolean;
  clusters: Clusters;
  colors: Colors;
  /** Values are not current. */
  old: boolean;
  /** Cluster that is chosen, or null. */
  chosen: number | null;
  /** A count, as people write it. */
  count: (value: number) => string;
}

export function draw(context: CanvasRenderingContext2D, scene: Scene) {
  const { view, size, ratio, land, clusters, colors } = scene;
  const scale = scaleOf(view.zoom);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colors.water;
  context.fillRect(0, 0, size.width, size.height);

  const left = view.x - size.width / 2 / scale;
  const top = view.y - size.height / 2 / scale;
  if (land !== null) {
    // As many worlds side by side as the picture is wide, and those whose land reaches into it.
    for (let world = Math.floor(left) - 1; world < left + size.width / scale + 1; world += 1) {
      context.setTransform(scale * ratio, 0, 0, scale * ratio, (world - left) * scale * ratio, -top * scale * ratio);
      context.fillStyle = colors.land;
      context.fill(land.fill, 'evenodd');
      context.lineWidth = 1 / scale;
      context.strokeStyle = colors.coast;
      context.stroke(land.coast);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  if (scene.tiles !== null) ground(context, scene, scene.tiles);
  net(context, scene, scale);

  context.globalAlpha = scene.old ? 0.45 : 1;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  // The worst last, on top.
  const order = visible(scene).sort((a, b) => (clusters.rank[a] as number) - (clusters.rank[b] as number));
  for (const index of order) {
    const x = screenX(clusters.x[index] as number, view, size);
    const y = screenY(clusters.y[index] as number, view, size);
    const many = clusters.size[index] as number;
    const rank = RANKS[clusters.rank[index] as number] as Rank;
    if (many === 1) symbol(context, rank, x, y, RADIUS, colors);
    else {
      const r = clusterRadius(many);
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.fillStyle = colors.halo;
      context.fill();
      context.lineWidth = 2.5;
      context.strokeStyle = colors.rank[rank];
      context.stroke();
      context.fillStyle = colors.focus;
      context.font = `600 ${many > 999 ? 11 : 12}px system-ui, sans-serif`;
      context.fillText(scene.count(many), x, y + 0.5);
      if (rank !== 'online') symbol(context, rank, x + r * 0.75, y - r * 0.75, 4.5, colors);
    }
    if (index === scene.chosen) {
      context.beginPath();
      context.arc(x, y, clusterRadius(many) + 6, 0, 2 * Math.PI);
      context.lineWidth = 2;
      context.strokeStyle = colors.focus;
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

/** How much darker tiles are that were made for a light page. */
const DIMMED = 0.6;

/** Tiles, over the outline: where there is none it shows. Edges lie on whole pixels of the screen, else there are gaps between tiles. */
function ground(context: CanvasRenderingContext2D, { ratio, dark }: Scene, tiles: readonly Piece<HTMLImageElement>[]) {
  const whole = (value: number) => Math.round(value * ratio) / ratio;
  context.fillStyle = `rgb(0 0 0 / ${DIMMED})`;
  for (const { picture, part, left, top, right, bottom } of tiles) {
    const [x, y] = [whole(left), whole(top)];
    const [width, height] = [whole(right) - x, whole(bottom) - y];
    const side = picture.naturalWidth;
    context.drawImage(picture, part.x * side, part.y * side, part.size * side, part.size * side, x, y, width, height);
    if (dark) context.fillRect(x, y, width, height);
  }
}

/** Indexes of clusters within the picture, a little beyond its edges. */
export function visible({ clusters, view, size }: Pick<Scene, 'clusters' | 'view' | 'size'>, beyond = 30): number[] {
  const found: number[] = [];
  for (let index = 0; index < clusters.count; index += 1) {
    const y = screenY(clusters.y[index] as number, view, size);
    if (y < -beyond || y > size.height + beyond) continue;
    const x = screenX(clusters.x[index] as number, view, size);
    if (x >= -beyond && x <= size.width + beyond) found.push(index);
  }
  return found;
}

/** The cluster under a pointer, or null. */
export function hit(scene: Pick<Scene, 'clusters' | 'view' | 'size'>, at: { x: number; y: number }, slack: number): number | null {
  let best: number | null = null;
  let nearest = Number.POSITIVE_INFINITY;
  for (const index of visible(scene)) {
    const dx = screenX(scene.clusters.x[index] as number, scene.view, scene.size) - at.x;
    const dy = screenY(scene.clusters.y[index] as number, scene.view, scene.size) - at.y;
    const distance = Math.hypot(dx, dy);
    if (distance <= clusterRadius(scene.clusters.size[index] as number) + slack && distance < nearest) {
      nearest = distance;
      best = index;
    }
  }
  return best;
}

function net(context: CanvasRenderingContext2D, { view, size, colors, tiles }: Scene, scale: number) {
  const step = NET.findLast((one) => (one / 360) * scale >= NET_PX) ?? 30;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const label = (degrees: number, plus: string, minus: string) => `${Math.abs(degrees).toFixed(digits)}°${degrees > 0 ? plus : degrees < 0 ? minus : ''}`;
  context.lineWidth = 1;
  context.strokeStyle = colors.net;
  context.fillStyle = colors.text;
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'left';
  context.textBaseline = 'top';
  context.beginPath();
  const labels: [string, number, number][] = [];
  const west = longitudeAt(view.x - size.width / 2 / scale);
  const wide = (size.width / scale) * 360;
  for (let lon = Math.ceil(west / step) * step; lon <= west + wide; lon += step) {
    const x = Math.round(((lon - west) / 360) * scale) + 0.5;
    context.moveTo(x, 0);
    context.lineTo(x, size.height);
    const own = ((((lon + 180) % 360) + 360) % 360) - 180;
    // Where lines are close, every second one is named.
    if ((step / 360) * scale < LABEL_PX && Math.round(own / step) % 2 !== 0) continue;
    const plain = Math.abs(own) < step / 2 || Math.abs(own) > 180 - step / 2;
    labels.push([plain ? `${Math.round(Math.abs(own))}°` : label(own, 'E', 'W'), x + 4, 4]);
  }
  const half = size.height / 2 / scale;
  const north = latitudeAt(Math.max(0, view.y - half));
  const south = latitudeAt(Math.min(1, view.y + half));
  for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) {
    const y = Math.round(screenY(worldY(lat), view, size)) + 0.5;
    context.moveTo(0, y);
    context.lineTo(size.width, y);
    labels.push([label(Math.abs(lat) < step / 2 ? 0 : lat, 'N', 'S'), 4, y + 3]);
  }
  context.stroke();
  context.strokeStyle = colors.halo;
  context.lineWidth = 3;
  context.lineJoin = 'round';
  for (const [text, x, y] of labels) {
    // Tiles have any colour.
    if (tiles !== null) context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
}

