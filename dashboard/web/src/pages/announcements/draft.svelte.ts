/** The announcement that is being written. Kept for as long as the page lives, so that it outlasts a look elsewhere. */

import { session } from '../../state/session.svelte';
import { askBeforeClosing } from '../../state/unsaved';
import { type Draft, empty } from './form';

class Writing {
  #user: string | null = null;
  draft = $state<Draft>(empty());

  /** Something is written, by who is signed in. */
  get unsaved(): boolean {
    return this.#user === (session.current?.user.name ?? null) && JSON.stringify(this.draft) !== JSON.stringify(empty());
  }

  /** Goes on with what the same person wrote. */
  begin(): void {
    const user = session.current?.user.name ?? null;
    if (user !== this.#user) this.draft = empty();
    this.#user = user;
  }

  discard(): void {
    this.draft = empty();
  }
}

export const writing = new Writing();
askBeforeClosing(() => writing.unsaved);
