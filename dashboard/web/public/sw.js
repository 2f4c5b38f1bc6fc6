// Shows notifications while no page is open. Served from `/` and asked for anew each time, so it is never an old one for long.
// Plain JavaScript: what runs here is what is written here.

/** What a message says; one that is empty or damaged still shows something, since browsers punish silence. */
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
    body: text(message.body, message.title ? '' : 'Something has happened. Open Pulsewire to see it.'),
    url: inside(text(message.url, '/alerts')),
    tag: text(message.tag, 'pulsewire'),
    timestamp: Date.parse(message.time) || Date.now(),
  };
}

/** Only pages of this server are opened. */
function inside(url) {
  const { origin } = self.location;
  return URL.canParse(url, origin) && new URL(url, origin).origin === origin ? url : '/alerts';
}

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => {
  const message = read(event.data);
  const firing = message.kind !== 'resolved';
  event.waitUntil(
    self.registration.showNotification(message.title, {
      body: message.body,
      // "Resolved" takes the place of "firing".
      tag: message.tag,
      renotify: firing,
      requireInteraction: firing && message.severity === 'critical',
      silent: !firing,
      timestamp: message.timestamp,
      icon: `/icons/${firing ? message.severity : 'resolved'}.png`,
      badge: '/icons/badge.png',
      data: { url: message.url, id: message.id },
    }),
  );
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url || '/alerts'));
});

/** Leads an open page there, or opens one. */
async function open(url) {
  const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const page = pages.find((one) => one.visibilityState === 'visible') || pages[0];
  if (!page) return self.clients.openWindow(url);
  page.postMessage({ type: 'open', url });
  try {
    await page.focus();
  } catch {
    // InvalidAccessError: no click of a person led here. The page shows it all the same.
  }
}

/** The browser changed the address by itself: the server has to know the new one. */
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
