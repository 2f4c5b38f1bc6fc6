/** The address bar as state: ten lines of matching are all that a handful of pages needs. */

export type Route =
  | { page: 'overview' }
  | { page: 'devices' }
  | { page: 'device'; id: string }
  | { page: 'signin' }
  | { page: 'not_found' };

export function match(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.length === 0) return { page: 'overview' };
  if (parts.length === 1 && parts[0] === 'devices') return { page: 'devices' };
  if (parts.length === 1 && parts[0] === 'signin') return { page: 'signin' };
  if (parts.length === 2 && parts[0] === 'devices') {
    try {
      return { page: 'device', id: decodeURIComponent(parts[1] as string) };
    } catch {
      return { page: 'not_found' };
    }
  }
  return { page: 'not_found' };
}

class Router {
  #url = $state.raw(new URL(location.href));
  readonly route: Route = $derived(match(this.#url.pathname));
  readonly query: URLSearchParams = $derived(this.#url.searchParams);
  readonly href: string = $derived(this.#url.pathname + this.#url.search);

  constructor() {
    addEventListener('popstate', () => {
      this.#url = new URL(location.href);
    });
    document.addEventListener('click', (event) => this.#click(event));
  }

  go(href: string, replace = false): void {
    const url = new URL(href, location.href);
    if (url.href === this.#url.href) return;
    if (replace) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    const pageChanged = url.pathname !== this.#url.pathname;
    this.#url = url;
    if (pageChanged) scrollTo(0, 0);
  }

  /** Changes parts of the query; null or an empty text removes a part. */
  setQuery(changes: Record<string, string | null>, replace = true): void {
    const url = new URL(this.#url);
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
    event.preventDefault();
    this.go(link.href);
  }
}

export const router = new Router();

export function deviceHref(id: string): string {
  return `/devices/${encodeURIComponent(id)}`;
}
