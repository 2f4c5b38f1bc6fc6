/** The service worker as it is served, in a global scope of our own. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

const SOURCE = readFileSync(resolve(import.meta.dirname, '../../web/public/sw.js'), 'utf8');

type Handler = (event: Record<string, unknown>) => void;

const shown: { title: string; options: Record<string, unknown> }[] = [];
let handlers: Record<string, Handler>;
let clients: { url: string; visibilityState: string; postMessage: ReturnType<typeof vi.fn>; focus: ReturnType<typeof vi.fn> }[];
/** A browser that takes no such notification. */
let refuse: (options: Record<string, unknown>) => boolean;
let openWindow: ReturnType<typeof vi.fn>;
let subscribe: ReturnType<typeof vi.fn>;
let fetched: [string, RequestInit | undefined][];
/** What a file of the server is; null leaves it to `answers`. */
let file: ((url: string) => Response) | null;
/** What the server answers to what a notification asks for, in turn; the last one again and again. */
let answers: (() => Promise<{ status: number; document?: unknown }>)[];
let badges: (number | null)[];
let navigator: Record<string, unknown> | undefined;

beforeEach(() => {
  shown.length = 0;
  handlers = {};
  clients = [];
  fetched = [];
  file = null;
  answers = [async () => ({ status: 200, document: { done: true, text: '' } })];
  badges = [];
  navigator = { setAppBadge: async (count: number) => void badges.push(count), clearAppBadge: async () => void badges.push(null) };
  refuse = () => false;
  openWindow = vi.fn(async () => null);
  subscribe = vi.fn(async () => ({ toJSON: () => ({ endpoint: 'https://push.example/new', keys: { p256dh: 'P', auth: 'A' } }) }));
  const self = {
    location: { origin: 'https://pulse.example' },
    get navigator() {
      return navigator;
    },
    addEventListener: (name: string, handler: Handler) => {
      handlers[name] = handler;
    },
    registration: {
      showNotification: async (title: string, options: Record<string, unknown>) => {
        if (refuse(options)) throw new TypeError('not known here');
        shown.push({ title, options });
      },
      getNotifications: async ({ tag }: { tag: string }) =>
        shown.filter((one) => one.options.tag === tag).slice(-1).map((one) => ({ data: one.options.data })),
      pushManager: { subscribe },
    },
    clients: { matchAll: async () => clients, openWindow, claim: async () => {} },
    skipWaiting: () => {},
  };
  const answer = async (asked: string | { url: string }, init?: RequestInit) => {
    const url = typeof asked === 'string' ? asked : new URL(asked.url).pathname;
    fetched.push([url, init]);
    if (file !== null) return file(url);
    if (url === '/api/v1/push/actions') {
      const answer = await (answers.length > 1 ? answers.shift() : answers[0])?.();
      const { status, document } = answer ?? { status: 500 };
      return { status, ok: status < 300, json: async () => document };
    }
    return { ok: true, json: async () => ({ webpush: { available: true, public_key: 'BAEC' } }) };
  };
  new Function('self', 'fetch', SOURCE)(self, answer);
});

/** What notifications asked the server for. */
const asked = () =>
  fetched.filter(([url]) => url === '/api/v1/push/actions').map(([, init]) => {
    expect(init).toMatchObject({ method: 'POST', credentials: 'omit', headers: { 'Content-Type': 'application/json' } });
    return JSON.parse(String(init?.body)) as { token: string; action: string };
  });

/** Lets the worker handle an event, to its end. */
async function happen(name: string, event: Record<string, unknown>): Promise<void> {
  let work: Promise<unknown> | null = null;
  handlers[name]?.({ ...event, waitUntil: (promise: Promise<unknown>) => (work = promise) });
  expect(work, 'the browser must wait for the work').not.toBeNull();
  await work;
}

const pushed = (text: string) => happen('push', { data: { json: () => JSON.parse(text), text: () => text } });

const MESSAGE = {
  v: 1,
  id: '01K',
  kind: 'firing',
  severity: 'critical',
  title: 'Cold room too warm',
  body: '-11.4 °C > -12 °C',
  url: '/alerts/01KA',
  tag: 'alert-01KA',
  open: { count: 2, worst: 'critical' },
  time: '2026-11-21T09:00:00Z',
};

