/** Which line is in which chart, under which name. */

import type { Shown } from '../../charts/handle';
import type { Kind } from '../../charts/paint';
import type { MetricType } from '../../live/frame';
import type { Split } from './wanted';

/** Lines of one chart; more go to a further one. */
export const LINES_MAX = 16;
/** Lines of all charts together. */
export const SERIES_MAX = 64;

/** What is to be drawn, of one device or of many. */
export interface Member {
  device: string;
  /** Of the device, or of what is told of many: `site=A`. */
  who: string;
  metric: string;
  unit: string;
  type: MetricType;
  origin?: Shown['origin'];
  at?: number;
}

export interface ChartPlan {
  key: string;
  heading: string;
  unit: string;
  kind: Kind;
  lines: Shown[];
}

export interface Compared {
  shiftMs: number;
  /** "a day before". */
  words: string;
  /** The same of what is told of many devices. */
  origin: Shown['origin'] | null;
}

function kindOf(type: MetricType): Kind {
  return type === 'bool' || type === 'text' ? type : 'number';
}

/** `many` says how a further chart of the same is called; `unitless` what values without a unit are called. */
export function chartsOf(
  members: readonly Member[],
  split: Split,
  compared: Compared | null,
  words: { many: (heading: string, number: number, of: number) => string; unitless: string },
): ChartPlan[] {
  const groups = new Map<string, Member[]>();
  for (const member of members) {
    const kind = kindOf(member.type);
    const by = split === 'unit' ? '' : split === 'device' ? `${member.device}\u0000${member.who}` : member.metric;
    const key = `${kind}\u0000${by}\u0000${member.unit}`;
    groups.set(key, [...(groups.get(key) ?? []), member]);
  }
  const most = compared === null ? LINES_MAX : LINES_MAX / 2;
  return [...groups].flatMap(([key, group]) => {
    const [first] = group as [Member];
    const kind = kindOf(first.type);
    const metrics = new Set(group.map((member) => member.metric));
    const whos = new Set(group.map((member) => member.who));
    const heading =
      split === 'device' ? first.who : split === 'metric' || metrics.size === 1 ? first.metric : whos.size === 1 ? first.who : first.unit || words.unitless;
    const parts = Math.ceil(group.length / most);
    return Array.from({ length: parts }, (_, part): ChartPlan => {
      const some = group.slice(part * most, (part + 1) * most);
      const own = some.map((member, index) => {
        const name = split === 'device' ? member.metric : metrics.size === 1 ? member.who : whos.size === 1 ? member.metric : `${member.who} · ${member.metric}`;
        return line(member, name, index);
      });
      // What texts said a day before is not to be compared by eye in a strip.
      const before =
        compared === null || kind === 'text'
          ? []
          : some.map((member, index) => {
              const shown = line(member, `${own[index]?.name} (${compared.words})`, index);
              return member.origin !== undefined && compared.origin != null
                ? { ...shown, shiftMs: compared.shiftMs, origin: compared.origin }
                : { ...shown, shiftMs: compared.shiftMs };
            });
      return {
        key: `${key}\u0000${part}`,
        heading: parts === 1 ? heading : words.many(heading, part + 1, parts),
        unit: first.unit,
        kind,
        lines: [...own, ...before],
      };
    });
  });
}

function line(member: Member, name: string, color: number): Shown {
  const { device, metric, type, unit, origin, at } = member;
  return { device, metric, type, unit, name, color, ...(origin === undefined ? {} : { origin }), ...(at === undefined ? {} : { at }) };
}
