import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Page } from '@playwright/test';
import { expect, fromSource, startServer, test } from './server';

test.skip(fromSource, 'the page from its source has no files to keep');

/** What this browser keeps of the page. */
const keptPaths = (page: Page) =>
  page.evaluate(async () => {
    const cache = await caches.open('pulsewire-files');
    return (await cache.keys()).map((one) => new URL(one.url).pathname);
  });

test('can be installed: name, icons, pictures and shortcuts are there', async ({ page, request }) => {
  await page.goto('/');
  const href = await page.locator('link[rel=manifest]').getAttribute('href');
  const manifest = await (await request.get(href as string)).json();
  expect(manifest).toMatchObject({ id: '/', name: 'Pulsewire', display: 'standalone', start_url: '/' });
  for (const { src, sizes } of [...manifest.icons, ...manifest.screenshots, ...manifest.shortcuts.flatMap((one: { icons: object[] }) => one.icons)]) {
    const answer = await request.get(src);
    expect(answer.headers()['content-type'], src).toBe('image/png');
    const bytes = await answer.body();
    expect(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`, src).toBe(sizes);
  }
  for (const { url } of manifest.shortcuts) {
    await page.goto(url);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.getByText('There is no such page')).toHaveCount(0);
  }
});

test('every file of the page is kept, and nothing of the API', async ({ page, request }) => {
  await page.goto('/');
  const { files } = await (await request.get('/build.json')).json();
  await expect.poll(async () => (await keptPaths(page)).includes('/build.json')).toBe(true);
  const kept = await keptPaths(page);
  expect(kept.sort()).toEqual([...files, '/build.json'].sort());
  expect(files.some((one: string) => one.startsWith('/assets/'))).toBe(true);

  // Now under the worker: what the API answers is asked for each time, and not kept.
  await page.reload();
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  await page.goto('/devices');
  await expect(page.getByRole('table', { name: 'Devices' })).toBeVisible();
  expect((await keptPaths(page)).filter((path) => /^\/(api|live|healthz|readyz|metrics)/.test(path))).toEqual([]);
});

test('without the server every page is still there and says what is missing', async ({ browser }) => {
  const server = await startServer();
  let stopped = false;
  const context = await browser.newContext({ baseURL: server.url });
  try {
    await context.request.post('/api/v1/session', { data: { user: 'admin', password: 'correct horse battery' } });
    const page = await context.newPage();
    await page.goto('/');
    await expect.poll(async () => (await keptPaths(page)).includes('/build.json')).toBe(true);
    stopped = true;
    await server.stop();
    for (const path of ['/', '/alerts', '/map']) {
      await page.goto(path);
      await expect(page.getByRole('heading', { name: 'The server cannot be reached' })).toBeVisible({ timeout: 15_000 });
      await expect(page.getByText('nothing of them is kept here')).toBeVisible();
    }
  } finally {
    await context.close();
    if (!stopped) await server.stop();
  }
});

test.describe('a server with a newer page', () => {
  // Requests that a service worker passes on cannot be answered by the test.
  test.use({ serviceWorkers: 'block' });

  test('is noticed when the connection comes back, and loaded when one wants it', async ({ page }) => {
    await page.route('**/build.json', (route) => route.fulfill({ json: { build: 'newer', entry: '/assets/index-newer.js', files: [] } }));
    const open: { close: () => Promise<void> }[] = [];
    await page.routeWebSocket('**/live', (socket) => {
      socket.connectToServer();
      open.push(socket);
    });
    await page.goto('/');
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    await expect(page.getByTestId('update')).toHaveCount(0);
    await open[0]?.close();
    await expect(page.getByTestId('update')).toBeVisible();
    await page.getByRole('button', { name: 'Load it' }).click();
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    await expect(page.getByTestId('update')).toHaveCount(0);
  });
});

test('a new build takes the place of the one that is kept', async ({ page, context }) => {
  await page.goto('/');
  await expect.poll(async () => (await keptPaths(page)).includes('/build.json')).toBe(true);
  // As an older build would have left it.
  await page.evaluate(async () => {
    const cache = await caches.open('pulsewire-files');
    await cache.put('/build.json', new Response(JSON.stringify({ build: 'older', files: [] })));
    await cache.put('/assets/index-older.js', new Response(''));
    await cache.put('/', new Response('an old page', { headers: { 'Content-Type': 'text/html' } }));
  });
  await page.goto('/alerts');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alerts');
  await expect.poll(async () => (await keptPaths(page)).includes('/assets/index-older.js')).toBe(false);
  await context.setOffline(true);
  await page.goto('/');
  await expect(page.getByRole('heading', { name: 'The server cannot be reached' })).toBeVisible({ timeout: 15_000 });
  await context.setOffline(false);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Overview');
});

test('the worker knows every path of the page', async () => {
  const web = resolve(import.meta.dirname, '../../web');
  const worker = await readFile(resolve(web, 'public/sw.js'), 'utf8');
  const router = await readFile(resolve(web, 'src/state/router.svelte.ts'), 'utf8');
  const known = (/const PAGES = \[(.*)\];/.exec(worker)?.[1] ?? '').split(', ').map((one) => one.slice(1, -1));
  const pages = /const PAGES = \{([^}]*)\}/.exec(router)?.[1] ?? '';
  const wanted = [...pages.matchAll(/^ {2}'?([^':]*)'?:/gm)].map(([, path]) => (path as string).split('/')[0]);
  expect(wanted.length).toBeGreaterThan(10);
  for (const part of wanted) expect(known).toContain(part);
});
