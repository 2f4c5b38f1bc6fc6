import { expect, test } from './server';

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
  const links = page.getByRole('table').getByRole('link');
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
  await expect(page.locator('figure canvas').first()).toBeVisible({ timeout: 20_000 });
  await expect(page.getByRole('button', { name: 'Add device' })).toHaveCount(0);
  await page.locator('figure figcaption a').first().click();
  await expect(page.getByTestId('presence')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Delete' })).toHaveCount(0);
  await context.close();
  expect((await request.delete(`/api/v1/users/${viewer.name}`, { headers: { Origin: server.url } })).status()).toBe(204);
});
