import { addRule, expect, READINGS_MS, removeRule, test } from './server';

test('a rule is written as a sentence, counts what it looks at, and is edited, switched off and deleted', async ({ page }) => {
  await page.goto('/rules');
  await page.getByRole('link', { name: 'New rule' }).click();
  await page.getByRole('button', { name: 'Create rule' }).click();
  // Every mistake is told, and the first one has the focus.
  await expect(page.getByText('This is required.')).toHaveCount(3);
  await expect(page.getByRole('textbox', { name: 'Name' })).toBeFocused();

  await page.getByRole('textbox', { name: 'Name' }).fill('Written by hand');
  await page.getByLabel('Which devices').selectOption('tag');
  await page.getByLabel('Tag, key:value').fill('kind:cold-room');
  await expect(page.getByTestId('rule-look')).toContainText('10 devices are in scope.');
  await page.getByLabel('metric', { exact: true }).fill('temperature');
  await page.getByLabel('Threshold').fill('-100');
  // The numbers are those of the devices now.
  await expect(page.getByTestId('rule-look')).toContainText('10 of them send this metric. 10 would match now.', {
    timeout: READINGS_MS,
  });
  await page.getByLabel('Threshold').fill('99');
  await expect(page.getByTestId('rule-look')).toContainText('0 would match now.');
  await page.getByLabel('Clears at').fill('100');
  await page.getByLabel('How long').fill('soon');
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByText('It would never clear')).toBeVisible();
  await expect(page.getByText('Write a time such as 30 s')).toBeVisible();
  await page.getByLabel('Clears at').fill('95');
  await page.getByLabel('How long').fill('1 min');
  await page.getByLabel('Severity').selectOption('critical');
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByText('is saved. It looks at 10 devices.')).toBeVisible();
  await expect(page).toHaveURL(/\/rules\/[^/]+$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Written by hand');

  await page.reload();
  await expect(page.getByLabel('Clears at')).toHaveValue('95');
  await page.getByLabel('Threshold').fill('98.5');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('> 98.5 for 1 min')).toBeVisible();

  await page.goto('/rules');
  const row = page.getByRole('listitem').filter({ hasText: 'Written by hand' });
  await expect(row).toContainText('temperature of tag kind:cold-room > 98.5 for 1 min');
  await row.getByRole('switch').uncheck();
  await expect(page.getByText('Written by hand is switched off.')).toBeVisible();
  await expect(row).toContainText('off');
  await row.getByRole('link').click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(/\/rules$/);
  await expect(page.getByText('Written by hand', { exact: true })).toHaveCount(0);
});

test('what only the server knows is told beside the field', async ({ page }) => {
  await page.goto('/rules/new');
  await page.getByRole('textbox', { name: 'Name' }).fill('Of nothing');
  await page.getByLabel('metric', { exact: true }).fill('no_such_metric');
  await page.getByLabel('Threshold').fill('1');
  await page.getByRole('button', { name: 'Create rule' }).click();
  const metric = page.getByLabel('metric', { exact: true });
  await expect(metric).toHaveAttribute('aria-invalid', 'true');
  await expect(metric).toBeFocused();
  await page.getByLabel('it waits for a device').check();
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Of nothing');
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(/\/rules$/);
});

test('a viewer reads rules and alerts, and is offered nothing that the server would refuse', async ({ browser, server, request }) => {
  const rule = await addRule(request, server.url, { name: 'Seen by all', threshold: -100, scope: { device: 'sim-0001' } });
  const viewer = { name: 'e2e-rules-viewer', password: 'only looking around', role: 'viewer' };
  const made = await request.post('/api/v1/users', { data: viewer, headers: { Origin: server.url } });
  expect(made.status()).toBe(201);
  const context = await browser.newContext({ baseURL: server.url, storageState: { cookies: [], origins: [] } });
  try {
    const page = await context.newPage();
    await page.goto('/signin?next=/alerts');
    await page.getByLabel('User name').fill(viewer.name);
    await page.getByLabel('Password').fill(viewer.password);
    await page.keyboard.press('Enter');
    await expect(page.getByRole('link', { name: 'Seen by all' })).toBeVisible({ timeout: READINGS_MS });
    await expect(page.getByRole('button', { name: 'Acknowledge' })).toHaveCount(0);
    await expect(page.getByRole('checkbox')).toHaveCount(0);
    await page.goto(`/rules/${rule.id}`);
    await expect(page.getByLabel('Threshold')).toBeDisabled();
    await expect(page.getByRole('button', { name: 'Save' })).toHaveCount(0);
    await page.goto('/devices/sim-0001');
    await expect(page.getByRole('heading', { name: 'Commands' })).toBeVisible();
    await expect(page.getByRole('button', { name: 'Send' })).toHaveCount(0);
  } finally {
    await context.close();
    await request.delete(`/api/v1/users/${viewer.name}`, { headers: { Origin: server.url } });
    await removeRule(request, server.url, rule.id);
  }
});
