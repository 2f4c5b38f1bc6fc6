import type { Page } from '@playwright/test';
import { addRule, expect, READINGS_MS, removeRule, removeRules, test } from './server';

const rows = (page: Page) => page.getByRole('table', { name: 'Alerts' }).getByRole('row').filter({ has: page.locator('[data-alert]') });

test.beforeEach(({ request, server }) => removeRules(request, server.url));

/** A rule that all ten cold rooms break, each with its next value; removed after the test. */
const broken = test.extend<{ rule: { id: string; name: string } }>({
  rule: async ({ request, server }, use) => {
    const rule = await addRule(request, server.url, { name: 'Warmer than nothing', threshold: -100, message: 'Close the door.' });
    await use(rule);
    await removeRule(request, server.url, rule.id);
  },
});

test('an alert arrives on any page without a reload, with a message and a count, and opens from there', async ({ page, request, server }) => {
  await page.goto('/devices');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  const rule = await addRule(request, server.url, { name: 'One room', threshold: -100, scope: { device: 'sim-0001' } });
  try {
    const toast = page.locator('.toast').filter({ hasText: 'One room' });
    await expect(toast).toContainText('Critical', { timeout: READINGS_MS });
    await expect(toast).toContainText('Cold room 1');
    await expect(page.getByTestId('open-alerts')).toContainText('1');
    await toast.getByRole('button', { name: 'Open' }).click();
    await expect(page).toHaveURL(/\/alerts\/[0-9A-Z]{26}$/);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('One room');
  } finally {
    await removeRule(request, server.url, rule.id);
  }
  // The rule is gone, so its alert has ended: live, too.
  await expect(page.getByTestId('alert-state')).toHaveText('Resolved');
  await expect(page.getByText('the rule was deleted')).toBeVisible();
  await expect(page.getByTestId('open-alerts')).toHaveCount(0);
});

broken('alerts are acknowledged and resolved with keys, one or many, and an acknowledgement can be taken back', async ({ page, rule }) => {
  await page.goto('/alerts');
  await expect(rows(page).filter({ hasText: rule.name })).toHaveCount(10, { timeout: READINGS_MS });
  await page.keyboard.press('j');
  await expect(page.locator('[data-alert]').first()).toBeFocused();
  await page.keyboard.press('j');
  await expect(page.locator('[data-alert]').nth(1)).toBeFocused();
  await page.keyboard.press('a');
  await expect(rows(page).nth(1)).toContainText('admin');
  const toast = page.locator('.toast').filter({ hasText: 'Alert acknowledged' });
  await toast.getByRole('button', { name: 'Undo' }).click();
  await expect(rows(page).nth(1)).toContainText('nobody yet');

  // Three are selected: the bar says so, and acts on all of them.
  await page.locator('[data-alert]').first().focus();
  for (const key of ['x', 'j', 'x', 'j', 'x']) await page.keyboard.press(key);
  const bar = page.getByRole('group', { name: 'Selected alerts' });
  await expect(bar).toContainText('3 selected');
  await bar.getByRole('button', { name: 'Acknowledge' }).click();
  await expect(page.getByText('3 alerts acknowledged')).toBeVisible();
  await expect(rows(page).filter({ hasText: 'admin' })).toHaveCount(3);
  await expect(bar).toHaveCount(0);
  await page.getByRole('checkbox', { name: 'Select all' }).check();
  await expect(bar).toContainText('10 selected');
  await bar.getByRole('button', { name: 'Clear selection' }).click();
  await expect(bar).toHaveCount(0);

  await page.locator('[data-alert]').first().focus();
  await page.keyboard.press('r');
  await expect(rows(page)).toHaveCount(9);
  await page.getByRole('button', { name: 'Resolved', exact: true }).click();
  await expect(page).toHaveURL(/state=resolved/);
  await expect(rows(page).first()).toContainText(rule.name);
  await expect(rows(page).first()).toContainText('resolved');
});

