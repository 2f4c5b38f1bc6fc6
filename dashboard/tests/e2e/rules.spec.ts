import type { Page } from '@playwright/test';
import { addRule, expect, READINGS_MS, removeRule, removeRules, test } from './server';

const threshold = (page: Page) => page.getByLabel('Threshold', { exact: true });
const backtest = (page: Page) => page.getByTestId('backtest');

test('a rule is written as a sentence, counts what it looks at, and is edited, paused and deleted', async ({ page }) => {
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
  await threshold(page).fill('-100');
  // The numbers are those of the devices now.
  await expect(page.getByTestId('rule-look')).toContainText('10 of them send this metric. 10 would match now.', {
    timeout: READINGS_MS,
  });
  await threshold(page).fill('99');
  await expect(page.getByTestId('rule-look')).toContainText('0 would match now.');
  await page.getByLabel('Clears at').fill('100');
  await page.getByLabel('How long').fill('soon');
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByText('It would never clear')).toBeVisible();
  await expect(page.getByText('Write a time such as 30 s')).toBeVisible();
  await page.getByLabel('Clears at').fill('95');
  await page.getByLabel('How long').fill('1 min');
  await page.getByLabel('Severity').selectOption('critical');
  // Nothing is that warm.
  await expect(backtest(page)).toContainText('Would not have fired.');
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByText('is saved. It looks at 10 devices.')).toBeVisible();
  await expect(page).toHaveURL(/\/rules\/[^/]+$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Written by hand');

  await page.reload();
  await expect(page.getByLabel('Clears at')).toHaveValue('95');
  await expect(page.getByRole('button', { name: 'Save' })).toBeDisabled();
  await threshold(page).fill('98.5');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('> 98.5 for 1 min')).toBeVisible();

  await page.goto('/rules');
  const row = page.getByRole('listitem').filter({ hasText: 'Written by hand' });
  await expect(row).toContainText('temperature of tag kind:cold-room > 98.5 for 1 min');
  await row.getByRole('switch').uncheck();
  const toast = page.locator('.toast').filter({ hasText: 'Written by hand is paused.' });
  await expect(row).toContainText('paused');
  await toast.getByRole('button', { name: 'Undo' }).click();
  await expect(row.getByRole('switch')).toBeChecked();
  await row.getByRole('link').click();

  // Who changed what, and the way back.
  await page.getByRole('button', { name: 'Versions' }).click();
  const versions = page.getByRole('list', { name: 'Versions' });
  await expect(versions).toContainText('created by admin');
  await expect(versions).toContainText('temperature > 98.5');
  await versions.getByRole('listitem').last().getByRole('button', { name: 'Put back' }).click();
  await expect(page.getByText('Written by hand is as it was in version 1.')).toBeVisible();
  await page.getByRole('button', { name: 'Rule', exact: true }).click();
  await expect(threshold(page)).toHaveValue('99');

  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(/\/rules$/);
  await expect(page.getByText('Written by hand', { exact: true })).toHaveCount(0);
});

