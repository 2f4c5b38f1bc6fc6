import type { APIRequestContext, Page } from '@playwright/test';
import { expect, type Server, test } from './server';

test('search, state and group filter the table by the server and live in the address', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?limit=500')).json();
  expect(items.length).toBeGreaterThan(1);
  await page.goto('/devices');
  const rows = page.getByRole('table', { name: 'Devices' }).getByRole('row');
  await expect(rows.nth(1)).toBeVisible();

  const wanted = items.at(-1);
  await page.keyboard.press('/');
  await page.keyboard.type(wanted.id);
  await expect(page).toHaveURL(new RegExp(`q=${wanted.id}`));
  await expect(rows).toHaveCount(2);
  await expect(rows.nth(1)).toContainText(wanted.name || wanted.id);

  await page.getByRole('button', { name: 'Clear filters' }).click();
  await page.getByLabel('State').selectOption('offline');
  await expect(page).toHaveURL(/presence=offline/);
  const offline = items.filter((device: { presence: string }) => device.presence === 'offline').length;
  if (offline === 0) await expect(page.getByText('No device matches')).toBeVisible();

  await page.goto('/devices?q=there-is-no-such-device');
  await expect(page.getByText('No device matches these filters.')).toBeVisible();
});

test('rows lead to devices, with mouse and keyboard', async ({ page }) => {
  await page.goto('/devices');
  const links = page.locator('a[data-row]');
  await expect(links.first()).toBeVisible();
  await links.first().focus();
  await page.keyboard.press('ArrowDown');
  await expect(links.nth(1)).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/devices\/[^/]+$/);
  await page.keyboard.press('g');
  await page.keyboard.press('o');
  await expect(page).toHaveURL(/:\d+\/$/);
});