broken('the overview counts open alerts by severity and lists the newest, live', async ({ page, rule, request, server }) => {
  await page.goto('/');
  await expect(page.getByTestId('open-critical')).toHaveText('10', { timeout: READINGS_MS });
  const newest = page.getByTestId('newest-alerts').getByRole('listitem');
  await expect(newest).toHaveCount(5);
  await expect(newest.first()).toContainText(rule.name);
  await expect(page.getByRole('link', { name: 'All 10' })).toHaveAttribute('href', '/alerts');
  const hint = await addRule(request, server.url, { name: 'A hint', threshold: -100, severity: 'info', scope: { device: 'sim-0001' } });
  try {
    await expect(page.getByTestId('open-info')).toHaveText('1', { timeout: READINGS_MS });
    await expect(newest.first()).toContainText('A hint');
    await page.getByTestId('open-info').click();
    await expect(page).toHaveURL(/\/alerts\?severity=info$/);
    await expect(rows(page)).toHaveCount(1);
  } finally {
    await removeRule(request, server.url, hint.id);
  }
  await page.goto('/');
  await expect(page.getByTestId('open-info')).toHaveCount(0);
});

broken('the list is filtered by severity and device, and the filter lives in the address', async ({ page, rule, request, server }) => {
  const other = await addRule(request, server.url, { name: 'A hint', threshold: -100, severity: 'info', scope: { device: 'sim-0001' } });
  try {
    await page.goto('/alerts');
    await expect(rows(page)).toHaveCount(11, { timeout: READINGS_MS });
    // The worst first.
    await expect(rows(page).first()).toContainText(rule.name);
    await expect(rows(page).last()).toContainText('A hint');
    await page.getByLabel('Severity').selectOption('info');
    await expect(rows(page)).toHaveCount(1);
    await page.getByLabel('Severity').selectOption('');
    await page.getByLabel('Device id').fill('sim-0001');
    await page.keyboard.press('Enter');
    await expect(page).toHaveURL(/device=sim-0001/);
    await expect(rows(page)).toHaveCount(2);
    await page.reload();
    await expect(rows(page)).toHaveCount(2);
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await expect(rows(page)).toHaveCount(11);
  } finally {
    await removeRule(request, server.url, other.id);
  }
});

broken('an alert has its chart, timeline, rule and device; the device shows it too', async ({ page, rule }) => {
  await page.goto('/alerts');
  await page.getByRole('link', { name: rule.name }).first().click();
  await expect(page.locator('figure canvas')).toBeVisible();
  await expect(page.getByRole('list', { name: 'Thresholds and alerts' })).toContainText('> -100 °C');
  await expect(page.getByRole('list', { name: 'Thresholds and alerts' })).toContainText('Alert since');
  await expect(page.getByText('Close the door.', { exact: true }).first()).toBeVisible();
  const timeline = page.getByRole('region', { name: 'Timeline' });
  await expect(timeline).toContainText('Fired');
  await page.locator('#main').getByRole('button', { name: 'Acknowledge' }).click();
  await expect(timeline).toContainText('Acknowledged by admin');
  await page.locator('#main').getByRole('button', { name: 'Take back' }).click();
  await expect(timeline.getByText('Acknowledgement taken back')).toBeVisible();

  await page.locator('dd a').first().click();
  await expect(page).toHaveURL(/\/devices\/sim-/);
  await expect(page.getByRole('list', { name: 'Open alerts' })).toContainText(rule.name);
  const temperature = page.locator('figure').filter({ hasText: 'temperature' });
  const legend = temperature.getByRole('list', { name: 'Thresholds and alerts' });
  await expect(legend).toContainText('Alert since');
  await legend.getByRole('link', { name: rule.name }).focus();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/rules/${rule.id}$`));
});

test('what changed while the connection was cut is there after it', async ({ page, request, server, context }) => {
  await page.goto('/alerts');
  await expect(page.getByText('No open alerts.')).toBeVisible();
  await context.setOffline(true);
  await expect(page.getByTestId('connection-banner')).toBeVisible();
  const rule = await addRule(request, server.url, { name: 'While away', threshold: -100, scope: { device: 'sim-0001' } });
  try {
    await expect(async () => {
      const { items } = await (await request.get('/api/v1/alerts')).json();
      expect(items).toHaveLength(1);
    }).toPass({ timeout: READINGS_MS });
    await context.setOffline(false);
    await expect(rows(page)).toHaveCount(1, { timeout: 30_000 });
  } finally {
    await removeRule(request, server.url, rule.id);
  }
  await expect(page.getByText('No open alerts.')).toBeVisible();
});

test('an alert that does not exist says so', async ({ page }) => {
  await page.goto('/alerts/01KAJ3V8Q5M7T2X9R4C6B8D0EF');
  await expect(page.getByRole('heading', { name: 'No such alert' })).toBeVisible();
});
