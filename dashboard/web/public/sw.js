// Shows notifications while no page is open, and keeps the page's files for when the server is out of reach. Served from `/` and
// asked for anew each time, so it is never an old one for long. Plain JavaScript: what runs here is what is written here.

/** What is said here and not by the server, in the languages that it speaks. */
const WORDS = {
  en: {
    anything: 'Something has happened. Open Pulsewire to see it.',
    acknowledge: 'Acknowledge',
    silence: 'Silence 1 h',
    done_acknowledge: 'Acknowledged.',
    done_silence: 'Silenced for an hour.',
    status_401: 'This can no longer be done from here. Open Pulsewire to do it there.',
    status_403: 'You may not do this.',
    status_409: 'It is over already.',
    status_410: 'This message is too old for that. Open Pulsewire to do it there.',
    status_429: 'Too much was asked of the server at once. Try again in a minute.',
    failed: 'The server did not do it. Open Pulsewire to do it there.',
    offline: 'Not done: the server could not be reached. Try again.',
  },
  de: {
    anything: 'Es ist etwas geschehen. In Pulsewire steht, was.',
    acknowledge: 'Bestätigen',
    silence: '1 h stumm',
    done_acknowledge: 'Bestätigt.',
    done_silence: 'Für eine Stunde stummgeschaltet.',
    status_401: 'Das geht von hier aus nicht mehr, nur noch in Pulsewire selbst.',
    status_403: 'Das dürfen Sie nicht.',
    status_409: 'Es ist schon vorbei.',
    status_410: 'Dafür ist diese Nachricht zu alt. In Pulsewire selbst geht es noch.',
    status_429: 'Der Server wurde zu viel auf einmal gefragt. In einer Minute noch einmal.',
    failed: 'Der Server hat es nicht getan. In Pulsewire selbst lässt es sich noch einmal versuchen.',
    offline: 'Nicht getan: Der Server war nicht zu erreichen. Bitte noch einmal.',
  },
};

const ACTIONS = ['acknowledge', 'silence'];

/** What ends, or is taken care of, is no news: it takes the place of what was told, quietly. */
const QUIET = ['resolved', 'acknowledged'];

/** Longest token that is kept; those of the server have 75 characters. */
const TOKEN_CHARS_MAX = 512;