describe('push', () => {
  it('shows what the message says; a critical one stays until someone reacts', async () => {
    await pushed(JSON.stringify(MESSAGE));
    expect(shown).toEqual([
      {
        title: 'Cold room too warm',
        options: expect.objectContaining({
          body: '-11.4 °C > -12 °C',
          tag: 'alert-01KA',
          renotify: true,
          requireInteraction: true,
          icon: '/icons/critical.png',
          data: { url: '/alerts/01KA', id: '01K' },
          timestamp: Date.parse(MESSAGE.time),
        }),
      },
    ]);
  });

  it('"resolved" takes the place of "firing", quietly', async () => {
    await pushed(JSON.stringify({ ...MESSAGE, kind: 'resolved' }));
    expect(shown[0]?.options).toMatchObject({ tag: 'alert-01KA', silent: true, renotify: false, requireInteraction: false, icon: '/icons/resolved.png' });
  });

  it('shows something for data that is missing, damaged or of another kind', async () => {
    await happen('push', { data: null });
    await pushed('no JSON');
    await pushed('null');
    await pushed('{"title": 7, "severity": "loud", "url": {}, "time": "noon"}');
    expect(shown.map((one) => one.title)).toEqual(['Pulsewire', 'Pulsewire', 'Pulsewire', 'Pulsewire']);
    expect(shown[1]?.options.body).toBe('no JSON');
    for (const { options } of shown) {
      expect(options).toMatchObject({ tag: 'pulsewire', icon: '/icons/info.png', data: { url: '/alerts', id: '' } });
      expect(options.timestamp).toBeGreaterThan(0);
    }
  });

  it('a message that comes twice rings once; a new one about the same alert rings', async () => {
    await pushed(JSON.stringify(MESSAGE));
    await pushed(JSON.stringify(MESSAGE));
    await pushed(JSON.stringify({ ...MESSAGE, id: '01L' }));
    expect(shown.map(({ options }) => [options.renotify, options.silent])).toEqual([[true, false], [false, true], [true, false]]);
  });

  it('shows something though the browser refuses what it is told, and lacks newer functions', async () => {
    refuse = (options) => options.requireInteraction === true;
    await pushed(JSON.stringify(MESSAGE));
    expect(shown).toEqual([{ title: 'Cold room too warm', options: { body: MESSAGE.body, tag: MESSAGE.tag, data: { url: MESSAGE.url, id: MESSAGE.id } } }]);
    expect(SOURCE).not.toMatch(/URL\.(canParse|parse)\(/);
  });

  it('never leads to another site', async () => {
    for (const url of ['https://evil.example/', '//evil.example/x', 'javascript:alert(1)', 'https://']) {
      await pushed(JSON.stringify({ ...MESSAGE, url }));
      expect(shown.at(-1)?.options.data).toMatchObject({ url: '/alerts' });
    }
  });
});

describe('what a message may say beyond that', () => {
  const TOKEN = 'T'.repeat(75);
  const ACTABLE = { ...MESSAGE, token: TOKEN, actions: ['acknowledge', 'silence'], lang: 'de', ring: false, stay: false, image: 'https://pictures.example/1.png' };

  it('buttons, a picture, and whether it is heard and stays', async () => {
    await pushed(JSON.stringify(ACTABLE));
    expect(shown[0]?.options).toMatchObject({
      silent: true,
      renotify: false,
      requireInteraction: false,
      lang: 'de',
      image: 'https://pictures.example/1.png',
      actions: [{ action: 'acknowledge', title: 'Bestätigen' }, { action: 'silence', title: '1 h stumm' }],
      data: { url: '/alerts/01KA', id: '01K', token: TOKEN, lang: 'de' },
    });
    await pushed(JSON.stringify({ ...ACTABLE, id: '01L', severity: 'info', ring: true, stay: true, lang: 'en', actions: ['acknowledge', 'explode'] }));
    expect(shown[1]?.options).toMatchObject({ silent: false, renotify: true, requireInteraction: true, actions: [{ action: 'acknowledge', title: 'Acknowledge' }] });
  });

  it('no button without the right to use it, and no picture but over https', async () => {
    await pushed(JSON.stringify({ ...ACTABLE, token: undefined, image: 'http://pictures.example/1.png' }));
    await pushed(JSON.stringify({ ...ACTABLE, token: 'x'.repeat(1_000) }));
    await pushed(JSON.stringify({ ...ACTABLE, actions: 'acknowledge', image: 7, lang: 'tlh' }));
    for (const { options } of shown) expect(options.actions).toEqual([]);
    expect(shown.map(({ options }) => 'image' in options)).toEqual([false, true, false]);
    expect(shown[2]?.options.lang).toBe('en');
  });

  it.each([
    ['acknowledged', { silent: true, requireInteraction: false, icon: '/icons/critical.png' }],
    ['digest', { silent: false, requireInteraction: true, icon: '/icons/critical.png' }],
    ['announcement', { silent: false, requireInteraction: true }],
    ['operator', { silent: false, requireInteraction: true }],
    ['of a later version', { silent: false, requireInteraction: true }],
  ])('%s, with nothing said of sound', async (kind, expected) => {
    await pushed(JSON.stringify({ ...MESSAGE, kind }));
    expect(shown[0]?.options).toMatchObject(expected);
  });

  it('the count of open alerts, where the browser has a place for it', async () => {
    await pushed(JSON.stringify(MESSAGE));
    await pushed(JSON.stringify({ ...MESSAGE, open: { count: 0, worst: null } }));
    await pushed(JSON.stringify({ ...MESSAGE, open: { count: 'many' } }));
    expect(badges).toEqual([2, null]);
    navigator = undefined;
    await pushed(JSON.stringify(MESSAGE));
    navigator = { setAppBadge: async () => Promise.reject(new Error('not installed')) };
    await pushed(JSON.stringify(MESSAGE));
    expect(shown).toHaveLength(5);
  });

  it('what was shown, opened and dismissed is told, and a server that does not answer is not waited for', async () => {
    vi.useFakeTimers();
    answers = [() => new Promise(() => {})];
    const done = pushed(JSON.stringify(ACTABLE));
    await vi.advanceTimersByTimeAsync(0);
    expect(shown).toHaveLength(1);
    expect(asked()).toEqual([{ token: TOKEN, action: 'shown' }]);
    answers = [() => Promise.reject(new TypeError('Failed to fetch'))];
    await vi.advanceTimersByTimeAsync(5_000);
    expect((fetched.at(-1)?.[1]?.signal as AbortSignal).aborted).toBe(true);
    await happen('notificationclick', { notification: { close: vi.fn(), data: { url: '/alerts/01KA', token: TOKEN } }, action: '' });
    expect(openWindow).toHaveBeenCalledWith('/alerts/01KA');
    await happen('notificationclose', { notification: { data: { token: TOKEN } } });
    await happen('notificationclose', { notification: { data: { url: '/' } } });
    expect(asked().map(({ action }) => action)).toEqual(['shown', 'opened', 'dismissed']);
    void done;
  });
});

describe('a button of a notification', () => {
  const notification = (lang = 'en') => ({
    close: vi.fn(),
    title: MESSAGE.title,
    body: MESSAGE.body,
    tag: MESSAGE.tag,
    icon: '/icons/critical.png',
    requireInteraction: true,
    actions: [{ action: 'acknowledge', title: 'Acknowledge' }],
    data: { url: '/alerts/01KA', id: '01K', token: 'TOKEN', lang },
  });
  const press = (action: string, lang?: string) => happen('notificationclick', { notification: notification(lang), action });

  it('does it, and says so quietly in its place; no page opens', async () => {
    answers = [async () => ({ status: 200, document: { done: true, text: 'Acknowledged by kim' } })];
    await press('acknowledge');
    expect(asked()).toEqual([{ token: 'TOKEN', action: 'acknowledge' }]);
    expect(shown).toEqual([
      { title: MESSAGE.title, options: { body: 'Acknowledged by kim', tag: MESSAGE.tag, silent: true, icon: '/icons/resolved.png', badge: '/icons/badge.png', data: { url: '/alerts/01KA', id: '01K' } } },
    ]);
    expect(openWindow).not.toHaveBeenCalled();
    answers = [async () => ({ status: 200 })];
    await press('silence', 'de');
    expect(shown[1]?.options.body).toBe('Für eine Stunde stummgeschaltet.');
  });

  it.each([
    [401, 'en', 'This can no longer be done from here. Open Pulsewire to do it there.'],
    [403, 'en', 'You may not do this.'],
    [409, 'de', 'Es ist schon vorbei.'],
    [410, 'en', 'This message is too old for that. Open Pulsewire to do it there.'],
    [418, 'en', 'I am a teapot'],
  ])('status %d is told in words', async (status, lang, words) => {
    answers = [async () => ({ status, document: { detail: 'I am a teapot' } })];
    await press('acknowledge', lang);
    expect(asked()).toHaveLength(1);
    expect(shown[0]?.options).toMatchObject({ body: words, silent: true, icon: '/icons/critical.png' });
    expect(shown[0]?.options).not.toHaveProperty('actions');
  });

  it('tries again when no answer comes, and when the server fails', async () => {
    vi.useFakeTimers();
    answers = [() => Promise.reject(new TypeError('Failed to fetch')), async () => ({ status: 503 }), async () => ({ status: 200, document: { text: 'done' } })];
    const pressed = press('silence');
    await vi.advanceTimersByTimeAsync(2_000);
    await pressed;
    expect(asked()).toHaveLength(3);
    expect(shown.map(({ options }) => options.body)).toEqual(['done']);
  });

  it('without a server it says so within ten seconds, keeps its buttons and opens the page', async () => {
    vi.useFakeTimers();
    answers = [() => new Promise((_done, failed) => setTimeout(() => failed(new DOMException('aborted', 'AbortError')), 2_500))];
    const pressed = press('acknowledge');
    await vi.advanceTimersByTimeAsync(9_900);
    await pressed;
    expect(asked()).toHaveLength(3);
    expect(shown[0]?.options).toMatchObject({ body: 'Not done: the server could not be reached. Try again.', actions: [{ action: 'acknowledge' }], data: { token: 'TOKEN' } });
    expect(openWindow).toHaveBeenCalledWith('/alerts/01KA');
  });

  it('stays where the server has too much to do', async () => {
    answers = [async () => ({ status: 429 })];
    await press('acknowledge', 'de');
    expect(shown[0]?.options).toMatchObject({ actions: [{ action: 'acknowledge' }], data: { token: 'TOKEN' } });
  });

  it('an action that is not known is a click', async () => {
    await press('explode');
    expect(openWindow).toHaveBeenCalled();
    expect(asked().map(({ action }) => action)).toEqual(['opened']);
  });
});

afterEach(() => void vi.useRealTimers());

describe('notificationclick', () => {
  const notification = () => ({ close: vi.fn(), data: { url: '/alerts/01KA' } });
  const page = (visibilityState: string, path = '/devices/1') => ({ url: `https://pulse.example${path}`, visibilityState, postMessage: vi.fn(), focus: vi.fn(async () => {}) });

  it('leads an open page there, the visible one first', async () => {
    clients = [page('hidden'), page('visible')];
    const clicked = notification();
    await happen('notificationclick', { notification: clicked });
    expect(clicked.close).toHaveBeenCalled();
    expect(clients[1]?.postMessage).toHaveBeenCalledWith({ type: 'open', url: '/alerts/01KA' });
    expect(clients[1]?.focus).toHaveBeenCalled();
    expect(clients[0]?.postMessage).not.toHaveBeenCalled();
    expect(openWindow).not.toHaveBeenCalled();
  });

  it('goes on when the browser does not let it focus', async () => {
    clients = [page('hidden')];
    clients[0]?.focus.mockRejectedValue(new DOMException('Not allowed to focus a window.', 'InvalidAccessError'));
    await happen('notificationclick', { notification: notification() });
    expect(clients[0]?.postMessage).toHaveBeenCalled();
  });

  it('leaves alone tabs that are not the application', async () => {
    clients = ['/metrics', '/api/v1/overview', '/healthz', '/api/docs/'].map((path) => page('visible', path));
    await happen('notificationclick', { notification: notification() });
    expect(openWindow).toHaveBeenCalledWith('/alerts/01KA');
    clients.push(page('hidden', '/'));
    await happen('notificationclick', { notification: notification() });
    expect(openWindow).toHaveBeenCalledTimes(1);
    expect(clients.filter((one) => one.postMessage.mock.calls.length > 0)).toEqual([clients.at(-1)]);
  });

  it('opens a page where there is none', async () => {
    await happen('notificationclick', { notification: notification() });
    expect(openWindow).toHaveBeenCalledWith('/alerts/01KA');
  });
});

describe('pushsubscriptionchange', () => {
  const registered = () => JSON.parse(String(fetched.at(-1)?.[1]?.body));

  it('tells the server the new address', async () => {
    const newSubscription = { toJSON: () => ({ endpoint: 'https://push.example/given', keys: { p256dh: 'P', auth: 'A' } }) };
    await happen('pushsubscriptionchange', { newSubscription });
    expect(subscribe).not.toHaveBeenCalled();
    expect(fetched.at(-1)?.[0]).toBe('/api/v1/push/endpoints');
    expect(registered()).toEqual({ kind: 'webpush', url: 'https://push.example/given', keys: { p256dh: 'P', auth: 'A' } });
  });

  it('subscribes anew with the server\'s key when the browser gives no new address', async () => {
    await happen('pushsubscriptionchange', { newSubscription: null });
    expect([...subscribe.mock.calls[0]?.[0].applicationServerKey]).toEqual([4, 1, 2]);
    expect(registered().url).toBe('https://push.example/new');
  });
});

describe('tiles of the map', () => {
  /** What the worker answers to a request of the page; undefined: it leaves that to the browser. */
  const fetching = async (url: string) => {
    let answer: Promise<unknown> | undefined;
    handlers.fetch?.({ request: { method: 'GET', mode: 'no-cors', url }, respondWith: (given: Promise<unknown>) => (answer = given) });
    return answer;
  };
  const opened = vi.fn(async () => ({ match: async () => undefined, put: async () => {} }));
  beforeEach(() => {
    opened.mockClear();
    vi.stubGlobal('caches', { open: opened });
  });
  afterEach(() => vi.unstubAllGlobals());

  it('on another server are none of its business, and on this one are fetched and not kept', async () => {
    expect(await fetching('https://tile.example.org/1/0/0.png')).toBeUndefined();
    expect(fetched).toEqual([]);
    expect(await fetching('https://pulse.example/tiles/1/0/0.png')).toBeDefined();
    expect(fetched).toHaveLength(1);
    expect(opened).not.toHaveBeenCalled();
  });
});

describe('the page that is kept', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('is fetched anew when it may load something else than before, and else only for a new build', async () => {
    const files = new Map<string, Response>();
    const name = (asked: string | { url: string }) => (typeof asked === 'string' ? asked : new URL(asked.url).pathname);
    const cache = {
      match: async (asked: string | { url: string }) => files.get(name(asked))?.clone(),
      put: async (asked: string, answer: Response) => void files.set(asked, answer),
      keys: async () => [...files.keys()].map((path) => ({ url: `https://pulse.example${path}` })),
      delete: async (asked: { url: string }) => files.delete(name(asked)),
    };
    vi.stubGlobal('caches', { open: async () => cache });
    let policy = "img-src 'self'";
    file = (url) => (url === '/build.json' ? Response.json({ build: '1', files: ['/'] }) : new Response('page', { headers: { 'Content-Security-Policy': policy } }));
    const visit = async () => {
      let answer: Promise<unknown> | undefined;
      const kept: Promise<unknown>[] = [];
      const request = { method: 'GET', mode: 'navigate', url: 'https://pulse.example/map' };
      handlers.fetch?.({ request, respondWith: (given: Promise<unknown>) => (answer = given), waitUntil: (work: Promise<unknown>) => kept.push(work) });
      // What it keeps begins once the page has come.
      await answer;
      await Promise.all(kept);
      return fetched.splice(0).map(([url]) => url);
    };
    expect(await visit()).toEqual(['/map', '/build.json', '/']);
    expect(await visit()).toEqual(['/map', '/build.json']);
    policy = "img-src 'self' https://tile.example.org";
    expect(await visit()).toEqual(['/map', '/build.json', '/']);
    expect(files.get('/')?.headers.get('Content-Security-Policy')).toBe(policy);
    expect(await visit()).toEqual(['/map', '/build.json']);
  });
});
