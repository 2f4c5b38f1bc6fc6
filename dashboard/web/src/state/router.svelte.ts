/** The address bar as state: a few lines of matching are all that a handful of pages needs. */

/** Pages by their path. */
const PAGES = {
  '': 'overview',
  devices: 'devices',
  explore: 'explore',
  alerts: 'alerts',
  rules: 'rules',
  'rules/new': 'rule_new',
  silences: 'silences',
  announcements: 'announcements',
  map: 'map',
  start: 'start',
  about: 'about',
  settings: 'appearance',
  'settings/appearance': 'appearance',
  'settings/notifications': 'notifications',
  'settings/users': 'users',
  'settings/tokens': 'tokens',
  signin: 'signin',
} as const;

/** Pages about one thing, by the path of their list. */
const THINGS = { devices: 'device', alerts: 'alert', rules: 'rule' } as const;

export type PageName = (typeof PAGES)[keyof typeof PAGES] | (typeof THINGS)[keyof typeof THINGS];

export type Route =
  | { page: (typeof PAGES)[keyof typeof PAGES] | 'not_found'; id: null }
  | { page: (typeof THINGS)[keyof typeof THINGS]; id: string };

export function match(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  const page = PAGES[parts.join('/') as keyof typeof PAGES];
  if (page !== undefined) return { page, id: null };
  const thing = THINGS[parts[0] as keyof typeof THINGS];
  if (thing !== undefined && parts.length === 2) {
    try {
      return { page: thing, id: decodeURIComponent(parts[1] as string) };
    } catch {
      // Not an address that this application makes.
    }
  }
  return { page: 'not_found', id: null };
}

class Router {
  #url = $state.raw(new URL(location.href));
  readonly route: Route = $derived(match(this.#url.pathname));
  readonly query: URLSearchParams = $derived(this.#url.searchParams);
  readonly href: string = $derived(this.#url.pathname + this.#url.search);
  /** Pages that were gone to since the browser loaded this one. */
  moves = 0;

  constructor() {
    addEventListener('popstate', () => {
      // A link to a part of the page leads nowhere else.
      if (location.pathname + location.search === this.href) return;
      this.moves += 1;
      this.#url = new URL(location.href);
    });
    document.addEventListener('click', (event) => this.#click(event));
  }

  go(href: string, replace = false): void {
    const url = new URL(href, location.href);
    if (url.href === this.#url.href || url.href === location.href) return;
    if (replace) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    const pageChanged = url.pathname !== this.#url.pathname;
    this.#url = url;
    if (!pageChanged) return;
    this.moves += 1;
    scrollTo(0, 0);
  }

  /** Changes parts of the query; null or an empty text removes a part. */
  setQuery(changes: Record<string, string | null>, replace = true): void {
    const url = new URL(this.#url);
    url.hash = location.hash;
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === '') url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    this.go(url.href, replace);
  }

  /** Plain clicks on links of this application change the page without loading it anew. */
  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.target !== '' || link.origin !== location.origin) return;
    if (link.pathname.startsWith('/api/') || link.hasAttribute('download')) return;
    // The browser leads to a part of this page, with the focus.
    if (link.hash !== '' && link.pathname + link.search === location.pathname + location.search) return;
    event.preventDefault();
    this.go(link.href);
  }
}

export const router = new Router();

export function deviceHref(id: string): string {
  return `/devices/${encodeURIComponent(id)}`;
}

export function ruleHref(id: string): string {
  return `/rules/${encodeURIComponent(id)}`;
}