/** What a message says; one that is empty or damaged still says something. */
function read(data) {
  let message = {};
  try {
    message = (data && data.json()) || {};
  } catch {
    message = { body: data.text() };
  }
  const text = (value, otherwise) => (typeof value === 'string' && value !== '' ? value : otherwise);
  const flag = (value, otherwise) => (typeof value === 'boolean' ? value : otherwise);
  const kind = text(message.kind, '');
  const severity = ['info', 'warning', 'critical'].includes(message.severity) ? message.severity : 'info';
  const lang = message.lang === 'de' ? 'de' : 'en';
  const token = text(message.token, '').length <= TOKEN_CHARS_MAX ? text(message.token, '') : '';
  const actions = Array.isArray(message.actions) && token !== '' ? ACTIONS.filter((one) => message.actions.includes(one)) : [];
  const news = !QUIET.includes(kind);
  const open = message.open && Number.isInteger(message.open.count) && message.open.count >= 0 ? message.open.count : null;
  return {
    id: text(message.id, ''),
    kind,
    severity,
    lang,
    title: text(message.title, 'Pulsewire'),
    body: text(message.body, message.title ? '' : WORDS[lang].anything),
    url: inside(text(message.url, '/alerts')),
    tag: text(message.tag, 'pulsewire'),
    image: /^https:\/\//i.test(text(message.image, '')) ? message.image : null,
    timestamp: Date.parse(message.time) || Date.now(),
    ring: flag(message.ring, news),
    stay: flag(message.stay, news && severity === 'critical'),
    token,
    actions,
    open,
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

self.addEventListener('install', (event) => {
  self.skipWaiting();
  straight(event);
  // Messages come also where the files do not: nothing here may keep the worker from being put in place.
  event.waitUntil(keepFiles().catch(() => {}));
});
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

/** The files of the page as it was last seen whole. What the server knows and does is never in it. */
const FILES = 'pulsewire-files';
/** Says which files belong to the newest build; see vite.config.ts. */
const BUILD = '/build.json';
const POLICY = 'Content-Security-Policy';
/** Answered by the server alone. */
const SERVER = ['api', 'live', 'healthz', 'readyz', 'metrics'];
/** A page that is asked for has so long to come, in ms, if there is one here already. */
const PAGE_MS = 4000;

/** Browsers that can be told to pass the API by this worker do so: it is then as fast as without one. */
function straight(event) {
  try {
    const paths = SERVER.map((part) => ({ condition: { urlPattern: { pathname: `/${part}{/*}?` } }, source: 'network' }));
    const done = event.addRoutes && event.addRoutes(paths);
    if (done && done.catch) done.catch(() => {});
  } catch {
    // The rest of them ask here, and are passed on.
  }
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const part = url.pathname.split('/')[1];
  if (request.method !== 'GET' || url.origin !== self.location.origin || SERVER.includes(part)) return;
  if (url.pathname === BUILD || url.pathname === '/sw.js') return;
  if (request.mode === 'navigate') event.respondWith(page(event));
  // Their names change with what is in them.
  else if (part === 'assets') event.respondWith(kept(request).catch(() => undefined).then((found) => found || fetch(request)));
  else event.respondWith(fetch(request).catch(async (error) => (await kept(request)) || Promise.reject(error)));
});

async function kept(request) {
  return (await caches.open(FILES)).match(request, { ignoreVary: true });
}

/** The server's page first, so that nobody is left with an old one; the one that is kept when the server does not answer. */
async function page(event) {
  const asked = fetch(event.request);
  const late = new Promise((done) => setTimeout(done, PAGE_MS, null));
  const own = await kept('/').catch(() => undefined);
  let answer = null;
  try {
    answer = await (own ? Promise.race([asked, late]) : asked);
  } catch (error) {
    if (!own) throw error;
  }
  asked.catch(() => {});
  // A proxy in front of a server that is down answers too.
  if (answer === null || (answer.status >= 500 && own)) return own;
  event.waitUntil(keepFiles(answer.ok ? answer.headers.get(POLICY) : null).catch(() => {}));
  return answer;
}

/**
 * Keeps the files of the newest build, all or none, and lets go of those of the one before. `policy`: what the page may load now, as
 * the server is configured; one that is kept with another is fetched anew.
 */
async function keepFiles(policy = null) {
  const told = await fetch(BUILD, { cache: 'no-cache' });
  if (!told.ok || told.redirected) return;
  const text = await told.text();
  const { build, files } = JSON.parse(text);
  const cache = await caches.open(FILES);
  const before = await cache.match(BUILD);
  const page = await cache.match('/');
  const allowed = policy === null || !page || page.headers.get(POLICY) === policy;
  if (before && (await before.json()).build === build && allowed) return;
  let first = null;
  await Promise.all(
    files.map(async (file) => {
      if (file.startsWith('/assets/') && (await cache.match(file))) return;
      const answer = await fetch(file, { cache: 'no-cache' });
      // Where a proxy wants a sign-in of its own, what it leads to is no file of ours.
      if (!answer.ok || answer.redirected) throw new Error(`${file}: ${answer.status}`);
      // The page comes last: it names the others.
      if (file === '/') first = answer;
      else await cache.put(file, answer);
    }),
  );
  if (first) await cache.put('/', first);
  await cache.put(BUILD, new Response(text, { headers: { 'Content-Type': 'application/json' } }));
  const wanted = new Set([...files, BUILD]);
  const names = await cache.keys();
  await Promise.all(names.filter((one) => !wanted.has(new URL(one.url).pathname)).map((one) => cache.delete(one)));
}

self.addEventListener('push', (event) => event.waitUntil(receive(event.data)));

async function receive(data) {
  let message = null;
  try {
    message = read(data);
  } catch {
    // What cannot be read is shown all the same.
  }
  await show(message);
  if (message === null) return;
  await Promise.all([badge(message.open), report(message.token, 'shown')]);
}

/** Shows something whatever happens: browsers take the subscription away from those who are silent. */
async function show(message) {
  const { registration } = self;
  if (message === null) {
    return registration.showNotification('Pulsewire', { body: WORDS.en.anything, tag: 'pulsewire', data: { url: '/alerts', id: '' } });
  }
  const { title, body, tag, url, id, token, lang } = message;
  const plain = { body, tag, data: token === '' ? { url, id } : { url, id, token, lang } };
  try {
    const ring = message.ring && !(await isShown(message));
    await registration.showNotification(title, {
      ...plain,
      // "Resolved" takes the place of "firing".
      renotify: ring,
      requireInteraction: message.stay,
      silent: !ring,
      timestamp: message.timestamp,
      icon: `/icons/${message.kind === 'resolved' ? 'resolved' : message.severity}.png`,
      badge: '/icons/badge.png',
      lang,
      actions: message.actions.map((action) => ({ action, title: WORDS[lang][action] })),
      ...(message.image === null ? {} : { image: message.image }),
    });
  } catch {
    // A browser that takes no such notification takes the words alone.
    await registration.showNotification(title, plain);
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

/** How many alerts are open, on the sign of the installed application. Not every browser has that. */
async function badge(count) {
  const { navigator } = self;
  if (count === null || !navigator || !navigator.setAppBadge) return;
  try {
    await (count > 0 ? navigator.setAppBadge(count) : navigator.clearAppBadge());
  } catch {
    // Only a number less.
  }
}

/** How long the server has to answer, in ms. A browser lets a click open a page for ten seconds, so all tries end before that. */
const REPORT_MS = 5000;
const TRY_MS = 2500;
const TRIES_PAUSES_MS = [500, 1500];

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks the server to do something with what a message is about. The token says who asks, so no cookie is needed. */
async function ask(token, action, withinMs) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), withinMs);
  try {
    const answer = await fetch('/api/v1/push/actions', {
      method: 'POST',
      credentials: 'omit',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token, action }),
      signal: abort.signal,
    });
    return { status: answer.status, ok: answer.ok, document: await answer.json().catch(() => null) };
  } finally {
    clearTimeout(timer);
  }
}

