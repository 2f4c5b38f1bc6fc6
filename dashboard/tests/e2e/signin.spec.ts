import { expect, PASSWORD, startServer, test } from './server';

test.use({ storageState: { cookies: [], origins: [] } });

test('a page without a session leads to sign-in and back', async ({ page }) => {
  await page.goto('/devices?presence=online');
  await expect(page).toHaveURL(/\/signin\?next=/);
  await page.getByLabel('User name').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/devices\?presence=online$/);
  await expect(page.getByRole('heading', { name: 'Devices' })).toBeVisible();
});

test('a wrong password says so and keeps the user name', async ({ page }) => {
  await page.goto('/signin');
  await page.getByLabel('User name').fill('admin');
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toHaveText('User name or password is wrong.');
  await expect(page.getByLabel('User name')).toHaveValue('admin');
  await expect(page.getByLabel('Password')).toHaveValue('');
});

test('the sign-in link works once, leaves no code in the address, and says so when it is used again', async ({ browser }) => {
  const server = await startServer();
  try {
    const first = await (await browser.newContext({ storageState: undefined })).newPage();
    await first.goto(server.signInLink);
    await expect(first).toHaveURL(`${server.url}/`);
    await expect(first.getByTestId('connection')).toHaveAttribute('data-phase', 'live');

    const second = await (await browser.newContext({ storageState: { cookies: [], origins: [] } })).newPage();
    await second.goto(server.signInLink);
    await expect(second.getByRole('alert')).toContainText('was used already');
    await expect(second).toHaveURL(`${server.url}/signin`);
  } finally {
    await server.stop();
  }
});

test('a click on a notification at the sign-in page leads to its page after the sign-in', async ({ page }) => {
  await page.goto('/signin');
  await expect(page.getByLabel('User name')).toBeVisible();
  const data = { type: 'open', url: '/alerts?state=all' };
  await page.evaluate((data) => navigator.serviceWorker.dispatchEvent(new MessageEvent('message', { data })), data);
  await expect(page).toHaveURL(/\/signin\?next=/);
  await page.getByLabel('User name').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/alerts\?state=all$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alerts');
});

test('signing out ends the session in every tab', async ({ page, context, server }) => {
  await page.goto('/signin');
  await page.getByLabel('User name').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(`${server.url}/`);
  const other = await context.newPage();
  await other.goto('/devices');
  await expect(other.getByTestId('connection')).toHaveAttribute('data-phase', 'live');

  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/signin$/);
  await expect(other).toHaveURL(/\/signin/);
  await expect(other.getByText('Your session has ended')).toBeVisible();
});
