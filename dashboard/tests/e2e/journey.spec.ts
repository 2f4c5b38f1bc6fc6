import { createECDH, randomBytes } from 'node:crypto';
import { expect, PASSWORD, removeRules, startFleet, startServer, test } from './server';

test.use({ storageState: { cookies: [], origins: [] } });

test('from sign-in to the cure: a compressor trips, the alert appears, is acknowledged, a command cures it and it resolves', async ({ browser }) => {
  test.setTimeout(180_000);
  const server = await startServer();
  const context = await browser.newContext({ baseURL: server.url, locale: 'en-GB', storageState: { cookies: [], origins: [] } });
  let stopFleet = async () => {};
  try {
    const page = await context.newPage();
    await page.goto('/');
    await page.getByLabel('User name').fill('admin');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    await removeRules(context.request, server.url);
    // Someone to be pushed to; the address is that of a public service, which is not reached from here.
    const keys = { p256dh: createECDH('prime256v1').generateKeys('base64url'), auth: randomBytes(16).toString('base64url') };
    const phone = { kind: 'webpush', url: 'https://updates.push.services.mozilla.com/wpush/v2/journey', keys, label: 'A phone' };
    const added = await context.request.post('/api/v1/push/endpoints', { data: phone, headers: { Origin: server.url } });
    expect(added.status()).toBe(201);

    // One freezer of which the compressor will trip: it is at -20 °C and warms by 0.7 °C per second.
    stopFleet = await startFleet(server, '--devices', '1', '--prefix', 'freezer-', '--fault-after', '5s');
    await page.getByRole('link', { name: 'Rules' }).click();
    await page.getByRole('link', { name: 'New rule' }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('Freezer too warm');
    await page.getByLabel('Which devices').selectOption('devices');
    await page.getByLabel('Device ids').fill('freezer-0001');
    await page.getByLabel('metric', { exact: true }).fill('temperature');
    await page.getByLabel('Threshold', { exact: true }).fill('-12');
    await page.getByLabel('How long').fill('2 s');
    await page.getByLabel('Severity').selectOption('critical');
    await page.getByLabel('Clears at').fill('-15');
    // The device may still be on its way: the form says when it is there.
    await expect(async () => {
      await page.getByLabel('Device ids').fill('');
      await page.getByLabel('Device ids').fill('freezer-0001');
      await expect(page.getByTestId('rule-look')).toContainText('1 of them sends this metric.', { timeout: 3_000 });
    }).toPass();
    await page.getByRole('button', { name: 'Create rule' }).click();
    await expect(page.getByText('is saved. It looks at 1 device.')).toBeVisible();

    // It crosses the threshold while someone looks at something else.
    await page.getByRole('link', { name: 'Overview' }).click();
    const toast = page.locator('.toast').filter({ hasText: 'Freezer too warm' });
    await expect(toast).toContainText('Critical', { timeout: 60_000 });
    await expect(page.getByTestId('open-alerts')).toContainText('1');
    await toast.getByRole('button', { name: 'Open' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Freezer too warm');
    await expect(page.getByTestId('alert-state')).toHaveText('Firing');
    await page.locator('#main').getByRole('button', { name: 'Acknowledge' }).click();
    await expect(page.getByRole('region', { name: 'Timeline' })).toContainText('Acknowledged by admin');

    await page.getByRole('definition').getByRole('link', { name: 'Cold room 1' }).click();
    await expect(page).toHaveURL(/\/devices\/freezer-0001$/);
    await expect(page.getByRole('list', { name: 'Open alerts' })).toContainText('Freezer too warm');
    await page.getByLabel('Command', { exact: true }).selectOption({ label: 'Restart compressor' });
    await page.getByRole('button', { name: 'Send' }).click();
    const command = page.getByTestId('command').first();
    await expect(command).toContainText('restart_compressor');
    await expect(command).toContainText('In progress');
    await expect(command.getByRole('progressbar')).toBeVisible();
    await expect(command).toContainText('Succeeded');
    await expect(command).toContainText('the compressor runs');

    // It cools down, and below -15 °C the alert ends by itself.
    await expect(page.getByRole('list', { name: 'Open alerts' })).toHaveCount(0, { timeout: 60_000 });
    await expect(page.getByTestId('open-alerts')).toHaveCount(0);
    await page.getByRole('link', { name: 'Alerts', exact: true }).click();
    await page.getByRole('button', { name: 'Resolved', exact: true }).click();
    await page.getByRole('link', { name: 'Freezer too warm' }).click();
    await expect(page.getByTestId('alert-state')).toHaveText('Resolved');
    await expect(page.getByRole('region', { name: 'Timeline' })).toContainText('the value was back in range');
    // It was acknowledged at once, before a page that can be seen: nothing was pushed, and the page says why.
    await expect(page.getByRole('region', { name: 'Notifications to you' })).toContainText(
      /not pushed: (the alert was acknowledged first|admin had a visible page)|nothing was to be told of it/,
      { timeout: 20_000 },
    );
    // The demo's tour has followed all of it.
    await expect(page.getByTestId('tour').locator('[data-done=true]')).toHaveCount(5);
    await page.getByRole('button', { name: 'Close the tour' }).click();
    await page.reload();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Freezer too warm');
    await expect(page.getByTestId('tour')).toHaveCount(0);
  } finally {
    await stopFleet();
    await context.close();
    await server.stop();
  }
});
