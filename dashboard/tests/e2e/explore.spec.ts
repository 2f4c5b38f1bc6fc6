import type { APIRequestContext, Page } from '@playwright/test';
import { violations } from './axe';
import { expect, test } from './server';

const charts = (page: Page) => page.getByTestId('charts').locator('figure');

/** Removes what tests pinned and saved. */
async function forget(request: APIRequestContext, url: string, page: string): Promise<void> {
  const answer = await (await request.get(`/api/v1/views?page=${page}`)).json();
  for (const view of Array.isArray(answer) ? answer : answer.items) {
    await request.delete(`/api/v1/views/${page}/${encodeURIComponent(view.name)}`, { headers: { Origin: url } });
  }
}

test('devices and metrics are found by typing, by keyboard alone, and the address has all of it', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('link', { name: 'Explore' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Explore');
  const devices = page.getByRole('combobox', { name: 'Devices' });
  await devices.focus();
  await page.keyboard.type('cold-room');
  await expect(page.getByRole('option', { name: /kind=cold-room/ })).toBeVisible();
  // Down to the tag.
  for (let tried = 0; tried < 30; tried += 1) {
    if ((await page.getByRole('listbox', { name: 'Devices' }).getByRole('option', { selected: true }).textContent())?.includes('kind=cold-room')) break;
    await page.keyboard.press('ArrowDown');
  }
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/tag=kind%3Acold-room/);
  await page.keyboard.press('Escape');
  const metrics = page.getByRole('combobox', { name: 'Metrics' });
  await metrics.focus();
  await page.keyboard.type('temp');
  await expect(page.getByRole('option', { name: /^temperature/ })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/metric=temperature/);
  await page.keyboard.press('Escape');
  await expect(charts(page)).toHaveCount(1);
  await expect(charts(page).first().getByRole('list', { name: 'Lines' }).getByRole('listitem')).toHaveCount(10);
  // The last one goes with Backspace.
  await metrics.focus();
  await page.keyboard.press('Backspace');
  await expect(page).not.toHaveURL(/metric=/);
  await page.goBack();
  await expect(charts(page)).toHaveCount(1);
  await page.reload();
  await expect(charts(page)).toHaveCount(1);
});

test('one chart per unit, per device or per metric; switches and numbers are never mixed', async ({ page }) => {
  await page.goto('/explore?tag=kind:cold-room&metric=temperature&metric=humidity&metric=door_open');
  await expect(charts(page)).toHaveCount(3);
  await page.getByRole('button', { name: 'per metric' }).click();
  await expect(page).toHaveURL(/split=metric/);
  await expect(charts(page).locator('.metric')).toHaveText(['temperature', 'humidity', 'door_open']);
  await page.getByRole('button', { name: 'per device' }).click();
  await expect(charts(page)).toHaveCount(30);
});

test('a line is hidden and shown by its name, and read by the keyboard', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?tag=kind:cold-room&limit=2')).json();
  await page.goto(`/explore?device=${items[0].id}&device=${items[1].id}&metric=temperature`);
  const chart = charts(page).first();
  const line = chart.getByRole('button', { name: items[1].name });
  await expect(line).toHaveAttribute('aria-pressed', 'true');
  await expect(line.locator('.value')).not.toHaveText('–', { timeout: 60_000 });
  await line.press('Enter');
  await expect(line).toHaveAttribute('aria-pressed', 'false');
  await line.press('Enter');
  const plot = chart.getByRole('group', { name: /^temperature/ });
  await plot.focus();
  await expect(async () => {
    await page.keyboard.press('ArrowLeft');
    await expect(chart.locator('[aria-live]')).toHaveText(new RegExp(`${items[0].name}: .*${items[1].name}: `), { timeout: 1_000 });
  }).toPass();
  await page.keyboard.press('ArrowDown');
  await expect(chart.locator('[aria-live]')).not.toHaveText(new RegExp(items[1].name));
});

test('what is can be looked at beside what was a day before', async ({ page, request, server }) => {
  const { items } = await (await request.get('/api/v1/devices?tag=kind:cold-room&limit=1')).json();
  const { id } = items[0];
  const day = Date.now() - 86_400_000;
  const rows = Array.from({ length: 120 }, (_, index) => `${new Date(day - 3_600_000 + index * 60_000).toISOString()},${id},temperature,${40 + (index % 5)}`);
  const imported = await request.post('/api/v1/import', {
    data: `time,device,metric,value\n${rows.join('\n')}\n`,
    headers: { 'Content-Type': 'text/csv', Origin: server.url },
  });
  expect((await imported.json()).stored).toBe(120);
  await page.goto(`/explore?device=${id}&metric=temperature&range=1h`);
  await page.getByRole('combobox', { name: 'Compare with' }).selectOption('1d');
  await expect(page).toHaveURL(/compare=1d/);
  const before = charts(page).first().getByRole('button', { name: /a day before/ });
  await expect(before.locator('line')).toHaveAttribute('stroke-dasharray', '6 4');
  await expect(before.locator('.value')).toHaveText(/^4[0-4]$/, { timeout: 30_000 });
});