test('an expression is checked while it is written, and its mistake is pointed at', async ({ page }) => {
  await page.goto('/rules/new');
  await page.getByRole('textbox', { name: 'Name' }).fill('By expression');
  await page.getByLabel('metric', { exact: true }).fill('temperature');
  await threshold(page).fill('-50');
  // What was said as a sentence goes on as an expression.
  await page.getByRole('button', { name: 'Expression' }).click();
  const expression = page.getByRole('textbox', { name: 'Expression', exact: true });
  await expect(expression).toHaveValue('temperature > -50');
  await expression.fill('temperature => -50');
  const problem = page.getByTestId('expression-error');
  await expect(problem.locator('mark')).toHaveText('=>');
  await expect(problem).toContainText('>=');
  await expect(expression).toHaveAttribute('aria-invalid', 'true');
  await page.getByRole('button', { name: 'Go to the mistake' }).click();
  expect(await expression.evaluate((field: HTMLTextAreaElement) => field.value.slice(field.selectionStart, field.selectionEnd))).toBe('=>');

  await expression.fill('temperature > -50 && ');
  await page.getByRole('group', { name: 'Insert' }).getByRole('button', { name: 'avg(, 10m)' }).click();
  await page.keyboard.type('temperature');
  await expect(expression).toHaveValue('temperature > -50 && avg(temperature, 10m)');
  await expression.press('End');
  await page.keyboard.type(' > -50');
  await expect(problem).toHaveCount(0);
  await page.getByRole('button', { name: 'Add a level' }).click();
  await page.getByRole('textbox', { name: 'Expression (Critical)' }).fill('temperature > 90');
  await page.getByRole('button', { name: 'Create rule' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('By expression');
  await page.reload();
  await expect(page.getByRole('textbox', { name: 'Expression (Critical)' })).toHaveValue('temperature > 90');
  // That cannot be said as a sentence.
  await page.getByRole('button', { name: 'Sentence' }).click();
  await expect(page.getByText('Only comparisons of one metric')).toBeVisible();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(/\/rules$/);
});

test('a rule is tried on what was stored, saved, fires on a device, and its alert is acknowledged, silenced and resolved', async ({ page, request, server }) => {
  await removeRules(request, server.url);
  await page.goto('/rules/new');
  await page.getByRole('textbox', { name: 'Name' }).fill('Tried before');
  await page.getByLabel('Which devices').selectOption('devices');
  await page.getByLabel('Device ids').fill('sim-0001');
  await page.getByLabel('metric', { exact: true }).fill('temperature');
  await threshold(page).fill('-100');
  await page.getByLabel('How long').fill('0 s');
  await page.getByLabel('Severity').selectOption('critical');
  // It starts by itself, and says what it would do now.
  await expect(page.getByTestId('backtest-now')).toContainText('Would fire on 1 device now.', { timeout: READINGS_MS });
  await expect(page.getByTestId('backtest-rate')).toContainText('×');
  await expect(backtest(page).locator('figure canvas')).toBeVisible();
  await expect(backtest(page).getByRole('list', { name: 'Thresholds and alerts' })).toContainText('Would fire since');
  await expect(backtest(page).getByRole('rowheader', { name: /^Notifications/ }).first()).toBeVisible();
  await page.getByRole('button', { name: 'Create rule' }).click();
  const dialog = page.getByRole('dialog');
  // One alert in the few minutes of this server may well be more than 20 a day.
  await expect(dialog.or(page.getByText('is saved. It looks at 1 device.'))).toBeVisible();
  if (await dialog.isVisible()) await dialog.getByRole('button', { name: 'Save all the same' }).click();
  await expect(page.getByText('is saved. It looks at 1 device.')).toBeVisible();
  const id = decodeURIComponent(new URL(page.url()).pathname.split('/').at(-1) ?? '');
  try {
    // The stored one is beside it.
    await expect(backtest(page).getByRole('columnheader', { name: 'As stored' })).toBeVisible({ timeout: READINGS_MS });
    await page.getByRole('link', { name: 'Alerts' }).first().click();
    await page.getByRole('link', { name: 'Tried before' }).click({ timeout: READINGS_MS });
    await expect(page.getByTestId('alert-state')).toHaveText('Firing');
    await page.keyboard.press('a');
    const timeline = page.getByRole('region', { name: 'Timeline' });
    await expect(timeline).toContainText('Acknowledged by admin');
    await page.keyboard.press('s');
    await dialog.getByRole('button', { name: '1 hour' }).click();
    await expect(timeline).toContainText('Silenced by admin');
    await expect(page.getByText('Silenced until')).toBeVisible();
    await page.getByLabel('Comment').fill('Nothing is wrong.');
    await page.keyboard.press('Enter');
    await expect(timeline).toContainText('Nothing is wrong.');
    await page.getByLabel('Assigned to').selectOption('admin');
    await expect(timeline).toContainText('Assigned');
    await page.locator('#main').getByRole('button', { name: 'Resolve' }).click();
    await expect(page.getByTestId('alert-state')).toHaveText('Resolved');
    await expect(timeline).toContainText('by hand');
  } finally {
    await removeRule(request, server.url, id);
  }
});

test('what only the server knows is told beside the field', async ({ page }) => {
  await page.goto('/rules/new');
  await page.getByRole('textbox', { name: 'Name' }).fill('Of nothing');
  await page.getByLabel('metric', { exact: true }).fill('no_such_metric');
  await threshold(page).fill('1');
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
    await expect(threshold(page)).toBeDisabled();
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
