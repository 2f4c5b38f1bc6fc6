/** A rule as it is typed, and as the API takes it. */

import type { Rule, RuleRequest, Scope } from '../../api/types';
import type { Comparison, Severity } from '../../live/frame';
import { seconds } from '../device/commands/form';

export type ScopeKind = 'all' | 'tag' | 'group' | 'devices';

export interface Draft {
  name: string;
  metric: string;
  comparison: Comparison;
  threshold: string;
  clear: string;
  hold: string;
  severity: Severity;
  scopeKind: ScopeKind;
  /** `kind:cold-room`, a group, or ids with commas between. */
  scopeValue: string;
  message: string;
  enabled: boolean;
}

export const EMPTY: Draft = {
  name: '',
  metric: '',
  comparison: '>',
  threshold: '',
  clear: '',
  hold: '30 s',
  severity: 'warning',
  scopeKind: 'all',
  scopeValue: '',
  message: '',
  enabled: true,
};

const FIELDS = ['name', 'metric', 'threshold', 'clear', 'for', 'scope', 'message'] as const;
export type RuleField = (typeof FIELDS)[number];
/** What is wrong with a field: a key of `rule.wrong_…`. */
export type RuleMistake = 'required' | 'number' | 'duration' | 'quiet_side' | 'tag';

const HOLD_S_MAX = 86_400;

export function holds(value: number, comparison: Comparison, threshold: number): boolean {
  switch (comparison) {
    case '>':
      return value > threshold;
    case '>=':
      return value >= threshold;
    case '<':
      return value < threshold;
    default:
      return value <= threshold;
  }
}

/** Also with a decimal comma and with the minus sign of typographers. */
export function readNumber(text: string): number | null {
  const given = text.trim().replace(',', '.').replace('−', '-');
  const value = Number(given);
  return given === '' || !Number.isFinite(value) ? null : value;
}

/** The scope that was typed; null while it is incomplete. */
export function readScope({ scopeKind, scopeValue }: Pick<Draft, 'scopeKind' | 'scopeValue'>): Scope | null {
  const given = scopeValue.trim();
  if (scopeKind === 'all') return { all: true };
  if (given === '') return null;
  if (scopeKind === 'group') return { group: given };
  if (scopeKind === 'tag') {
    const tag = given.replace('=', ':');
    return /^[^:]+:.+$/.test(tag) ? { tag } : null;
  }
  const devices = given.split(/[\s,]+/).filter((id) => id !== '');
  return devices.length === 1 ? { device: devices[0] as string } : { devices };
}

export function read(draft: Draft): { rule: RuleRequest } | { wrong: Partial<Record<RuleField, RuleMistake>> } {
  const wrong: Partial<Record<RuleField, RuleMistake>> = {};
  const threshold = readNumber(draft.threshold);
  const clear = draft.clear.trim() === '' ? threshold : readNumber(draft.clear);
  const hold = draft.hold.trim() === '' ? 0 : seconds(draft.hold);
  const scope = readScope(draft);
  if (draft.name.trim() === '') wrong.name = 'required';
  if (draft.metric.trim() === '') wrong.metric = 'required';
  if (threshold === null) wrong.threshold = draft.threshold.trim() === '' ? 'required' : 'number';
  if (clear === null && threshold !== null) wrong.clear = 'number';
  if (hold === null || hold > HOLD_S_MAX) wrong.for = 'duration';
  if (scope === null) wrong.scope = draft.scopeKind === 'tag' && draft.scopeValue.trim() !== '' ? 'tag' : 'required';
  // On the loud side it would never stop.
  const up = draft.comparison === '>' || draft.comparison === '>=';
  if (threshold !== null && clear !== null && (up ? clear > threshold : clear < threshold)) wrong.clear = 'quiet_side';
  if (Object.keys(wrong).length > 0 || threshold === null || clear === null || scope === null) return { wrong };
  return {
    rule: {
      name: draft.name.trim(),
      metric: draft.metric.trim(),
      comparison: draft.comparison,
      threshold,
      clear,
      for: `${hold}s`,
      severity: draft.severity,
      scope,
      message: draft.message.trim(),
      enabled: draft.enabled,
    },
  };
}

function draftScope(scope: Scope): [ScopeKind, string] {
  if ('tag' in scope) return ['tag', scope.tag];
  if ('group' in scope) return ['group', scope.group];
  if ('devices' in scope) return ['devices', scope.devices.join(', ')];
  return 'device' in scope ? ['devices', scope.device] : ['all', ''];
}

/** The draft of a rule that exists. */
export function draftOf(rule: Rule): Draft {
  const [scopeKind, scopeValue] = draftScope(rule.scope);
  return {
    name: rule.name,
    metric: rule.metric,
    comparison: rule.comparison,
    threshold: String(rule.threshold),
    clear: rule.clear === rule.threshold ? '' : String(rule.clear),
    hold: rule.for,
    severity: rule.severity,
    scopeKind,
    scopeValue,
    message: rule.message,
    enabled: rule.enabled,
  };
}

/** The field of the form that an error of the server is about: `scope.tag` is shown at the scope. */
export function fieldOf(name: string): RuleField | null {
  return FIELDS.find((field) => field === name.split('.')[0]) ?? null;
}
