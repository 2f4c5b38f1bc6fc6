/**
 * Where on the picture a place is: Web Mercator, with the whole world from 0 to 1 in both directions. Going on over the date
 * line goes round the world; the poles are cut where the world becomes a square, and what lies beyond is drawn at the edge.
 */

/** Degrees; beyond, Mercator has no end. */
export const LATITUDE_MAX = 85.051_128_78;
export const ZOOM_MIN = 0;
export const ZOOM_MAX = 18;
/** Pixels of the world at zoom 0. */
const WORLD_PX = 256;

export interface View {
  /** The middle of the picture, 0 to 1. */
  x: number;
  y: number;
  /** The world is 256 · 2^zoom pixels wide. */
  zoom: number;
}

export interface Size {
  width: number;
  height: number;
}

/** Degrees that can be a place on earth. A longitude from 180 to 360 is one too: some count that way. */
export function isPlace(latitude: number, longitude: number): boolean {
  return Number.isFinite(latitude) && Number.isFinite(longitude) && Math.abs(latitude) <= 90 && Math.abs(longitude) <= 360;
}

/** −180 inclusive to 180 exclusive. */
export function wrapLongitude(longitude: number): number {
  return ((((longitude + 180) % 360) + 360) % 360) - 180;
}

export function worldX(longitude: number): number {
  return (wrapLongitude(longitude) + 180) / 360;
}

export function worldY(latitude: number): number {
  const clamped = Math.min(LATITUDE_MAX, Math.max(-LATITUDE_MAX, latitude));
  const sine = Math.sin((clamped * Math.PI) / 180);
  return Math.min(1, Math.max(0, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)));
}

export function longitudeAt(x: number): number {
  return wrapLongitude(x * 360 - 180);
}

export function latitudeAt(y: number): number {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** Pixels of the whole world. */
export function scaleOf(zoom: number): number {
  return WORLD_PX * 2 ** zoom;
}

/** Pixels from the picture's left edge; of all the worlds side by side the one nearest to the middle. */
export function screenX(x: number, view: View, { width }: Size): number {
  let dx = x - view.x;
  dx -= Math.round(dx);
  return width / 2 + dx * scaleOf(view.zoom);
}

export function screenY(y: number, view: View, { height }: Size): number {
  return height / 2 + (y - view.y) * scaleOf(view.zoom);
}

/** The view with its middle in the world and its zoom within bounds; no farther out than the world fills the height. */
export function bounded(view: View, size: Size): View {
  const least = Math.max(ZOOM_MIN, Math.log2(Math.max(size.height, 1) / WORLD_PX));
  const zoom = Math.min(ZOOM_MAX, Math.max(least, view.zoom));
  const half = size.height / 2 / scaleOf(zoom);
  const y = half >= 0.5 ? 0.5 : Math.min(1 - half, Math.max(half, view.y));
  return { x: view.x - Math.floor(view.x), y, zoom };
}

export function panned(view: View, dxPx: number, dyPx: number, size: Size): View {
  const scale = scaleOf(view.zoom);
  return bounded({ ...view, x: view.x - dxPx / scale, y: view.y - dyPx / scale }, size);
}

/** Zooms by `steps` while what is under the pointer (px) stays there. */
export function zoomed(view: View, steps: number, at: { x: number; y: number }, size: Size): View {
  const zoom = bounded({ ...view, zoom: view.zoom + steps }, size).zoom;
  const before = scaleOf(view.zoom);
  const after = scaleOf(zoom);
  const dx = at.x - size.width / 2;
  const dy = at.y - size.height / 2;
  return bounded({ x: view.x + dx / before - dx / after, y: view.y + dy / before - dy / after, zoom }, size);
}

/** The view that shows all of these with some room around; the whole world if there are none. */
export function fitted(xs: ArrayLike<number>, ys: ArrayLike<number>, size: Size): View {
  if (xs.length === 0) return bounded({ x: 0.5, y: 0.4, zoom: 0 }, size);
  const [west, wide] = span(xs);
  let north = 1;
  let south = 0;
  for (let at = 0; at < ys.length; at += 1) {
    north = Math.min(north, ys[at] as number);
    south = Math.max(south, ys[at] as number);
  }
  const room = 0.8;
  // One place alone: a town's width around it.
  const least = 1 / 2 ** 12;
  const zoom = Math.min(Math.log2((size.width * room) / (Math.max(wide, least) * WORLD_PX)), Math.log2((size.height * room) / (Math.max(south - north, least) * WORLD_PX)));
  return bounded({ x: west + wide / 2, y: (north + south) / 2, zoom }, size);
}

/** The shortest stretch round the world that holds all of them: its western end and its width. It may lie over the date line. */
function span(xs: ArrayLike<number>): [number, number] {
  const sorted = Float64Array.from(xs).sort();
  let gap = (sorted[0] as number) + 1 - (sorted[sorted.length - 1] as number);
  let west = sorted[0] as number;
  for (let at = 1; at < sorted.length; at += 1) {
    const between = (sorted[at] as number) - (sorted[at - 1] as number);
    if (between > gap) {
      gap = between;
      west = sorted[at] as number;
    }
  }
  return [west, 1 - gap];
}

/** `52.51623,13.37771,11.5`: latitude, longitude, zoom. */
export function writeView(view: View): string {
  const digits = Math.max(2, Math.ceil(view.zoom / 3));
  return `${latitudeAt(view.y).toFixed(digits)},${longitudeAt(view.x).toFixed(digits)},${Number(view.zoom.toFixed(2))}`;
}

export function readView(text: string | null): View | null {
  const parts = (text ?? '').split(',').map(Number);
  const [latitude, longitude, zoom] = parts as [number, number, number];
  if (parts.length !== 3 || !isPlace(latitude, longitude) || !(zoom >= ZOOM_MIN && zoom <= ZOOM_MAX)) return null;
  return { x: worldX(longitude), y: worldY(latitude), zoom };
}

/** A round length and its pixels, for the scale in the corner: at most `most` pixels wide at the middle of the picture. */
export function scaleBar(view: View, most: number): { meters: number; pixels: number } {
  const metersPerPixel = (Math.cos((latitudeAt(view.y) * Math.PI) / 180) * 40_075_017) / scaleOf(view.zoom);
  const wanted = metersPerPixel * most;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const meters = ([5, 2, 1].find((one) => one * power <= wanted) ?? 1) * power;
  return { meters, pixels: meters / metersPerPixel };
}