/** Tells what became of a message. Nobody waits for it, and it is not told twice. */
async function report(token, what) {
  if (!token) return;
  try {
    await ask(token, what, REPORT_MS);
  } catch {
    // Only a count less.
  }
}

self.addEventListener('notificationclose', (event) => event.waitUntil(report(event.notification.data?.token, 'dismissed')));

self.addEventListener('notificationclick', (event) => {
  const { notification, action } = event;
  const data = notification.data || {};
  if (ACTIONS.includes(action) && data.token) {
    event.waitUntil(act(notification, action, data));
    return;
  }
  notification.close();
  // The page first: a browser opens one only soon after the click.
  event.waitUntil(Promise.all([open(data.url || '/alerts'), report(data.token, 'opened')]));
});

/** Does what a button of the notification says, and shows in its place what came of it. */
async function act(notification, action, data) {
  const words = WORDS[data.lang === 'de' ? 'de' : 'en'];
  const answer = await insist(data.token, action);
  /** The buttons stay, for another try. */
  const again = { data, actions: notification.actions, requireInteraction: notification.requireInteraction };
  if (answer === null) {
    await replace(notification, words.offline, again);
    await open(data.url || '/alerts').catch(() => {});
    return;
  }
  const { url, id } = data;
  const said = answer.document || {};
  // The server's words are English.
  const text = [answer.ok && data.lang !== 'de' ? said.text : null, words[answer.ok ? `done_${action}` : `status_${answer.status}`], said.detail, words.failed];
  await replace(notification, text.find((one) => typeof one === 'string' && one !== ''), {
    data: { url: url || '/alerts', id },
    ...(answer.status === 429 ? again : {}),
    ...(answer.ok ? { icon: '/icons/resolved.png' } : {}),
  });
}

/** Asks until the server answers, a few times; null if it does not. */
async function insist(token, action) {
  for (const wait of [...TRIES_PAUSES_MS, null]) {
    try {
      const answer = await ask(token, action, TRY_MS);
      if (answer.status < 500) return answer;
    } catch {
      // No answer: perhaps the next.
    }
    if (wait !== null) await pause(wait);
  }
  return null;
}

async function replace(notification, body, options) {
  const { title, tag, icon } = notification;
  const plain = { body, tag, data: options.data, silent: true };
  try {
    await self.registration.showNotification(title, { icon, badge: '/icons/badge.png', ...plain, ...options });
  } catch {
    await self.registration.showNotification(title, plain);
  }
}

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
const PAGES = ['', 'devices', 'explore', 'map', 'alerts', 'rules', 'silences', 'announcements', 'settings', 'about', 'start', 'signin'];

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
