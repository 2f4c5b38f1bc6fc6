/** Who is signed in, and the way in and out. */

import { untrack } from 'svelte';
import { api, ApiError, onSignedOut } from '../api/client';
import type { Session } from '../api/types';
import { t } from '../i18n';
import { endSubscription, ownEndpoint, subscription } from './endpoint';
import { link } from './live.svelte';
import { router } from './router.svelte';

/** A sign-out waits this long for the server to forget this browser. */
const RELEASE_MS = 2_000;
/** The browser may ask whether to leave what was not saved: who stays sees the sign-in page after so long. */
const LEAVE_MS = 3_000;
/** Why the session ended, across the load of the page. */
const NOTICE = 'pulsewire.notice';

function takeNotice(): string | null {
  try {
    const notice = sessionStorage.getItem(NOTICE);
    sessionStorage.removeItem(NOTICE);
    return notice;
  } catch {
    return null;
  }
}

function atMost(ms: number, work: Promise<unknown>): Promise<unknown> {
  return Promise.race([work.catch(() => {}), new Promise((done) => setTimeout(done, ms))]);
}

type Status = 'unknown' | 'signed_in' | 'signed_out' | 'unreachable';

class SessionState {
  status = $state<Status>('unknown');
  current = $state.raw<Session | null>(null);
  /** Why the session ended, shown on the sign-in page. */
  notice = $state<string | null>(takeNotice());

  get isAdmin(): boolean {
    return this.current?.user.role === 'admin';
  }

  /** May edit rules, send commands, acknowledge and resolve. */
  get isOperator(): boolean {
    return this.current !== null && this.current.user.role !== 'viewer';
  }

  #asked = 0;
  /** Who was signed in when this page was left for the sign-in page. */
  #left: string | null = null;

  /** Asks the server who this is; at the start of the page and after a sign-in. */
  async load(): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const current = await api.session();
      // An answer from before a sign-in that was faster no longer counts.
      if (asked !== this.#asked) return;
      // Nothing that the page knows of one person is there for the next.
      if (this.#left !== null && this.#left !== current.user.name) return location.reload();
      this.#left = null;
      this.current = current;
      this.status = 'signed_in';
      this.notice = null;
      link.start();
    } catch (error) {
      if (asked !== this.#asked) return;
      if (error instanceof ApiError && error.status === 401) {
        this.ended();
      } else {
        this.status = 'unreachable';
      }
    }
  }

  async signIn(user: string, password: string): Promise<void> {
    await api.signIn(user, password);
    await this.load();
  }

  async signInByLink(code: string): Promise<void> {
    await api.signInByLink(code);
    await this.load();
  }

  /** Whoever signs out is no longer reached here: the next to sit at this browser may be someone else. */
  async signOut(): Promise<void> {
    link.stop();
    const own = ownEndpoint();
    const reached = own !== null && own.user === this.current?.user.name;
    if (reached) await atMost(RELEASE_MS, api.removeEndpoint(own.id));
    try {
      await api.signOut();
    } catch (error) {
      // Still signed in, and it must not look otherwise: the cookie is good until the server hears of it.
      if (!(error instanceof ApiError && error.status === 401)) {
        link.start();
        if (reached) void this.reach(own.label);
        throw error;
      }
    }
    // Also where the server did not hear of it: then the push service tells it.
    if (reached) await atMost(RELEASE_MS, endSubscription());
    this.#leave('/signin', false);
  }

  /** By a real load, after which nothing is left of what the page knew: the next to sign in may be someone else. */
  #leave(href: string, replace: boolean): void {
    const user = this.current?.user.name ?? null;
    this.current = null;
    this.status = 'signed_out';
    if (user === null) {
      if (this.#left === null) router.go(href, replace);
      return;
    }
    this.#left = user;
    // The way back leads to a page that the browser kept as it was.
    addEventListener('pageshow', (event) => event.persisted && location.reload());
    setTimeout(() => router.go(href, true), LEAVE_MS);
    if (replace) location.replace(href);
    else location.assign(href);
  }

  /** The sign-out failed when this browser had been given up already: whoever is still signed in is reached again. */
  private async reach(label: string): Promise<void> {
    try {
      const [current, { register }] = await Promise.all([subscription(), import('../push/subscribe')]);
      if (current !== null) await register(current, label);
    } catch {
      // The settings say that this browser is not subscribed.
    }
  }

  /** The session is over: on to the sign-in page, and back here afterwards. */
  ended(notice: string | null = null): void {
    // On the way out already: the load may take a while, and the page is still here.
    if (this.#left !== null && untrack(() => this.current) === null) return;
    link.stop();
    // Socket and requests learn of it one after the other; the first to say why is heard.
    if (notice !== null || this.status === 'signed_in') this.notice = notice;
    if (router.route.page === 'signin') {
      this.current = null;
      this.status = 'signed_out';
      return;
    }
    if (notice !== null && this.current !== null) {
      try {
        sessionStorage.setItem(NOTICE, notice);
      } catch {
        // Then the sign-in page does not say why.
      }
    }
    const back = router.href;
    this.#leave(back === '/' ? '/signin' : `/signin?next=${encodeURIComponent(back)}`, true);
  }
}

export const session = new SessionState();

// A request may hear of the end before the live socket does, which is stopped then and says nothing.
onSignedOut(() => session.ended(session.status === 'signed_in' ? t('signin.session_ended') : null));
