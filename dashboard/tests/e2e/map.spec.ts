import type { APIRequestContext, Page } from '@playwright/test';
import { expect, test } from './server';

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
