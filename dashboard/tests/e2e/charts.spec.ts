import { readFile } from 'node:fs/promises';
import type { APIRequestContext, Locator, Page } from '@playwright/test';
import { violations } from './axe';
import { expect, test } from './server';

/** A device with values from its first second on. */
async function openDevice(page: Page, request: APIRequestContext, query = ''): Promise<Locator> {
  const { items } = await (await request.get('/api/v1/devices?tag=kind:cold-room&presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}${query}`);
  const chart = page.locator('figure').first();
  await expect(chart.locator('canvas')).toBeVisible({ timeout: 30_000 });
  await expect(chart.getByTestId('chart-value')).not.toHaveText('–');
  return chart;
}

async function boxOf(chart: Locator): Promise<{ x: number; y: number; width: number; height: number }> {
  const box = await chart.locator('canvas').boundingBox();
  if (box === null) throw new Error('the chart is not to be seen');
  return box;
}

/** What the address says, in ms; null while the charts are live. */
function span(page: Page): [number, number] | null {
  const { searchParams } = new URL(page.url());
  return searchParams.has('from') ? [Number(searchParams.get('from')), Number(searchParams.get('to'))] : null;
}

async function drag(page: Page, chart: Locator, from: number, to: number): Promise<void> {
  const box = await boxOf(chart);
  await page.mouse.move(box.x + box.width * from, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, box.y + 50, { steps: 5 });
  await page.mouse.up();
}

test('dragging zooms in, Shift and dragging pans, Ctrl and the wheel zoom, a double click goes back to live', async ({ page, request }) => {
  const chart = await openDevice(page, request);
  const box = await boxOf(chart);
  // Looking does not stop the time.
  await page.mouse.move(box.x + box.width / 2, box.y + 50);
  await page.waitForTimeout(500);
  expect(span(page)).toBeNull();

  // Up to a moment ago, so that there is something in it also of a server that has just begun.
  await drag(page, chart, 0.5, 0.97);
  await expect.poll(() => span(page)).not.toBeNull();
  const zoomed = span(page) as [number, number];
  expect(zoomed[1] - zoomed[0]).toBeGreaterThan(60_000);
  expect(zoomed[1] - zoomed[0]).toBeLessThan(180_000);
  await expect(page.getByText(/^Paused:/)).toBeVisible();
  // What was drawn is drawn still, from what is stored.
  await expect(page.getByText('Loading')).toHaveCount(0);
  await expect(page.getByText('No values in this time')).toHaveCount(0);
  await chart.getByRole('group').focus();
  // A key that is pressed while the stored values are on their way reads nothing.
  await expect(async () => {
    await page.keyboard.press('ArrowLeft');
    await expect(chart.locator('[aria-live]')).toHaveText(/\d\d:\d\d:\d\d: -?\d/, { timeout: 1_000 });
  }).toPass({ timeout: 30_000 });

  await page.keyboard.down('Shift');
  await drag(page, chart, 0.3, 0.6);
  await page.keyboard.up('Shift');
  await expect.poll(() => span(page)?.[0] ?? 0).toBeLessThan(zoomed[0]);
  const panned = span(page) as [number, number];
  expect(Math.abs(panned[1] - panned[0] - (zoomed[1] - zoomed[0]))).toBeLessThan(2_000);

  const middle = await boxOf(chart);
  await page.mouse.move(middle.x + middle.width / 2, middle.y + 50);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, 400);
  await page.keyboard.up('Control');
  await expect.poll(() => { const [from, to] = span(page) ?? [0, 0]; return to - from; }).toBeGreaterThan((panned[1] - panned[0]) * 1.5);

  const last = await boxOf(chart);
  await page.mouse.dblclick(last.x + last.width / 2, last.y + 50);
  await expect.poll(() => span(page)).toBeNull();
});

test('keys pause, pan, zoom and go back; the browser takes back what the mouse did', async ({ page, request }) => {
  await openDevice(page, request, '?range=15m');
  await page.keyboard.press('Space');
  await expect.poll(() => span(page)).not.toBeNull();
  const paused = span(page) as [number, number];
  await page.keyboard.press('[');
  await expect.poll(() => span(page)?.[0]).toBe(paused[0] - 225_000);
  await page.keyboard.press(']');
  await expect.poll(() => span(page)?.[0]).toBe(paused[0]);
  await page.keyboard.press('+');
  await expect.poll(() => { const [from, to] = span(page) ?? [0, 0]; return to - from; }).toBe(450_000);
  await page.keyboard.press('-');
  await expect.poll(() => { const [from, to] = span(page) ?? [0, 0]; return to - from; }).toBe(900_000);
  await page.keyboard.press('0');
  await expect(page).toHaveURL(/range=15m$/);
  await drag(page, page.locator('figure').first(), 0.4, 0.8);
  await expect.poll(() => span(page)).not.toBeNull();
  await page.goBack();
  await expect(page).toHaveURL(/range=15m$/);
});

test('all charts of a page share the cursor and the time', async ({ page, request }) => {
  const chart = await openDevice(page, request);
  const other = page.locator('figure').nth(1);
  await expect(other.locator('canvas')).toBeVisible();
  await expect(other.locator('i')).toBeHidden();
  await expect(async () => {
    const box = await boxOf(chart);
    await page.mouse.move(box.x + box.width * 0.6, box.y + 50);
    await page.mouse.move(box.x + box.width * 0.61, box.y + 50);
    await expect(other.locator('i')).toBeVisible({ timeout: 1_000 });
  }).toPass();
  await expect(other.locator('.when')).toHaveText(/\d\d:\d\d:\d\d/);
  await page.mouse.move(5, 5);
  await expect(other.locator('i')).toBeHidden();
  // By keyboard too.
  await chart.getByRole('group').focus();
  await page.keyboard.press('ArrowLeft');
  await expect(chart.locator('[aria-live]')).toHaveText(/\d\d:\d\d:\d\d: /);
  await expect(other.locator('i')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(other.locator('i')).toBeHidden();
});

test('a table, a picture and a file have what the chart shows', async ({ page, request }) => {
  const chart = await openDevice(page, request);
  const menu = chart.getByRole('button', { name: /^Menu of/ });
  await menu.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  expect(await violations(page)).toEqual([]);
  await page.getByRole('button', { name: 'Show as table' }).press('Enter');
  const table = page.getByRole('dialog').getByRole('table');
  await expect(table.getByRole('row').nth(2)).toBeVisible();
  await expect(table.getByRole('columnheader').first()).toHaveText('Time');
  const value = await table.getByRole('row').nth(1).getByRole('cell').nth(1).textContent();
  expect(value).toMatch(/^-?[\d.,]+$/);
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await expect(table).toHaveCount(0);

  await menu.click();
  const [png] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /PNG/ }).click()]);
  const picture = await readFile((await png.path()) as string);
  expect(picture.subarray(1, 4).toString()).toBe('PNG');
  expect([picture.readUInt32BE(16), picture.readUInt32BE(20) > 800]).toEqual([2_400, true]);
  expect(picture.length).toBeGreaterThan(20_000);

  await menu.click();
  const [csv] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /what is shown/ }).click()]);
  expect(csv.suggestedFilename()).toMatch(/\.csv$/);
  const lines = (await readFile((await csv.path()) as string, 'utf8')).replace('\ufeff', '').trim().split('\r\n');
  expect(lines[0]).toMatch(/^time,\S/);
  expect(lines[1]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z,-?[\d.]+$/);

  // And the server has all of it.
  await menu.click();
  const href = await page.getByRole('link', { name: /All samples/ }).getAttribute('href');
  const whole = await (await request.get(href as string)).text();
  expect(whole.split('\n').length).toBeGreaterThan(lines.length / 2);
  expect(whole).toContain('time,device,metric,value');
});