test('many devices are one line: average, lowest, highest, 95th percentile, in all or per tag', async ({ page }) => {
  await page.goto('/explore?tag=kind:cold-room&metric=temperature');
  await page.getByRole('combobox', { name: 'Draw' }).selectOption('avg');
  const names = charts(page).first().getByRole('list', { name: 'Lines' }).getByRole('button');
  await expect(names).toHaveCount(1);
  await expect(names.first().locator('.value')).not.toHaveText('–', { timeout: 60_000 });
  await page.getByRole('combobox', { name: 'per', exact: true }).selectOption('tag:site');
  await expect(page).toHaveURL(/across=avg&by=tag%3Asite/);
  await expect.poll(() => names.count()).toBeGreaterThan(1);
  await expect(names.first()).toContainText('site=');
  await expect(names.first().locator('.value')).not.toHaveText('–', { timeout: 60_000 });
  // As on the server: the highest is not below the average.
  const read = async (fold: string) => {
    await page.getByRole('combobox', { name: 'Draw' }).selectOption(fold);
    await expect(page).toHaveURL(new RegExp(`across=${fold}`));
    await expect(names.first().locator('.value')).not.toHaveText('–', { timeout: 60_000 });
    return Number((await names.first().locator('.value').textContent())?.replace('−', '-'));
  };
  const low = await read('min');
  expect(await read('max')).toBeGreaterThanOrEqual(low);
  await expect(page.getByRole('status').filter({ hasText: 'closed the live connection' })).toHaveCount(0);
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
});

test('what is unknown, has no data or fits nothing is said', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?tag=kind:cold-room&limit=1')).json();
  await page.goto(`/explore?device=${items[0].id}&device=gone&metric=temperature`);
  await expect(page.getByText('unknown')).toBeVisible();
  await expect(charts(page)).toHaveCount(1);
  await page.goto(`/explore?device=${items[0].id}&metric=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E`);
  await expect(page.getByText('The device has never sent <img src=x onerror=alert(1)>.')).toBeVisible();
  await page.goto('/explore?group=nobody&metric=temperature');
  await expect(page.getByText('No device fits this choice.')).toBeVisible();
});

test('a view is saved under a name, opened again and removed', async ({ page, request, server }) => {
  await forget(request, server.url, 'explore');
  await page.goto('/explore?tag=kind:cold-room&metric=temperature&split=metric&range=15m');
  await page.getByRole('button', { name: 'Saved views' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('A name is wanted.')).toBeVisible();
  await dialog.getByLabel('Save what is shown as').fill('冷室 <b>all</b>');
  await dialog.getByLabel('Others may use it').check();
  expect(await violations(page)).toEqual([]);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toHaveCount(0);
  await page.goto('/explore');
  await page.getByRole('button', { name: 'Saved views' }).click();
  await dialog.getByRole('link', { name: '冷室 <b>all</b>' }).click();
  await expect(page).toHaveURL(/metric=temperature&split=metric&range=15m/);
  await page.getByRole('button', { name: 'Saved views' }).click();
  await dialog.getByRole('button', { name: 'Remove 冷室 <b>all</b>' }).click();
  await expect(dialog.getByText('No views are saved yet.')).toBeVisible();
});

test('charts are pinned to the overview, put in order and taken away, by keyboard too', async ({ page, request, server }) => {
  await forget(request, server.url, 'overview');
  const { items } = await (await request.get('/api/v1/devices?tag=kind:cold-room&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  for (const metric of ['temperature', 'humidity']) {
    const menu = page.getByRole('button', { name: `Menu of ${metric}` });
    await menu.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Pin to the overview' }).press('Enter');
    await expect(page.getByText('The chart is pinned to the overview.').last()).toBeVisible();
  }
  await page.goto('/');
  await expect(page.getByRole('heading', { name: 'Pinned charts' })).toBeVisible();
  const pinned = page.locator('figure .metric');
  await expect(pinned).toHaveText(['temperature', 'humidity']);
  const menu = page.getByRole('button', { name: /^Menu of .*humidity/ });
  await menu.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Move forward' }).press('Enter');
  await expect(pinned).toHaveText(['humidity', 'temperature']);
  await page.reload();
  await expect(pinned).toHaveText(['humidity', 'temperature']);
  for (let left = 2; left > 0; left -= 1) {
    await page.getByRole('button', { name: /^Menu of / }).first().click();
    await page.getByRole('button', { name: 'Unpin from the overview' }).click();
    if (left > 1) await expect(pinned).toHaveCount(left - 1);
  }
  // Nobody pins: the page chooses.
  await expect(page.getByRole('heading', { name: 'Live now' })).toBeVisible();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('Explore has no accessibility violation', async ({ page }) => {
      for (const query of ['', '?tag=kind:cold-room&metric=temperature&metric=door_open&compare=1d', '?metric=temperature&across=max&by=group', '?group=nobody&metric=x']) {
        await page.goto(`/explore${query}`);
        await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
        if (query.includes('temperature')) await expect(page.locator('figure canvas').first()).toBeVisible();
        expect(await violations(page), query).toEqual([]);
      }
      await page.goto('/explore');
      await page.getByRole('combobox', { name: 'Devices' }).focus();
      await expect(page.getByRole('option').first()).toBeVisible();
      expect(await violations(page), 'suggestions').toEqual([]);
    });
  });
}

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

  test('nothing is wider than the screen', async ({ page }) => {
    for (const path of ['/explore', '/explore?tag=kind:cold-room&metric=temperature&metric=door_open&across=avg&by=tag:site', '/']) {
      await page.goto(path);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      if (path !== '/explore') {
        await expect(page.locator('figure').first()).toBeVisible();
        await page.locator('figure').first().scrollIntoViewIfNeeded();
        await expect(page.locator('figure canvas').first()).toBeVisible();
      }
      const wide = await page.evaluate(() => [(document.querySelector('.content') as HTMLElement).scrollWidth, innerWidth]);
      expect(wide[0], path).toBeLessThanOrEqual(wide[1] as number);
    }
  });
});
