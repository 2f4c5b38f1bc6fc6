import { expect, test } from './server';

test('density, zone and language are chosen, kept, and in force after a reload', async ({ page }) => {
  await page.goto('/settings/appearance');
  await page.getByRole('button', { name: 'Compact' }).click();
  expect(await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--row').trim())).toBe('28px');
  await page.getByRole('button', { name: 'UTC' }).click();
  await expect(page.getByRole('button', { name: 'UTC' })).toHaveAttribute('aria-pressed', 'true');
  await page.reload();
  await expect(page.getByRole('button', { name: 'Compact' })).toHaveAttribute('aria-pressed', 'true');
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('en');
  expect(await page.evaluate(() => document.documentElement.dir)).toBe('ltr');
});

test('the pages of the settings are reached from each other', async ({ page }) => {
  await page.goto('/settings');
  for (const name of ['Notifications', 'Users', 'API tokens', 'Appearance']) {
    await page.getByRole('navigation', { name: 'Settings' }).getByRole('link', { name }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
    await expect(page.getByRole('navigation', { name: 'Settings' }).getByRole('link', { name })).toHaveAttribute('aria-current', 'page');
  }
});

test('a user is added for some groups, changed, given a password and deleted', async ({ page, browser, server }) => {
  await page.goto('/settings/users');
  await page.getByRole('button', { name: 'Add user' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('User name').fill('e2e-sam');
  await dialog.getByLabel('Password').fill('short');
  await dialog.getByRole('radio', { name: /Operator/ }).check();
  await dialog.getByRole('radio', { name: 'only those of some groups' }).check();
  await dialog.getByLabel('Another group').fill('pumps');
  await dialog.getByRole('button', { name: 'Add user' }).click();
  await expect(dialog.getByText(/10/).first()).toBeVisible();
  await dialog.getByLabel('Password').fill('long enough to hold');
  await dialog.getByRole('button', { name: 'Add user' }).click();
  const row = page.getByRole('list', { name: 'Users' }).getByRole('listitem').filter({ hasText: 'e2e-sam' });
  await expect(row).toContainText('Sees only: pumps');

  await row.getByRole('button', { name: 'Change e2e-sam' }).click();
  await dialog.getByRole('radio', { name: /Viewer/ }).check();
  await dialog.getByRole('radio', { name: 'all', exact: true }).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(row).toContainText('Viewer');
  await expect(row).not.toContainText('Sees only');

  await row.getByRole('button', { name: 'New password of e2e-sam' }).click();
  await dialog.getByLabel('New password').fill('another long password');
  await dialog.getByLabel('Again').fill('not the same');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('The two are not the same.')).toBeVisible();
  await dialog.getByLabel('Again').fill('another long password');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('e2e-sam has a new password.')).toBeVisible();

  const context = await browser.newContext({ baseURL: server.url, storageState: { cookies: [], origins: [] } });
  const own = await context.newPage();
  await own.goto('/signin?next=/settings/users');
  await own.getByLabel('User name').fill('e2e-sam');
  await own.getByLabel('Password').fill('another long password');
  await own.keyboard.press('Enter');
  await expect(own.getByRole('heading', { level: 1 })).toHaveText('Password');
  await expect(own.getByText('Role: Viewer')).toBeVisible();
  await expect(own.getByRole('button', { name: 'Add user' })).toHaveCount(0);
  await context.close();

  await row.getByRole('button', { name: 'Delete e2e-sam' }).click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(row).toHaveCount(0);
});

test('a token is shown once, works, and is refused once it is deleted', async ({ page, playwright, server }) => {
  await page.goto('/settings/tokens');
  await page.getByRole('button', { name: 'New token' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('What it is for').fill('e2e report');
  await dialog.getByLabel('Role').selectOption('viewer');
  await dialog.getByRole('button', { name: 'Make token' }).click();
  await expect(dialog.getByText('It is shown only now.')).toBeVisible();
  const token = (await dialog.locator('code').first().textContent()) ?? '';
  const script = await playwright.request.newContext({ baseURL: server.url, extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
  expect((await script.get('/api/v1/devices')).status()).toBe(200);
  await dialog.getByRole('button', { name: 'I have stored it' }).click();
  await page.getByRole('button', { name: 'Delete token e2e report' }).click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByText('The token e2e report was deleted.')).toBeVisible();
  expect((await script.get('/api/v1/devices')).status()).toBe(401);
  await script.dispose();
});