test('a time without values says so, says where there are some, and leads there', async ({ page, request }) => {
  const chart = await openDevice(page, request, '?from=2025-01-01T00:00:00Z&to=2025-01-01T00:05:00Z').catch(() => page.locator('figure').first());
  await expect(chart.getByText('No values in this time')).toBeVisible();
  await expect(chart.getByText(/There are values from/)).toBeVisible();
  await chart.getByRole('button', { name: 'Show the nearest' }).click();
  await expect(chart.getByText('No values in this time')).toHaveCount(0);
  expect((span(page) as [number, number])[0]).toBeGreaterThan(Date.parse('2026-01-01'));
});

test('a time of one’s own is checked before it is shown', async ({ page, request }) => {
  await openDevice(page, request);
  await page.getByRole('button', { name: 'Choose a time' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('From').fill('2026-11-20T10:00:00');
  await dialog.getByLabel('To', { exact: true }).fill('2026-11-20T09:00:00');
  await dialog.getByRole('button', { name: 'Show' }).click();
  await expect(dialog.getByText('The end must be after the beginning.')).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await dialog.getByLabel('To', { exact: true }).fill('2026-11-20T11:00:00');
  await dialog.getByRole('button', { name: 'Show' }).click();
  await expect(dialog).toHaveCount(0);
  const [from, to] = span(page) as [number, number];
  expect(to - from).toBe(3_600_000);
});

test.describe('by touch', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true });

  test('two fingers pinch and pan, one reads the values, and up and down scrolls the page', async ({ page, request }) => {
    const chart = await openDevice(page, request);
    const touch = await page.context().newCDPSession(page);
    const send = (type: 'touchStart' | 'touchMove' | 'touchEnd', points: [number, number][]) =>
      touch.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
    await chart.scrollIntoViewIfNeeded();
    const box = await boxOf(chart);
    const y = box.y + box.height / 2;
    const at = (part: number): [number, number] => [box.x + box.width * part, y];

    await send('touchStart', [at(0.5)]);
    await send('touchMove', [at(0.6)]);
    await expect(chart.locator('i')).toBeVisible();
    await send('touchEnd', []);
    expect(span(page)).toBeNull();

    await send('touchStart', [at(0.45)]);
    await send('touchStart', [at(0.45), at(0.65)]);
    for (const step of [1, 2, 3, 4]) await send('touchMove', [at(0.45 - 0.04 * step), at(0.65 + 0.04 * step)]);
    await send('touchEnd', []);
    await expect.poll(() => span(page)).not.toBeNull();
    const [from, to] = span(page) as [number, number];
    expect(to - from).toBeLessThan(200_000);
    expect(to - from).toBeGreaterThan(60_000);

    const content = page.locator('.content');
    const before = await content.evaluate((element) => element.scrollTop);
    const again = await boxOf(chart);
    const x = again.x + again.width / 2;
    await send('touchStart', [[x, again.y + 100]]);
    for (const step of [1, 2, 3, 4, 5]) await send('touchMove', [[x, again.y + 100 - 40 * step]]);
    await send('touchEnd', []);
    await expect.poll(() => content.evaluate((element) => element.scrollTop)).toBeGreaterThan(before + 50);
    // A tap on what still rolls on only stops it.
    let rested = -1;
    await expect.poll(async () => rested === (rested = await content.evaluate((element) => element.scrollTop)), { intervals: [200] }).toBe(true);
    // The way back to live stays in reach.
    await content.evaluate((element) => element.scrollTo(0, 2_000));
    const back = page.getByRole('button', { name: 'Back to live' });
    await expect(back, 'in the bar and in reach').toHaveCount(2);
    await back.last().tap();
    await expect.poll(() => span(page)).toBeNull();
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('charts with menus, also paused and without values, have no accessibility violation', async ({ page, request }) => {
      const chart = await openDevice(page, request, '?range=15m');
      await chart.getByRole('button', { name: /^Menu of/ }).click();
      expect(await violations(page), 'menu').toEqual([]);
      await page.keyboard.press('Escape');
      await page.goto(`${new URL(page.url()).pathname}?from=2025-01-01T00:00:00Z&to=2025-01-01T00:05:00Z`);
      await expect(page.getByText('No values in this time').first()).toBeVisible();
      expect(await violations(page), 'empty').toEqual([]);
    });
  });
}
