// Shows notifications while no page is open. Served from `/` and asked for anew each time, so it is never an old one for long.
// Plain JavaScript: what runs here is what is written here.

const ANYTHING = 'Something has happened. Open Pulsewire to see it.';

/** What a message says; one that is empty or damaged still says something. */
function read(data) {
  let message = {};
  try {
    message = (data && data.json()) || {};
  } catch {
    message = { body: data.text() };
  }
  const text = (value, otherwise) => (typeof value === 'string' && value !== '' ? value : otherwise);
  return {
    id: text(message.id, ''),
    kind: text(message.kind, ''),
    severity: ['info', 'warning', 'critical'].includes(message.severity) ? message.severity : 'info',
    title: text(message.title, 'Pulsewire'),
    body: text(message.body, message.title ? '' : ANYTHING),
    url: inside(text(message.url, '/alerts')),
    tag: text(message.tag, 'pulsewire'),
    timestamp: Date.parse(message.time) || Date.now(),
  };
}

/** Only pages of this server are opened. */
function inside(url) {
  const { origin } = self.location;
  try {
    return new URL(url, origin).origin === origin ? url : '/alerts';
  } catch {
    return '/alerts';
  }
}

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => event.waitUntil(show(event.data)));

/** Shows something whatever happens: browsers take the subscription away from those who are silent. */
async function show(data) {
  try {
    const message = read(data);
    const firing = message.kind !== 'resolved';
    const ring = firing && !(await isShown(message));
    await self.registration.showNotification(message.title, {
      body: message.body,
      // "Resolved" takes the place of "firing".
      tag: message.tag,
      renotify: ring,
      requireInteraction: firing && message.severity === 'critical',
      silent: !ring,
      timestamp: message.timestamp,
      icon: `/icons/${firing ? message.severity : 'resolved'}.png`,
      badge: '/icons/badge.png',
      data: { url: message.url, id: message.id },
    });
  } catch {
    await self.registration.showNotification('Pulsewire', { body: ANYTHING, tag: 'pulsewire', data: { url: '/alerts', id: '' } });
  }
}

/** A message may come twice: when no answer reaches the server, it has to send again. It rings once. */
async function isShown(message) {
  if (message.id === '') return false;
  try {
    const shown = await self.registration.getNotifications({ tag: message.tag });
    return shown.some((one) => one.data && one.data.id === message.id);
  } catch {
    return false;
  }
}

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url || '/alerts'));
});

/** Leads an open page there, or opens one. */
async function open(url) {
  const tabs = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const pages = tabs.filter((one) => isPage(one.url));
  const page = pages.find((one) => one.visibilityState === 'visible') || pages[0];
  if (!page) return self.clients.openWindow(url);
  page.postMessage({ type: 'open', url });
  try {
    await page.focus();
  } catch {
    // InvalidAccessError: no click of a person led here. The page shows it all the same.
  }
}

/** The first part of the paths at which the application is; the server answers others by itself, such as /metrics. */
const PAGES = ['', 'devices', 'alerts', 'rules', 'settings', 'signin'];

function isPage(url) {
  return PAGES.includes(new URL(url).pathname.split('/')[1]);
}

/** The browser changed the address by itself: the server has to know the new one. If it does not hear, the next page tells it. */
self.addEventListener('pushsubscriptionchange', (event) => event.waitUntil(renew(event)));

async function renew(event) {
  let subscription = event.newSubscription;
  if (!subscription) {
    const answer = await fetch('/api/v1/push/config', { credentials: 'same-origin' });
    if (!answer.ok) return;
    const key = (await answer.json()).webpush.public_key;
    const binary = atob(key.replace(/-/g, '+').replace(/_/g, '/'));
    subscription = await self.registration.pushManager.subscribe({
      userVisibleOnly: true,
      applicationServerKey: Uint8Array.from(binary, (character) => character.charCodeAt(0)),
    });
  }
  const { endpoint, keys } = subscription.toJSON();
  await fetch('/api/v1/push/endpoints', {
    method: 'POST',
    credentials: 'same-origin',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ kind: 'webpush', url: endpoint, keys }),
  });
}
