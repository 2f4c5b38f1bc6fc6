/** What a chart shows of itself to its tools: table, files, pins. */

import type { Kind, Scene, Stroke } from './paint';
import type { LineSpec } from './source';
import type { Span } from './time';

/** One line of a chart with its words. */
export interface Shown extends LineSpec {
  readonly name: string;
  /** Its own, for what the name leaves out. */
  readonly unit: string;
  /** 0–15. */
  readonly color: number;
}

export interface ChartHandle {
  readonly title: string;
  readonly kind: Kind;
  readonly unit: string;
  readonly lines: readonly Shown[];
  /** What is drawn now, hidden lines left out; null before the first picture. The points are the chart's own and change. */
  drawn(): { lines: readonly Shown[]; strokes: readonly Stroke[]; span: Span; scene: (width: number, height: number, scale: number) => Scene } | null;
}
