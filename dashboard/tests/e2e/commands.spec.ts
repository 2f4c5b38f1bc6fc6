import { expect, test } from './server';

test.beforeAll(async ({ browser, server, cookies }) => {
  const context = await browser.newContext({ baseURL: server.url, storageState: { cookies, origins: [] } });
  const answer = await context.request.post('/api/v1/devices', { data: { id: 'away-1', name: 'Away' }, headers: { Origin: server.url } });
  expect([201, 409]).toContain(answer.status());
  await context.close();
});

test('a command to a device that is away waits, says until when, and can be canceled', async ({ page }) => {
  await page.goto('/devices/away-1?command=set_target#commands');
  await expect(page.getByText('The device is offline. A command waits')).toBeVisible();
  await expect(page.getByText('has not said which commands it knows')).toBeVisible();
  const name = page.getByLabel('Command', { exact: true });
  await expect(name).toHaveValue('set_target');
  await page.getByLabel('Arguments (JSON)').fill('{"target": }');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByText('This is no JSON.')).toBeVisible();
  await page.getByLabel('Arguments (JSON)').fill('{"target": -22.5}');
  await page.getByText('More options').click();
  await page.getByLabel('Deadline after').fill('forever');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByText('Write a time such as')).toBeVisible();
  await page.getByLabel('Deadline after').fill('2 h');
  await page.getByRole('button', { name: 'Send' }).click();

  const row = page.getByTestId('command').first();
  await expect(row).toContainText('Queued');
  await expect(row).toContainText('target=-22.5');
  await expect(row).toContainText('Waits for the device, until');
  await row.getByRole('group').locator('summary').click();
  await expect(row.getByRole('listitem').first()).toContainText('Queued');
  await row.getByRole('button', { name: 'Cancel' }).click();
  await expect(row).toContainText('Canceled');
  await expect(row.getByRole('button', { name: 'Cancel' })).toHaveCount(0);
});

test('the state of a command that someone else sent arrives without a reload', async ({ page, request, server }) => {
  await page.goto('/devices/away-1');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  await expect(page.getByRole('button', { name: 'Send' })).toBeVisible();
  const answer = await request.post('/api/v1/devices/away-1/commands', { data: { name: 'of_another' }, headers: { Origin: server.url } });
  const { id } = await answer.json();
  const row = page.getByTestId('command').filter({ hasText: 'of_another' }).first();
  await expect(row).toContainText('Queued');
  await request.post(`/api/v1/commands/${id}/cancel`, { headers: { Origin: server.url } });
  await expect(row).toContainText('Canceled');
});

test('a declared command has its own fields, checked as the server does it', async ({ page }) => {
  // No simulated device has an argument of each kind.
  await page.route('**/api/v1/devices/away-1/command-set', (route) =>
    route.fulfill({
      json: {
        declared: true,
        commands: [
          { name: 'restart', title: 'Restart', arguments: [] },
          {
            name: 'set_target',
            title: 'Set target',
            arguments: [
              { name: 'target', type: 'f64', required: true, min: -30, max: -10, unit: '°C' },
              { name: 'rounds', type: 'i64', required: false, min: null, max: null, unit: '' },
              { name: 'fast', type: 'bool', required: true, min: null, max: null, unit: '' },
              { name: 'note', type: 'text', required: false, min: null, max: null, unit: '' },
            ],
          },
        ],
      },
    }),
  );
  await page.goto('/devices/away-1');
  await page.getByLabel('Command', { exact: true }).selectOption('set_target');
  await page.getByLabel('target (°C)').fill('-5');
  await page.getByLabel('rounds').fill('1.5');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByText('At most -10.')).toBeVisible();
  await expect(page.getByText('A whole number is wanted.')).toBeVisible();
  await expect(page.getByText('This is required.')).toBeVisible();
  await expect(page.getByLabel('target (°C)')).toBeFocused();
  await page.getByLabel('target (°C)').fill('-22');
  await page.getByLabel('rounds').fill('3');
  await page.getByLabel('fast').selectOption('true');
  const sent = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/commands'));
  await page.getByRole('button', { name: 'Send' }).click();
  expect((await sent).postDataJSON()).toMatchObject({ name: 'set_target', arguments: { target: -22, rounds: 3, fast: true } });
  await expect(page.getByText('set_target is on its way.')).toBeVisible();
});

test('an answer that was lost is asked for again with the same id, so nothing is sent twice', async ({ page, request }) => {
  await page.goto('/devices/away-1?command=once');
  await expect(page.getByLabel('Command', { exact: true })).toHaveValue('once');
  let lost = true;
  await page.route('**/api/v1/devices/away-1/commands', async (route) => {
    if (route.request().method() !== 'POST' || !lost) return route.continue();
    lost = false;
    await route.fetch();
    await route.abort();
  });
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByText('The server cannot be reached.')).toBeVisible();
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByText('once is on its way.')).toBeVisible();
  const { items } = await (await request.get('/api/v1/devices/away-1/commands?state=all')).json();
  expect(items.filter((command: { name: string }) => command.name === 'once')).toHaveLength(1);
});
