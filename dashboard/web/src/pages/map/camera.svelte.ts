/** Where one looks, and what moves it: mouse, fingers, wheel, keys. */

import * as map from './projection';

const PAN_PX = 90;
/** A finger shakes more than a mouse. */
const STILL_PX = { mouse: 4, touch: 12 };
const SLACK_PX = { mouse: 3, touch: 14 };

export interface Spot {
  x: number;
  y: number;
}

export class Camera {
  /** Null until it is known what to show. */
  view = $state.raw<map.View | null>(null);
  size = $state.raw<map.Size>({ width: 0, height: 0 });
  readonly #pointers = new Map<number, Spot>();
  #travelled = 0;

  constructor(view: map.View | null) {
    this.view = view;
  }

  look(view: map.View): void {
    this.view = this.size.width === 0 ? view : map.bounded(view, this.size);
  }

  resize(size: map.Size): void {
    this.size = size;
    if (this.view !== null) this.view = map.bounded(this.view, size);
  }

  zoom(steps: number, at: Spot = { x: this.size.width / 2, y: this.size.height / 2 }): void {
    if (this.view !== null) this.view = map.zoomed(this.view, steps, at, this.size);
  }

  pan(dxPx: number, dyPx: number): void {
    if (this.view !== null) this.view = map.panned(this.view, dxPx, dyPx, this.size);
  }

  spot(event: MouseEvent): Spot {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event: PointerEvent): void {
    if (event.button !== 0) return;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.spot(event));
    if (this.#pointers.size === 1) this.#travelled = 0;
  }

  /** False when nothing is held down: then it only points. */
  drag(event: PointerEvent): boolean {
    const at = this.spot(event);
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) return false;
    this.#travelled += Math.hypot(at.x - before.x, at.y - before.y);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other === undefined) {
      this.pan(at.x - before.x, at.y - before.y);
    } else {
      const wide = (one: Spot) => Math.max(20, Math.hypot(one.x - other.x, one.y - other.y));
      this.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
      this.zoom(Math.log2(wide(at) / wide(before)), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
    }
    this.#pointers.set(event.pointerId, at);
    return true;
  }

  /** Where was clicked or tapped, and how far beside still counts; null if it was a drag. */
  up(event: PointerEvent): { at: Spot; slack: number } | null {
    const held = this.#pointers.delete(event.pointerId);
    const kind = event.pointerType === 'mouse' ? 'mouse' : 'touch';
    if (!held || event.type === 'pointercancel' || this.#pointers.size > 0 || this.#travelled >= STILL_PX[kind]) return null;
    return { at: this.spot(event), slack: SLACK_PX[kind] };
  }

  wheel(event: WheelEvent): void {
    event.preventDefault();
    // Lines, not pixels, in some browsers. A pinch on a touchpad comes as a wheel with Ctrl.
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    this.zoom(-pixels / (event.ctrlKey ? 80 : 320), this.spot(event));
  }

  /** True if the key was one for moving. */
  key(key: string): boolean {
    const pan: Record<string, [number, number]> = { ArrowLeft: [PAN_PX, 0], ArrowRight: [-PAN_PX, 0], ArrowUp: [0, PAN_PX], ArrowDown: [0, -PAN_PX] };
    const by = pan[key];
    if (by !== undefined) this.pan(...by);
    else if (key === '+' || key === '=') this.zoom(1);
    else if (key === '-') this.zoom(-1);
    else return false;
    return true;
  }
}
