/** The service worker as it is served, in a global scope of our own. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';

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

beforeEach(() => {
  shown.length = 0;
  handlers = {};
  clients = [];
  fetched = [];
  refuse = () => false;
  openWindow = vi.fn(async () => null);
  subscribe = vi.fn(async () => ({ toJSON: () => ({ endpoint: 'https://push.example/new', keys: { p256dh: 'P', auth: 'A' } }) }));
  const self = {
    location: { origin: 'https://pulse.example' },
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
  const answer = async (url: string, init?: RequestInit) => {
    fetched.push([url, init]);
    return { ok: true, json: async () => ({ webpush: { available: true, public_key: 'BAEC' } }) };
  };
  new Function('self', 'fetch', SOURCE)(self, answer);
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
    expect(shown.map((one) => one.title)).toEqual(['Pulsewire']);
    expect(SOURCE).not.toMatch(/URL\.(canParse|parse)\(/);
  });

  it('never leads to another site', async () => {
    for (const url of ['https://evil.example/', '//evil.example/x', 'javascript:alert(1)', 'https://']) {
      await pushed(JSON.stringify({ ...MESSAGE, url }));
      expect(shown.at(-1)?.options.data).toMatchObject({ url: '/alerts' });
    }
  });
});

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
