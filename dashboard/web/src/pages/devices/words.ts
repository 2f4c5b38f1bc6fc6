/** Names of columns, in words. */

import { t } from '../../i18n';
import type { Column } from './columns';

export function nameOf(column: Column): string {
  if (column.kind === 'field') return t(`devices.field_${column.field}`);
  return column.kind === 'value' ? column.metric : t('devices.spark_name', { metric: column.metric });
}
