/** What the parts of the rule's form share. */
import type { Rule } from '../../api/types';
import type { Draft } from './form';
import type { WrongFields } from './wrong';

export interface PartProps {
  form: string;
  draft: Draft;
  wrong: WrongFields;
  readOnly: boolean;
  /** As the server understands the draft: what is empty has its default there. */
  known: Rule | null;
}
