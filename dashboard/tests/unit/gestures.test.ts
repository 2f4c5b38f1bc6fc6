/** What a chart that goes away leaves behind: nothing. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listen } from '../../web/src/charts/gestures';
import { previewAll, together } from '../../web/src/charts/together';
import type { Span } from '../../web/src/charts/time';

class Element extends EventTarget {
  getBoundingClientRect = () => ({ left: 0 });
  setPointerCapture = () => {};
  send(type: string, facts: object) {
    this.dispatchEvent(Object.assign(new Event(type, { cancelable: true }), facts));
  }
}

let element: Element;
let shown: Span[];
let previews: (Span | null)[];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  element = new Element();
  shown = [];
  previews = [];
  stop = listen(
    {
      element: element as unknown as HTMLElement,
      box: () => ({ left: 0, width: 100 }),
      span: () => [1_000, 1_100],
      end: () => 5_000,
      hover: () => {},
      select: () => {},
      deselect: () => {},
      preview: (span) => previews.push(span),
      show: (span) => shown.push(span),
      live: () => {},
    },
    true,
  );
});
afterEach(() => vi.useRealTimers());

const pan = () => {
  element.send('pointerdown', { pointerType: 'mouse', pointerId: 1, button: 0, shiftKey: true, clientX: 50 });
  element.send('pointermove', { pointerType: 'mouse', pointerId: 1, clientX: 60 });
};
const wheel = () => element.send('wheel', { ctrlKey: true, deltaY: -100, deltaMode: 0, clientX: 50 });

describe('a chart that goes away', () => {
  it('ends the preview of a pan', () => {
    pan();
    expect(previews.at(-1)).toEqual([990, 1_090]);
    stop();
    expect(previews.at(-1)).toBeNull();
    expect(shown).toEqual([]);
  });

  it('ends the preview of two fingers', () => {
    for (const [pointerId, clientX] of [[1, 40], [2, 60]]) element.send('pointerdown', { pointerType: 'touch', pointerId, clientX });
    element.send('pointermove', { pointerType: 'touch', pointerId: 2, clientX: 80 });
    expect(previews.at(-1)).not.toBeNull();
    stop();
    expect(previews.at(-1)).toBeNull();
    expect(shown).toEqual([]);
  });

  it('asks for nothing after the wheel', () => {
    wheel();
    expect(previews.at(-1)).not.toBeNull();
    stop();
    expect(previews.at(-1)).toBeNull();
    vi.advanceTimersByTime(1_000);
    expect(shown).toEqual([]);
  });

  it("leaves alone what another chart's gesture shows", () => {
    stop();
    expect(previews).toEqual([]);
  });
});

describe('a chart that stays', () => {
  it('asks for what the wheel showed when it rests', () => {
    wheel();
    wheel();
    vi.advanceTimersByTime(299);
    expect(shown).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(shown).toHaveLength(1);
    expect(previews.at(-1)).toBeNull();
  });
});

it('previews for all charts that share a key', () => {
  const [a, b, alone] = [together('a'), together('b'), together(null)];
  previewAll([1, 2]);
  expect([a.preview, b.preview, alone.preview]).toEqual([[1, 2], [1, 2], null]);
  previewAll(null);
  expect([a.preview, b.preview]).toEqual([null, null]);
});
