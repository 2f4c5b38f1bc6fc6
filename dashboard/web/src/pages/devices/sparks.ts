/** Draws the small pictures of the device list: those in sight, four times per second at most, and only where something is new. */

import { api } from '../../api/client';
import type { Facets } from '../../api/types';
import { link } from '../../state/live.svelte';
import { settings } from '../../state/settings.svelte';
import type { Follower } from './follow';
import { SPARK_MS, SparkStore, STEP_S } from './spark';

/** Of one question. */
const DEVICES_MAX = 100;
const POINTS = SPARK_MS / 1_000 / STEP_S;
/** After a question that was not answered. */
const RETRY_MS = 30_000;

interface Picture {
  canvas: HTMLCanvasElement;
  device: string;
  metric: string;
  /** Of what is drawn. */
  version: number;
  endS: number;
  dark: boolean;
  width: number;
}

export class Sparks {
  readonly #store = new SparkStore();
  readonly #pictures = new Set<Picture>();
  /** Whose picture is on a canvas: rows are used again for other devices. */
  readonly #shown = new WeakMap<HTMLCanvasElement, string>();
  readonly #follower: Follower;
  readonly #types: () => Facets['metrics'];
  readonly #abort = new AbortController();
  #asking = false;
  /** Grows when all that is known is forgotten: an answer from before is of no use. */
  #generation = 0;
  #color: string | null = null;
  #restUntilMs = 0;
  #unlisten: () => void;

  constructor(follower: Follower, types: () => Facets['metrics']) {
    this.#follower = follower;
    this.#types = types;
    // What came while the connection was gone is in the history.
    this.#unlisten = link.client.listen({
      lost: () => {
        this.#generation += 1;
        this.#store.reset();
      },
    });
  }

  /** For `{@attach}`: this canvas shows that series. */
  canvas(device: string, metric: string): (canvas: HTMLCanvasElement) => () => void {
    return (canvas) => {
      const picture = { canvas, device, metric, version: -2, endS: 0, dark: false, width: 0 };
      const series = `${metric}\u0000${device}`;
      // No row shows the picture of the device that was there before, however long its own takes to come.
      if ((this.#shown.get(canvas) ?? series) !== series) canvas.width = 0;
      this.#shown.set(canvas, series);
      this.#pictures.add(picture);
      return () => this.#pictures.delete(picture);
    };
  }

  /** To be called by the ticker. */
  tick(nowMs: number): void {
    const endS = link.client.clock.nowMs() / 1_000;
    this.#color = null;
    for (const picture of this.#pictures) {
      const series = this.#follower.find(picture.device, picture.metric);
      if (series !== undefined && !Number.isNaN(series.time)) this.#store.live(picture.device, picture.metric, series.time, series.value, series.type === 'bool');
      this.#draw(picture, endS);
    }
    if (!this.#asking && nowMs > this.#restUntilMs) void this.#ask(endS);
  }

  close(): void {
    this.#abort.abort();
    this.#unlisten();
  }

  #draw(picture: Picture, endS: number): void {
    const { canvas, device, metric } = picture;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    const version = this.#store.version(device, metric);
    // Nothing to show yet, and nothing shown.
    if (version <= 0 && picture.version === -2) return;
    const moved = ((endS - picture.endS) / (SPARK_MS / 1_000)) * width;
    if (version === picture.version && moved < 1 && picture.dark === settings.dark && picture.width === width) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext('2d');
    if (context === null) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    // Asked once per tick: the browser has to compute its styles for it.
    this.#color ??= getComputedStyle(canvas).color;
    const color = this.#color;
    context.strokeStyle = color;
    context.fillStyle = color;
    context.lineWidth = 1;
    context.beginPath();
    for (const stroke of this.#store.strokes(device, metric, endS, width, height)) {
      if (stroke.length === 2) {
        context.fillRect((stroke[0] as number) - 1, (stroke[1] as number) - 1, 2, 2);
        continue;
      }
      context.moveTo(stroke[0] as number, stroke[1] as number);
      for (let at = 2; at < stroke.length; at += 2) context.lineTo(stroke[at] as number, stroke[at + 1] as number);
    }
    context.stroke();
    picture.version = version;
    picture.endS = endS;
    picture.dark = settings.dark;
    picture.width = width;
  }

  /** The history of what is in sight and was never asked for, one metric at a time. */
  async #ask(endS: number): Promise<void> {
    const metrics = new Set([...this.#pictures].map(({ metric }) => metric));
    for (const metric of metrics) {
      const inSight = [...this.#pictures].filter((one) => one.metric === metric).map(({ device }) => device);
      const devices = this.#store.unknown(inSight, metric).slice(0, DEVICES_MAX);
      if (devices.length === 0) continue;
      this.#asking = true;
      const generation = this.#generation;
      this.#store.asked(devices, metric);
      const from = new Date(endS * 1_000 - SPARK_MS).toISOString();
      const agg = this.#types().find(({ name }) => name === metric)?.type === 'bool' ? 'last' : 'avg';
      try {
        const page = await api.queryMany({ device: devices.join(','), metric, from, max_points: POINTS, agg }, this.#abort.signal);
        if (generation !== this.#generation) return;
        for (const { device, times, values } of page.series) {
          const column = values[agg] ?? [];
          for (const [index, time] of times.entries()) {
            const value = column[index];
            const number = typeof value === 'boolean' ? Number(value) : value;
            if (typeof number === 'number') this.#store.history(device, metric, Date.parse(time) / 1_000, number);
          }
        }
      } catch {
        // The pictures begin with what comes live; the history is asked for again later.
        this.#store.forget(devices, metric);
        this.#restUntilMs = performance.now() + RETRY_MS;
      } finally {
        this.#asking = false;
      }
      return;
    }
  }
}