test('a device is added, seen, disabled, given a new secret and deleted', async ({ page }) => {
  await page.goto('/devices');
  await page.getByRole('button', { name: 'Add device' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Device id').fill('not allowed!');
  await dialog.getByRole('button', { name: 'Add device' }).click();
  await expect(dialog.getByText('Use 1 to 64 characters')).toBeVisible();
  await dialog.getByLabel('Device id').fill('e2e-1');
  await dialog.getByLabel('Name').fill('Tested by hand');
  await dialog.getByLabel('Tags').fill('site=north, floor=2');
  await dialog.getByRole('button', { name: 'Add device' }).click();
  await expect(dialog.getByText('The secret is shown only now.')).toBeVisible();
  const secret = await dialog.locator('code').nth(1).textContent();
  expect(secret).toMatch(/^[0-9a-f]{64}$/);
  await expect(dialog.getByText('Waiting for the device to connect')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(dialog).toBeVisible();
  await dialog.getByRole('button', { name: 'Show the device' }).click();

  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Tested by hand');
  await expect(page.getByText('This device has not sent any values yet.')).toBeVisible();
  await expect(page.getByText('site=north')).toBeVisible();

  await page.getByRole('button', { name: 'Disable' }).click();
  await dialog.getByRole('button', { name: 'Disable' }).click();
  await expect(page.getByTestId('presence')).toHaveText('Disabled');
  await page.getByRole('button', { name: 'Enable' }).click();
  await expect(page.getByTestId('presence')).toHaveText('Offline');

  await page.getByRole('button', { name: 'Replace secret' }).click();
  await dialog.getByRole('button', { name: 'Replace secret' }).click();
  const replaced = await dialog.locator('code').textContent();
  expect(replaced).toMatch(/^[0-9a-f]{64}$/);
  expect(replaced).not.toBe(secret);
  await dialog.getByRole('button', { name: 'I have stored it' }).click();

  await page.getByRole('button', { name: 'Delete' }).click();
  await expect(dialog.getByRole('button', { name: 'Delete' })).toBeDisabled();
  await dialog.getByLabel('Type e2e-1 to confirm').fill('e2e-1');
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(/\/devices$/);
  await page.goto('/devices/e2e-1');
  await expect(page.getByRole('heading', { name: 'No such device' })).toBeVisible();
});

test('slash leads to the search field from every page', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  await page.keyboard.press('/');
  await expect(page).toHaveURL(/\/devices$/);
  await expect(page.getByRole('searchbox', { name: 'Search by name or id' })).toBeFocused();
});

test('a viewer sees values and no controls that the server would refuse', async ({ browser, server, request }) => {
  const viewer = { name: 'e2e-viewer', password: 'only looking around', role: 'viewer' };
  const created = await request.post('/api/v1/users', { data: viewer, headers: { Origin: server.url } });
  expect(created.status()).toBe(201);
  const context = await browser.newContext({ baseURL: server.url, storageState: { cookies: [], origins: [] } });
  const page = await context.newPage();
  await page.goto('/signin');
  await page.getByLabel('User name').fill(viewer.name);
  await page.getByLabel('Password').fill(viewer.password);
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(`${server.url}/`);
  await expect(page.locator('figure canvas').first()).toBeVisible();
  await expect(page.getByRole('button', { name: 'Add device' })).toHaveCount(0);
  await page.locator('figure figcaption a').first().click();
  await expect(page.getByTestId('presence')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Delete' })).toHaveCount(0);
  await context.close();
  expect((await request.delete(`/api/v1/users/${viewer.name}`, { headers: { Origin: server.url } })).status()).toBe(204);
});

async function addDevices(request: APIRequestContext, server: Server, devices: Record<string, unknown>[]): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let device = devices[next++]; device !== undefined; device = devices[next++]) {
      const answer = await request.post('/api/v1/devices', { data: device, headers: { Origin: server.url } });
      expect([201, 409]).toContain(answer.status());
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

const rows = (page: Page) => page.getByRole('table', { name: 'Devices' }).getByRole('row').filter({ has: page.locator('a[data-row]') });
const names = (page: Page) => page.locator('a[data-row]').allTextContents();

test('of a thousand devices only those in sight are in the page, and any is reached', async ({ page, request, server }) => {
  await addDevices(request, server, Array.from({ length: 1_000 }, (_, index) => ({ id: `bulk-${String(index).padStart(4, '0')}`, tags: { series: index % 2 === 0 ? 'even' : 'odd' } })));
  await page.goto('/devices?q=bulk-');
  await expect(page.getByText('1,000 devices')).toBeVisible();
  const table = page.getByRole('table', { name: 'Devices' });
  await expect(table).toHaveAttribute('aria-rowcount', '1001');
  await expect(rows(page).first()).toContainText('bulk-0000');
  expect(await table.getByRole('row').count()).toBeLessThan(80);
  await table.evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await expect(rows(page).last()).toContainText('bulk-0999');
  await table.evaluate((element) => element.scrollTo(0, element.scrollHeight / 2));
  await expect(rows(page).first()).toContainText(/bulk-0(4|5)/);
  expect(await table.getByRole('row').count()).toBeLessThan(80);
});

test('the overview draws devices that report, however many before them in the list do not', async ({ page, request, server }) => {
  await addDevices(request, server, Array.from({ length: 1_000 }, (_, index) => ({ id: `bulk-${String(index).padStart(4, '0')}` })));
  await page.goto('/');
  await expect(page.locator('figure figcaption a').filter({ hasNotText: 'host-' }).first()).toBeVisible();
});

test('a click on a column sorts, the other way round, and not at all; the address keeps it', async ({ page, request }) => {
  await page.goto('/devices');
  const head = page.getByRole('columnheader', { name: 'Device', exact: true });
  await expect(head).toHaveAttribute('aria-sort', 'none');
  await head.getByRole('button').click();
  await expect(head).toHaveAttribute('aria-sort', 'ascending');
  await head.getByRole('button').click();
  await expect(head).toHaveAttribute('aria-sort', 'descending');
  await expect(page).toHaveURL(/sort=name&order=desc/);
  const { items } = await (await request.get('/api/v1/devices?sort=name&order=desc&limit=5')).json();
  const wanted = items.map((device: { id: string; name: string }) => device.name || device.id);
  await expect(async () => expect((await names(page)).slice(0, 5)).toEqual(wanted)).toPass();
  await page.reload();
  await expect(head).toHaveAttribute('aria-sort', 'descending');
  await head.getByRole('button').click();
  await expect(page).not.toHaveURL(/sort=/);
});

test('tags, alerts and groups narrow the list together, and each is dropped again', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?q=sim-&limit=500')).json();
  const site = items.find((device: { tags: Record<string, string> }) => device.tags.site !== undefined).tags.site;
  await page.goto('/devices?q=sim-');
  await page.getByLabel('Tag …').selectOption(`site:${site}`);
  await expect(page).toHaveURL(new RegExp(`tag=site%3A${site}`));
  const chip = page.getByRole('button', { name: `Remove the filter site=${site}` });
  await expect(chip).toBeVisible();
  const at = items.filter((device: { tags: Record<string, string> }) => device.tags.site === site);
  await expect(page.getByRole('status').filter({ hasText: /devices?$/ })).toHaveText(`${at.length} device${at.length === 1 ? '' : 's'}`);
  await page.getByLabel('Group', { exact: true }).selectOption(at[0].group);
  const both = at.filter((device: { group: string }) => device.group === at[0].group);
  await expect(rows(page)).toHaveCount(Math.min(both.length, 40));
  await page.reload();
  await expect(chip).toBeVisible();
  await chip.click();
  await expect(page).not.toHaveURL(/tag=/);
  await expect(page).toHaveURL(/group=/);
});

test('columns of metrics show live values and small pictures, and stay chosen', async ({ page }) => {
  await page.goto('/devices?q=host-');
  await page.getByRole('button', { name: 'Columns' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Filter metrics').fill('cpu');
  const box = dialog.getByRole('checkbox', { name: /^Value of / }).first();
  const metric = ((await box.getAttribute('aria-label')) ?? '').replace('Value of ', '');
  await box.check();
  await dialog.getByRole('checkbox', { name: `Picture of ${metric}` }).check();
  await dialog.getByRole('checkbox', { name: 'Firmware' }).check();
  await dialog.getByRole('button', { name: 'Remove Group' }).click();
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(page).toHaveURL(/cols=/);
  const head = page.getByRole('columnheader', { name: metric, exact: true });
  await expect(head).toBeVisible();
  await expect(page.getByRole('columnheader', { name: 'Group' })).toHaveCount(0);
  const values = rows(page).first().getByTestId('value');
  await expect(values.last()).not.toHaveText('–');
  const before = await values.last().textContent();
  await expect(async () => expect(await values.last().textContent()).not.toBe(before)).toPass({ timeout: 30_000 });
  await expect(async () => {
    const painted = await rows(page).first().locator('canvas').last().evaluate((canvas: HTMLCanvasElement) => canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0) ?? false);
    expect(painted).toBe(true);
  }).toPass();
  // This browser's own, without the address.
  await page.goto('/devices?q=host-');
  await expect(head).toBeVisible();
});

test('rows are chosen by keys and clicks, and get a group together; what fails is told', async ({ page, request, server }) => {
  await addDevices(request, server, Array.from({ length: 6 }, (_, index) => ({ id: `pick-${index}` })));
  await page.goto('/devices?q=pick-');
  await expect(rows(page)).toHaveCount(6);
  for (const key of ['j', 'x', 'j', 'j', 'X']) await page.keyboard.press(key);
  const bar = page.getByRole('group', { name: 'Chosen devices' });
  await expect(bar).toContainText('3 devices chosen');
  await page.getByRole('checkbox', { name: 'Choose pick-4' }).click({ modifiers: ['Shift'] });
  await expect(bar).toContainText(/[345] devices chosen/);
  await page.keyboard.press('Escape');
  await expect(bar).toHaveCount(0);
  await page.getByRole('checkbox', { name: 'Choose pick-1' }).check();
  await page.getByRole('checkbox', { name: 'Choose pick-3' }).click({ modifiers: ['Shift'] });
  await expect(bar).toContainText('3 devices chosen');
  await bar.getByRole('button', { name: 'Group' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Group').fill('picked');
  // One of them goes meanwhile.
  await request.delete('/api/v1/devices/pick-2', { headers: { Origin: server.url } });
  await page.keyboard.press('Enter');
  await expect(dialog).toContainText('2 of');
  await expect(dialog.getByRole('list', { name: 'These were not changed:' })).toContainText('pick-2');
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(bar).toHaveCount(0);
  const { items } = await (await request.get('/api/v1/devices?group=picked')).json();
  expect(items.map((device: { id: string }) => device.id)).toEqual(['pick-1', 'pick-3']);
});

test('all that match are deleted after their number was typed', async ({ page, request, server }) => {
  await addDevices(request, server, Array.from({ length: 130 }, (_, index) => ({ id: `gone-${index}` })));
  await page.goto('/devices?q=gone-');
  await page.getByRole('checkbox', { name: 'Choose all 130 devices that match' }).check();
  await page.getByRole('group', { name: 'Chosen devices' }).getByRole('button', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('130 devices with all their samples');
  await dialog.getByRole('button', { name: 'Delete 130 devices' }).click();
  await expect(dialog).toContainText('Type 130, the number of devices.');
  await dialog.getByLabel('Type 130 to confirm').fill('130');
  await page.keyboard.press('Enter');
  await expect(dialog).toContainText('130 of 130 devices changed.', { timeout: 60_000 });
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(page.getByText('No device matches these filters.')).toBeVisible();
  expect((await (await request.get('/api/v1/devices?limit=1')).json()).items).toHaveLength(1);
});

test('a view is saved, shown again and deleted', async ({ page }) => {
  await page.goto('/devices?presence=online&sort=name');
  await page.getByRole('button', { name: 'Views' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Save what is shown as').fill('Online by name درجة');
  await dialog.getByRole('checkbox', { name: 'Everyone sees it' }).check();
  await page.keyboard.press('Enter');
  const view = dialog.getByRole('button', { name: 'Online by name درجة', exact: true });
  await expect(view).toBeVisible();
  await page.keyboard.press('Escape');
  await page.goto('/devices');
  await page.getByRole('button', { name: 'Views' }).click();
  await view.click();
  await expect(page).toHaveURL(/presence=online&sort=name/);
  await page.getByRole('button', { name: 'Views' }).click();
  await dialog.getByRole('button', { name: 'Delete the view Online by name درجة' }).click();
  await expect(view).toHaveCount(0);
});

test('a list without a live connection is grey, and comes back', async ({ page, context }) => {
  await page.goto('/devices?q=Cold&cols=v:temperature');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  const value = page.locator('[data-testid=value]:not(.old)');
  await expect(value.first()).toBeVisible();
  await context.setOffline(true);
  await expect(value).toHaveCount(0);
  await expect(rows(page).first()).toBeVisible();
  await context.setOffline(false);
  await expect(value.first()).toBeVisible({ timeout: 40_000 });
});

test.describe('with a finger', () => {
  test.use({ hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } });

  test('what is touched is large enough, and nothing runs off the page', async ({ page }) => {
    await page.goto('/devices?q=sim-');
    await expect(rows(page).first()).toBeVisible();
    const small = await page.locator('#main').evaluate((main) =>
      [...main.querySelectorAll('button, input:not([type=checkbox]), select, label:has(input[type=checkbox])')]
        .map((element) => ({ text: element.textContent?.trim() || element.getAttribute('aria-label') || element.className, box: element.getBoundingClientRect() }))
        .filter(({ text, box }) => box.width > 0 && box.height < 44 && text !== 'Device')
        .map(({ text, box }) => `${text}: ${box.width} x ${box.height}`),
    );
    expect(small).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0);
  });
});
