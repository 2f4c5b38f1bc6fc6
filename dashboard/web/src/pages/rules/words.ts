/** Rules in words. */

import type { Rule, Scope } from '../../api/types';
import { formatDuration, formatValue, t } from '../../i18n';
import { seconds } from '../device/commands/form';

export function scopeText(scope: Scope): string {
  if ('tag' in scope) return t('rule.scope_tag', { tag: scope.tag });
  if ('group' in scope) return t('rule.scope_group', { group: scope.group });
  if ('device' in scope) return scope.device;
  if ('devices' in scope) return t('rule.scope_devices', { count: scope.devices.length });
  return t('rule.scope_all');
}

/** "temperature of tag kind:cold-room > -12 for 30 s" */
export function sentence(rule: Rule): string {
  const hold = seconds(rule.for) ?? 0;
  return t(hold > 0 ? 'rule.sentence_for' : 'rule.sentence', {
    metric: rule.metric,
    scope: scopeText(rule.scope),
    comparison: rule.comparison,
    threshold: formatValue(rule.threshold),
    hold: formatDuration(hold * 1000),
  });
}
