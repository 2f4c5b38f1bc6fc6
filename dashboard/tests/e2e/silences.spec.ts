import { addRule, expect, READINGS_MS, removeRule, removeRules, test } from './server';

test.beforeEach(({ request, server }) => removeRules(request, server.url));

test('a silence is made from an alert, says what it hides, is extended, ended and taken back', async ({ page, request, server }) => {
  const rule = await addRule(request, server.url, { name: 'Always warm', threshold: -100 });
  try {
    await page.goto('/alerts');
    await page.getByRole('link', { name: 'Always warm' }).first().click({ timeout: READINGS_MS });
    await page.locator('#main').getByRole('button', { name: 'Silence' }).click();
    await page.getByRole('link', { name: 'More choices' }).click();
    await expect(page).toHaveURL(/\/silences\?new=1/);
    await expect(page.getByLabel('Value').first()).toHaveValue(rule.id);
    await expect(page.getByTestId('silence-preview')).toContainText('Hides 1 alert');
    // All of its alerts instead of those of one device.
    await page.getByRole('button', { name: 'Remove condition 2' }).click();
    await expect(page.getByTestId('silence-preview')).toContainText('Hides 10 alerts', { timeout: READINGS_MS });
    await page.getByRole('button', { name: 'Silence', exact: true }).click();
    await expect(page.getByText('This is required.')).toBeVisible();
    await page.getByLabel('Reason').fill('defrosting');
    await page.getByRole('button', { name: 'Silence', exact: true }).click();
    const active = page.getByRole('region', { name: 'Active' }).getByRole('listitem').filter({ hasText: 'defrosting' });
    await expect(active).toContainText(`rule=${rule.id}`);
    await expect(active).toContainText('Hides 10 alerts');
    await expect(active).toContainText('by admin');

    // The list shows it in place, and can leave it out.
    await page.goto('/alerts?silenced=true');
    await expect(page.getByRole('table', { name: 'Alerts' })).toContainText('silenced');
    await page.goto('/alerts?silenced=false');
    await expect(page.getByText('No alert matches these filters.')).toBeVisible();

    await page.keyboard.press('g');
    await page.keyboard.press('s');
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Silences');
    await active.getByLabel('Extend: defrosting').selectOption({ label: '+ 4 h' });
    await expect(page.getByText('It lasts until')).toBeVisible();
    await expect(active).toContainText('ends in 4 h');
    await active.getByRole('button', { name: 'End now' }).click();
    await expect(page.getByRole('region', { name: 'Ended' }).getByRole('listitem').filter({ hasText: 'defrosting' }).first()).toBeVisible();
    await page.locator('.toast').filter({ hasText: 'The silence has ended.' }).getByRole('button', { name: 'Undo' }).click();
    await expect(active).toBeVisible();
    await active.getByRole('button', { name: 'End now' }).click();
    await expect(active).toHaveCount(0);
  } finally {
    await removeRule(request, server.url, rule.id);
  }
});

test('a maintenance window is planned and dropped, and hiding everything has to be meant', async ({ page }) => {
  await page.goto('/silences');
  await page.getByRole('link', { name: 'New silence' }).click();
  await page.getByLabel('Label').selectOption('group');
  await page.getByLabel('Comparison').selectOption('=~');
  await page.getByLabel('Value').fill('cold*');
  await page.getByRole('button', { name: 'Planned' }).click();
  const pad = (value: number) => String(value).padStart(2, '0');
  const local = (hours: number) => {
    const at = new Date(Date.now() + hours * 3_600_000);
    return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}`;
  };
  await page.getByLabel('Starts').fill(local(5));
  await page.getByLabel('Ends').fill(local(4));
  await expect(page.getByText('The window must end after it begins')).toBeVisible();
  await page.getByLabel('Ends').fill(local(7));
  await page.getByLabel('Reason').fill('new compressor');
  await page.getByRole('button', { name: 'Plan', exact: true }).click();
  const planned = page.getByRole('region', { name: 'Planned' }).getByRole('listitem').filter({ hasText: 'new compressor' });
  await expect(planned).toContainText('maintenance window, by admin');
  await planned.getByRole('button', { name: 'Drop' }).click();
  await expect(planned).toHaveCount(0);

  await page.goto('/silences?new=1');
  await page.getByLabel('Label').selectOption('severity');
  await page.getByLabel('Comparison').selectOption('=~');
  await page.getByLabel('Value').fill('*');
  await page.getByLabel('Reason').fill('all quiet');
  await page.getByRole('button', { name: 'Silence', exact: true }).click();
  // The server says no until it is meant.
  await expect(page.getByRole('alert').filter({ hasText: 'everything' })).toBeVisible();
  await page.getByLabel('It hides every alert').check();
  await page.getByRole('button', { name: 'Silence', exact: true }).click();
  const all = page.getByRole('region', { name: 'Active' }).getByRole('listitem').filter({ hasText: 'all quiet' });
  await expect(all).toContainText('severity=*');
  await all.getByRole('button', { name: 'End now' }).click();
  await expect(all).toHaveCount(0);
});
