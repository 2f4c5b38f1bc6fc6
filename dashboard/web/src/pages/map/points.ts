/** The devices on the map: columns outside of the framework's state, with a version that grows with every change. */

import type { Position } from '../../api/service';
import type { Presence, Severity } from '../../live/frame';
import { RANKS } from './cluster';
import { isPlace, worldX, worldY } from './projection';

export class Points {
  version = 0;
  count = 0;
  ids: string[] = [];
  names: string[] = [];
  latitude = new Float64Array(0);
  longitude = new Float64Array(0);
  x = new Float64Array(0);
  y = new Float64Array(0);
  rank = new Uint8Array(0);
  /** When it was there, ms since the Unix epoch. */
  timeMs = new Float64Array(0);
  presence: Presence[] = [];
  severity: (Severity | null)[] = [];
  /** Devices whose numbers are no place on earth. */
  nowhere: string[] = [];
  readonly #at = new Map<string, number>();

  load(positions: readonly Position[]): void {
    const here = positions.filter((one) => isPlace(one.latitude, one.longitude));
    this.nowhere = positions.filter((one) => !isPlace(one.latitude, one.longitude)).map((one) => one.name || one.device);
    // What the live connection has told since is newer than the answer.
    const before = new Map(this.ids.map((id, at) => [id, { ms: this.timeMs[at] as number, latitude: this.latitude[at] as number, longitude: this.longitude[at] as number }]));
    const n = here.length;
    this.count = n;
    this.#at.clear();
    this.ids = here.map((one) => one.device);
    this.names = here.map((one) => one.name || one.device);
    this.presence = here.map((one) => one.presence);
    this.severity = here.map((one) => one.severity);
    this.latitude = new Float64Array(n);
    this.longitude = new Float64Array(n);
    this.x = new Float64Array(n);
    this.y = new Float64Array(n);
    this.rank = new Uint8Array(n);
    this.timeMs = new Float64Array(n);
    here.forEach((one, at) => {
      this.#at.set(one.device, at);
      const ms = Date.parse(one.time);
      const live = before.get(one.device);
      this.timeMs[at] = ms;
      if (live !== undefined && live.ms >= ms) this.#place(at, live.latitude, live.longitude, live.ms);
      else this.#place(at, one.latitude, one.longitude, ms);
      this.#judge(at);
    });
    this.version += 1;
  }

  find(id: string): number | null {
    return this.#at.get(id) ?? null;
  }

  /** The device has moved; older than what is known changes nothing. True if something changed. */
  move(id: string, latitude: number, longitude: number, timeMs: number): boolean {
    const at = this.#at.get(id);
    if (at === undefined || !isPlace(latitude, longitude) || !(timeMs >= (this.timeMs[at] as number))) return false;
    const same = this.latitude[at] === latitude && this.longitude[at] === longitude;
    this.#place(at, latitude, longitude, timeMs);
    if (!same) this.version += 1;
    return !same;
  }

  /** What is not known any more stays as it was. */
  state(at: number, presence: Presence | undefined, severity: Severity | null | undefined): boolean {
    const next = presence ?? (this.presence[at] as Presence);
    const worst = severity === undefined ? (this.severity[at] ?? null) : severity;
    if (next === this.presence[at] && worst === this.severity[at]) return false;
    this.presence[at] = next;
    this.severity[at] = worst;
    this.#judge(at);
    this.version += 1;
    return true;
  }

  #place(at: number, latitude: number, longitude: number, timeMs: number): void {
    this.latitude[at] = latitude;
    this.longitude[at] = longitude;
    this.x[at] = worldX(longitude);
    this.y[at] = worldY(latitude);
    this.timeMs[at] = timeMs;
  }

  #judge(at: number): void {
    this.rank[at] = RANKS.indexOf(this.severity[at] ?? (this.presence[at] as Presence));
  }
}
