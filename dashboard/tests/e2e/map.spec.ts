import type { APIRequestContext, Page } from '@playwright/test';
import { violations } from './axe';
import { expect, fromSource, PASSWORD, startServer, test } from './server';
import { shareOf, startTileServer } from './tiles';

/** Devices that stand still at these places, made through the API. */
async function place(request: APIRequestContext, url: string, places: Record<string, [number, number]>): Promise<() => Promise<void>> {
  const headers = { Origin: url };
  for (const [id, [latitude, longitude]] of Object.entries(places)) {
    expect((await request.post('/api/v1/devices', { data: { id, group: 'placed' }, headers })).status()).toBe(201);
    const data = JSON.stringify({ time: new Date(Date.now() - 5_000).toISOString(), device: id, values: { latitude, longitude } });
    const answer = await request.post('/api/v1/import', { data, headers: { ...headers, 'Content-Type': 'application/x-ndjson' } });
    expect(answer.status(), await answer.text()).toBe(200);
  }
  return async () => {
    for (const id of Object.keys(places)) await request.delete(`/api/v1/devices/${id}`, { headers });
  };
}

const zoom = async (page: Page) => Number(await page.getByTestId('map').getAttribute('data-zoom'));

test('devices are where they say, by mouse and by keyboard, and the address keeps the place', async ({ page, request, server }) => {
  const remove = await place(request, server.url, { 'map-berlin': [52.5, 13.4], 'map-suva': [-18.1, 178.4], 'map-samoa': [-13.8, -171.8] });
  try {
    await page.goto('/map?group=placed');
    await expect(page.getByText('3 devices have a place')).toBeVisible();
    await expect(page.getByRole('heading', { name: '3 in sight' })).toBeVisible();

    const map = page.getByTestId('map');
    await map.focus();
    const before = await zoom(page);
    await page.keyboard.press('+');
    await expect.poll(() => zoom(page)).toBeGreaterThan(before);
    await page.keyboard.press('ArrowRight');
    await expect(page).toHaveURL(/at=/);
    await page.keyboard.press('0');
    await expect.poll(() => zoom(page)).toBeCloseTo(before, 1);

    await page.getByRole('button', { name: 'Show on the map: map-suva' }).press('Enter');
    const popover = page.getByTestId('map-popover');
    await expect(popover).toContainText('-18.10000°, 178.40000°');
    await expect(popover.getByRole('link', { name: 'map-suva' })).toBeFocused();
    // Beyond the date line, not round the world: in sight of each other at this zoom.
    await page.keyboard.press('Escape');
    await expect(page.getByRole('button', { name: 'Show on the map: map-suva' })).toBeFocused();
    await expect(page).toHaveURL(/at=-18\.1\d*%2C178\.4\d*%2C6/);
    const there = page.url();
    await page.goto('/');
    await page.goto(there);
    await expect(page.getByRole('heading', { name: '1 in sight' })).toBeVisible();

    // In the middle of the picture, so a click finds it.
    const box = await map.boundingBox();
    await page.mouse.click((box?.x ?? 0) + (box?.width ?? 0) / 2, (box?.y ?? 0) + (box?.height ?? 0) / 2);
    await popover.getByRole('link', { name: 'map-suva' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('map-suva');
  } finally {
    await remove();
  }
});

test('the wheel zooms at the pointer and a drag moves', async ({ page, request, server }) => {
  const remove = await place(request, server.url, { 'map-one': [10, 20], 'map-two': [-10, -20] });
  try {
    await page.goto('/map?group=placed');
    await expect(page.getByRole('heading', { name: '2 in sight' })).toBeVisible();
    const box = (await page.getByTestId('map').boundingBox()) as { x: number; y: number; width: number; height: number };
    const before = await zoom(page);
    await page.mouse.move(box.x + 300, box.y + 200);
    await page.mouse.wheel(0, -400);
    await expect.poll(() => zoom(page)).toBeGreaterThan(before + 0.5);
    await expect(page).toHaveURL(/at=/);
    const url = page.url();
    await page.mouse.down();
    await page.mouse.move(box.x + 500, box.y + 260, { steps: 5 });
    await page.mouse.up();
    await expect.poll(() => page.url()).not.toBe(url);
  } finally {
    await remove();
  }
});

test('twenty thousand devices are drawn together and stay smooth', async ({ page }) => {
  const items = Array.from({ length: 20_000 }, (_, n) => ({
    device: `many-${n}`,
    name: '',
    presence: n % 7 === 0 ? 'offline' : 'online',
    severity: null,
    latitude: ((n * 7_919) % 17_000) / 100 - 85,
    longitude: ((n * 104_729) % 36_000) / 100 - 180,
    time: new Date().toISOString(),
  }));
  await page.route('**/api/v1/devices/positions*', (route) => route.fulfill({ json: { items, total: 20_000, cut: false } }));
  await page.goto('/map');
  await expect(page.getByTestId('map')).toHaveAttribute('data-points', '20000');
  await page.getByTestId('map').focus();
  const took = await page.evaluate(async () => {
    const begin = performance.now();
    for (let n = 0; n < 20; n += 1) {
      document.activeElement?.dispatchEvent(new KeyboardEvent('keydown', { key: n % 2 ? 'ArrowLeft' : 'ArrowDown', bubbles: true }));
      await new Promise(requestAnimationFrame);
    }
    return performance.now() - begin;
  });
  expect(took).toBeLessThan(4_000);
});

test('without a device that says where it is, the page says which metrics to report', async ({ page }) => {
  await page.route('**/api/v1/devices/positions*', (route) => route.fulfill({ json: { items: [], total: 0, cut: false } }));
  await page.goto('/map');
  await expect(page.getByRole('heading', { name: 'No device says where it is' })).toBeVisible();
  await expect(page.getByRole('cell', { name: 'latitude' })).toBeVisible();
});

test('without a tile server nothing is asked of anyone but the server', async ({ page, request, server }) => {
  const remove = await place(request, server.url, { 'map-here': [52.5, 13.4] });
  const elsewhere: string[] = [];
  page.on('request', (one) => {
    if (new URL(one.url()).origin !== server.url && !one.url().startsWith('data:')) elsewhere.push(one.url());
  });
  try {
    const policy = (await request.get('/map')).headers()['content-security-policy'] ?? '';
    if (!fromSource) expect(policy).toContain("img-src 'self' data:;");
    await page.goto('/map?group=placed');
    await expect(page.getByRole('heading', { name: '1 in sight' })).toBeVisible();
    await page.getByRole('button', { name: 'Zoom in' }).click();
    await expect(page).toHaveURL(/at=/);
    await expect(page.getByTestId('map')).not.toHaveAttribute('data-tiles');
    await expect(page.getByTestId('map-attribution')).toHaveCount(0);
    expect(elsewhere).toEqual([]);
  } finally {
    await remove();
  }
});

test('tiles of a tile server are drawn under the devices, and the outline where it has none', async ({ browser }) => {
  const tiles = await startTileServer();
  const attribution = '© <b>Somebody</b> & others';
  const config = `[http]\nmap_tiles_url = "${tiles.url}/{z}/{x}/{y}.png?key=k"\nmap_tiles_attribution = "${attribution}"\nmap_tiles_zoom_max = 5\n`;
  const server = await startServer(config);
  const context = await browser.newContext({ baseURL: server.url, colorScheme: 'light', viewport: { width: 1280, height: 850 } });
  try {
    const answer = await context.request.post('/api/v1/session', { data: { user: 'admin', password: PASSWORD } });
    expect(answer.ok(), await answer.text()).toBe(true);
    await place(context.request, server.url, { 'map-berlin': [52.5, 13.4], 'map-suva': [-18.1, 178.4] });
    const page = await context.newPage();
    const refused: string[] = [];
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) refused.push(message.text());
    });
    await page.goto('/map?group=placed&at=52.5,13.4,4');
    const map = page.getByTestId('map');
    await expect(page.getByRole('heading', { name: '1 in sight' })).toBeVisible();
    await expect.poll(async () => shareOf(page, tiles.rgb, await map.screenshot())).toBeGreaterThan(0.8);
    await expect(page.getByTestId('map-attribution')).toHaveText(attribution);
    const [from, scale] = [await page.getByTestId('map-attribution').boundingBox(), await page.getByText(/^[\d,]+ km$/).boundingBox()];
    expect((from?.x ?? 0) + (from?.width ?? 0), 'it does not lie on the scale').toBeLessThanOrEqual(scale?.x ?? 0);

    const first = tiles.asked.splice(0);
    expect(first.length).toBeGreaterThan(5);
    for (const { path, headers } of first) {
      const [, z, x, y] = (/^\/(\d+)\/(\d+)\/(\d+)\.png\?key=k$/.exec(path) ?? []).map(Number);
      expect(z, path).toBe(4);
      expect(x, path).toBeLessThan(16);
      expect(y, path).toBeLessThan(16);
      for (const name of ['referer', 'origin', 'cookie']) expect(headers[name], name).toBeUndefined();
    }
    // Each was asked for once.
    expect(new Set(first.map((one) => one.path)).size).toBe(first.length);

    // Deeper than the server has, its deepest are drawn larger.
    await page.goto('/map?group=placed&at=52.5,13.4,9');
    await expect.poll(async () => shareOf(page, tiles.rgb, await map.screenshot())).toBeGreaterThan(0.8);
    expect(new Set(tiles.asked.splice(0).map((one) => one.path.split('/')[1]))).toEqual(new Set(['5']));

    // Dimmed where the page is dark.
    await page.emulateMedia({ colorScheme: 'dark' });
    const dimmed = tiles.rgb.map((one) => Math.round(one * 0.4)) as [number, number, number];
    await expect.poll(async () => shareOf(page, dimmed, await map.screenshot())).toBeGreaterThan(0.8);
    await page.emulateMedia({ colorScheme: 'light' });

    // A server that has none any more: the page says so, and all else works.
    tiles.answers = false;
    await page.goto('/map?group=placed&at=-18.1,178.4,4');
    const told = page.getByText('Map tiles cannot be had');
    await expect(told).toBeVisible();
    await expect(page.getByRole('heading', { name: '1 in sight' })).toBeVisible();
    expect(await shareOf(page, tiles.rgb, await map.screenshot())).toBe(0);
    expect(await violations(page)).toEqual([]);
    // One after the other, not all of them again and again.
    const failed = tiles.asked.length;
    await page.waitForTimeout(3_000);
    expect(tiles.asked.length - failed).toBeLessThan(4);
    tiles.answers = true;
    await expect(told).toBeHidden({ timeout: 60_000 });
    await expect.poll(async () => shareOf(page, tiles.rgb, await map.screenshot())).toBeGreaterThan(0.8);
    expect(refused).toEqual([]);
  } finally {
    await context.close();
    await server.stop();
    await tiles.stop();
  }
});
