/**
 * Pointers over a chart: dragging selects, Shift and dragging pans, two fingers pan and pinch, Ctrl and the wheel zoom, a
 * double click goes back to live. One finger reads the values; up and down it scrolls the page.
 */

import { panned, pinched, type Span, zoomed } from './time';

/** What a gesture needs to know of its chart, and what it tells it. */
export interface Target {
  readonly element: HTMLElement;
  /** Where the plot begins and how wide it is, in pixels of the element. */
  box(): { left: number; width: number };
  /** What is shown, in seconds. */
  span(): Span;
  /** Nothing later is shown, in seconds. */
  end(): number;
  hover(part: number | null): void;
  select(from: number, to: number): void;
  deselect(): void;
  /** While it lasts; null: it was broken off. */
  preview(span: Span | null): void;
  /** It is over, and this is what is wanted. */
  show(span: Span): void;
  live(): void;
}

/** A drag shorter than this is a click. */
const DRAG_MIN = 8;
/** A wheel that stands still for so long has come to its end. */
const WHEEL_MS = 300;
/** A notch of a usual wheel is 100 pixels: a fifth in or out. */
const WHEEL_ZOOM = 1.2 ** 0.01;
/** Times are in seconds here; the shortest and the longest span are told in ms. */
const SECONDS = 1_000;

/** Listens for as long as the element lives. The returned function breaks off what is under way and leaves no timer. */
export function listen(target: Target, zoomable: boolean): () => void {
  const { element } = target;
  const fingers = new Map<number, number>();
  let drag: { from: number; kind: 'select' | 'pan'; span: Span } | null = null;
  let pinch: { at: [number, number] } | null = null;
  let shown: Span | null = null;
  let wheel: { span: Span; timer: ReturnType<typeof setTimeout> } | null = null;

  const clamp = (x: number) => {
    const { left, width } = target.box();
    return Math.min(left + width, Math.max(left, x));
  };
  const partOf = (x: number) => {
    const { left, width } = target.box();
    return (x - left) / width;
  };
  const timeAt = (x: number, [from, to]: Span) => from + partOf(x) * (to - from);
  const offset = (event: PointerEvent | WheelEvent | MouseEvent) => event.clientX - element.getBoundingClientRect().left;

  /** Fingers in the order in which they came. */
  const two = (): [number, number] => [...fingers.values()].slice(0, 2) as [number, number];

  const end = (commit: boolean) => {
    if (commit && shown !== null) target.show(shown);
    if (shown !== null) target.preview(null);
    drag = null;
    pinch = null;
    shown = null;
    target.deselect();
  };

  const stop = () => {
    if (wheel !== null) {
      clearTimeout(wheel.timer);
      wheel = null;
      target.preview(null);
    }
    end(false);
  };

  element.addEventListener('pointermove', (event) => {
    const x = offset(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, x);
    if (pinch !== null) {
      const [a, b] = two();
      shown = limited(pinched(pinch.at, [partOf(a), partOf(b)], SECONDS), target.end());
      target.preview(shown);
      return;
    }
    if (drag?.kind === 'pan') {
      shown = panned(drag.span, (drag.from - x) / target.box().width, Math.max(target.end(), drag.span[1]));
      target.preview(shown);
      return;
    }
    target.hover(partOf(clamp(x)));
    if (drag !== null) target.select(Math.min(clamp(x), drag.from), Math.max(clamp(x), drag.from));
  });

  element.addEventListener('pointerdown', (event) => {
    const x = offset(event);
    if (!zoomable) return target.hover(partOf(clamp(x)));
    if (event.pointerType === 'touch') {
      fingers.set(event.pointerId, x);
      if (fingers.size === 2) {
        const [a, b] = two();
        const span = target.span();
        pinch = { at: [timeAt(a, span), timeAt(b, span)] };
        target.hover(null);
        for (const id of fingers.keys()) element.setPointerCapture(id);
      } else if (fingers.size === 1) target.hover(partOf(clamp(x)));
      return;
    }
    if (event.button !== 0 || x < target.box().left) return;
    drag = { from: x, kind: event.shiftKey ? 'pan' : 'select', span: target.span() };
    element.setPointerCapture(event.pointerId);
    if (drag.kind === 'pan') target.hover(null);
  });

  element.addEventListener('pointerup', (event) => {
    fingers.delete(event.pointerId);
    if (pinch !== null) return end(true);
    if (drag === null) return;
    const { from, kind, span } = drag;
    const to = clamp(offset(event));
    if (kind === 'select' && Math.abs(to - from) >= DRAG_MIN) shown = limited([timeAt(Math.min(from, to), span), timeAt(Math.max(from, to), span)], target.end());
    end(true);
  });

  element.addEventListener('pointercancel', (event) => {
    fingers.delete(event.pointerId);
    end(false);
  });

  element.addEventListener('pointerleave', (event) => {
    if (drag === null && pinch === null && !fingers.has(event.pointerId)) target.hover(null);
  });

  if (!zoomable) return stop;

  element.addEventListener('dblclick', () => target.live());

  element.addEventListener(
    'wheel',
    (event) => {
      // Without Ctrl the wheel scrolls the page.
      if (!event.ctrlKey) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
      const span = zoomed(wheel?.span ?? target.span(), WHEEL_ZOOM ** pixels, partOf(clamp(offset(event))), SECONDS);
      clearTimeout(wheel?.timer);
      const limit = limited(span, target.end());
      target.preview(limit);
      wheel = {
        span: limit,
        timer: setTimeout(() => {
          wheel = null;
          target.show(limit);
          target.preview(null);
        }, WHEEL_MS),
      };
    },
    { passive: false },
  );
  return stop;
}

/** Moved back where it would show what is not yet. */
function limited([from, to]: Span, end: number): Span {
  const over = Math.max(0, to - end);
  return [from - over, to - over];
}
