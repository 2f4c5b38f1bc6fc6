/** Rules in words. */

import type { Rule, Scope } from '../../api/types';
import { formatDuration, formatValue, t } from '../../i18n';
import { rank } from '../../live/alerts';
import type { Severity } from '../../live/frame';
import { seconds } from '../device/commands/form';
import { sentenceOf } from './form';

export function scopeText(scope: Scope): string {
  if ('tag' in scope) return t('rule.scope_tag', { tag: scope.tag });
  if ('group' in scope) return t('rule.scope_group', { group: scope.group });
  if ('profile' in scope) return t('rule.scope_profile', { profile: scope.profile });
  if ('device' in scope) return scope.device;
  if ('devices' in scope) return t('rule.scope_devices', { count: scope.devices.length });
  return t('rule.scope_all');
}

/** "temperature of tag kind:cold-room > -12 for 30 s"; of several levels the mildest first. */
export function sentence(rule: Rule): string {
  const said = sentenceOf(rule);
  const values = rule.levels.map(({ threshold }) => formatValue(threshold?.value ?? Number.NaN)).join(' / ');
  const condition =
    said === null
      ? t('rule.sentence_expression', { scope: scopeText(rule.scope), when: rule.levels.map(({ when }) => when).join(' / ') })
      : t('rule.sentence', { metric: said.metric, scope: scopeText(rule.scope), comparison: said.comparison, threshold: values });
  if (rule.count !== null) return t('rule.sentence_count', { condition, least: rule.count.at_least, of: rule.count.of });
  const hold = seconds(rule.for ?? '') ?? 0;
  return hold > 0 ? t('rule.sentence_for', { condition, hold: formatDuration(hold * 1000) }) : condition;
}

/** The worst that it raises. */
export function severityOf({ levels }: Pick<Rule, 'levels'>): Severity {
  return levels.map(({ severity }) => severity).reduce((worst, one) => (rank(one) > rank(worst) ? one : worst), 'info');
}
