import type { Locator } from '@playwright/test';
import { expect, test } from './server';

/** Waits until a text differs from what it is now, as live values do. */
async function changes(locator: Locator): Promise<void> {
  await expect(locator).not.toHaveText('–');
  const before = await locator.textContent();
  await expect(locator).not.toHaveText(before ?? '', { timeout: 30_000 });
}

test('the overview shows the fleet and values that change, of this computer and of simulated devices', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  await expect(page.getByTestId('count-online')).not.toHaveText(/^[0–]$/);
  const charts = page.locator('figure');
  await expect(charts).toHaveCount(6, { timeout: 30_000 });
  // Which charts there are follows what the devices have told, and they do not tell it at once.
  await expect.poll(async () => new Set(await page.locator('figure figcaption a').allTextContents()).size).toBeGreaterThan(1);
  const own = charts.filter({ hasText: 'host-' });
  await changes(own.first().getByTestId('chart-value'));
  // A single simulated value may rest for a while; all of them together do not.
  const others = charts.filter({ hasNotText: 'host-' }).getByTestId('chart-value');
  const before = await others.allTextContents();
  expect(before.length).toBeGreaterThan(0);
  await expect.poll(() => others.allTextContents(), { timeout: 30_000 }).not.toEqual(before);
});

test('a device page shows charts and latest values that change', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(items[0].name || items[0].id);
  await expect(page.getByTestId('presence')).toHaveText('Online');
  const chart = page.locator('figure').first();
  await expect(chart.locator('canvas')).toBeVisible();
  const picture = () => chart.locator('canvas').evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  const before = await picture();
  await expect.poll(picture, { timeout: 30_000 }).not.toBe(before);
  // Some values may rest; the table as a whole does not.
  const values = page.getByTestId('latest-value');
  await expect(values.first()).toBeVisible();
  const table = await values.allTextContents();
  await expect.poll(() => values.allTextContents(), { timeout: 30_000 }).not.toEqual(table);
  await expect(page.getByTestId('accounting-stored')).not.toHaveText('0');
});

test('pausing stops the charts and survives a reload; the values go on', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  const chart = page.locator('figure').first();
  await expect(chart.locator('canvas')).toBeVisible();
  await page.keyboard.press('Space');
  await expect(page).toHaveURL(/from=\d+&to=\d+/);
  await expect(page.getByText(/^Paused:/)).toBeVisible();
  await expect(page.locator('figure').getByText('Loading')).toHaveCount(0);
  const picture = () => chart.locator('canvas').evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  // The stored samples have taken the place of the live ones when the picture rests.
  await expect(async () => {
    const one = await picture();
    await page.waitForTimeout(1_500);
    expect(await picture()).toBe(one);
  }).toPass({ timeout: 30_000 });
  await page.reload();
  await expect(page.getByText(/^Paused:/)).toBeVisible();
  await page.getByTestId('resume').click();
  await expect(page).not.toHaveURL(/from=/);
  await expect(page.getByTestId('pause')).toBeVisible();
});

test('ranges are kept in the address, and each draws something or says that there is nothing', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  for (const [label, query] of [['15 min', '15m'], ['1 h', '1h'], ['24 h', '24h'], ['7 d', '7d']] as const) {
    await page.getByRole('button', { name: label, exact: true }).click();
    await expect(page).toHaveURL(new RegExp(`range=${query}`));
    const chart = page.locator('figure').first();
    await expect(chart.locator('canvas')).toBeVisible();
    await expect(chart.getByText('Loading')).toHaveCount(0);
    await expect(chart.locator('.error')).toHaveCount(0);
  }
});

test('arrow keys read a chart aloud', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  const chart = page.locator('figure').first();
  await expect(chart.locator('canvas')).toBeVisible();
  await expect(chart.getByTestId('chart-value')).not.toHaveText('–');
  await chart.getByRole('group').focus();
  await expect(async () => {
    await page.keyboard.press('ArrowLeft');
    await expect(chart.locator('[aria-live]')).toHaveText(/\d\d:\d\d:\d\d: /, { timeout: 1_000 });
  }).toPass();
});
