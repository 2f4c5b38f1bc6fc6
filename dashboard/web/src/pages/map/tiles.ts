/** Which tiles of a tile server are in sight, and where in the picture each of them, or what stands in for it, is drawn. */

import { scaleOf, type Size, type View } from './projection';

/** A square of the world: at `z` it has 2^z of them in each direction, from the north-west. */
export interface Tile {
  z: number;
  x: number;
  y: number;
}

/** A tile and its place in the picture, in pixels. */
export interface Cell extends Tile {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** What is drawn: a part of a tile (0 to 1 of its width and height), at a place in the picture. */
export interface Piece<Picture> extends Omit<Cell, keyof Tile> {
  picture: Picture;
  part: { x: number; y: number; size: number };
}

/** More than these are not asked for at a time: in a picture that is larger, tiles of the next coarser zoom are drawn. */
export const IN_SIGHT_MAX = 192;
/** A tile that is not there yet is drawn from one that is at most so many zooms coarser. */
const COARSER_MAX = 5;

export function keyOf({ z, x, y }: Tile): string {
  return `${z}/${x}/${y}`;
}

export function urlOf(template: string, tile: Tile): string {
  return template.replace(/\{([zxy])\}/g, (_, name: keyof Tile) => String(tile[name]));
}

/** The tiles in sight, those nearest to the middle first. Where the world is narrower than the picture it is there several times. */
export function tilesInSight(view: View, size: Size, zoomMax: number): Cell[] {
  if (!(size.width > 0 && size.height > 0)) return [];
  let z = Math.min(Math.max(0, Math.round(view.zoom)), Math.max(0, zoomMax));
  let found = cellsAt(z, view, size);
  while (z > 0 && found.length > IN_SIGHT_MAX) {
    z -= 1;
    found = cellsAt(z, view, size);
  }
  const far = (one: Cell) => Math.hypot((one.left + one.right - size.width) / 2, (one.top + one.bottom - size.height) / 2);
  return found.sort((a, b) => far(a) - far(b));
}

function cellsAt(z: number, view: View, size: Size): Cell[] {
  const many = 2 ** z;
  const px = scaleOf(view.zoom) / many;
  // The north-western corner of world 0, in pixels of the picture.
  const west = size.width / 2 - view.x * scaleOf(view.zoom);
  const north = size.height / 2 - view.y * scaleOf(view.zoom);
  const found: Cell[] = [];
  const lastRow = Math.min(many - 1, Math.ceil((size.height - north) / px) - 1);
  const lastColumn = Math.ceil((size.width - west) / px) - 1;
  for (let y = Math.max(0, Math.floor(-north / px)); y <= lastRow; y += 1) {
    for (let column = Math.floor(-west / px); column <= lastColumn; column += 1) {
      const x = ((column % many) + many) % many;
      found.push({ z, x, y, left: west + column * px, top: north + y * px, right: west + (column + 1) * px, bottom: north + (y + 1) * px });
    }
  }
  return found;
}

/**
 * What fills a cell: its own tile; else the part of a coarser one that covers it, and on that those finer ones that are
 * there. Nothing while there are none of them.
 */
export function piecesOf<Picture>(cell: Cell, has: (key: string) => Picture | undefined): Piece<Picture>[] {
  const { z, x, y, left, top, right, bottom } = cell;
  const own = has(keyOf(cell));
  if (own !== undefined) return [{ left, top, right, bottom, picture: own, part: { x: 0, y: 0, size: 1 } }];
  const found: Piece<Picture>[] = [];
  for (let up = 1; up <= Math.min(COARSER_MAX, z); up += 1) {
    const many = 2 ** up;
    const picture = has(keyOf({ z: z - up, x: Math.floor(x / many), y: Math.floor(y / many) }));
    if (picture === undefined) continue;
    found.push({ left, top, right, bottom, picture, part: { x: (x % many) / many, y: (y % many) / many, size: 1 / many } });
    break;
  }
  const [middle, half] = [(left + right) / 2, (top + bottom) / 2];
  for (const [dx, dy] of [[0, 0], [1, 0], [0, 1], [1, 1]] as const) {
    const picture = has(keyOf({ z: z + 1, x: 2 * x + dx, y: 2 * y + dy }));
    if (picture === undefined) continue;
    const across = dx === 0 ? { left, right: middle } : { left: middle, right };
    const down = dy === 0 ? { top, bottom: half } : { top: half, bottom };
    found.push({ ...across, ...down, picture, part: { x: 0, y: 0, size: 1 } });
  }
  return found;
}
