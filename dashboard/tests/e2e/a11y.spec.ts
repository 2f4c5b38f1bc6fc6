import { violations } from './axe';
import { addRule, expect, removeRule, test } from './server';

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('pages with alerts, forms with mistakes and messages have no accessibility violation', async ({ page, request, server }) => {
      const rule = await addRule(request, server.url, { name: `Always (${colorScheme})`, threshold: -100 });
      try {
        await page.goto('/');
        await expect(page.getByTestId('newest-alerts')).toBeVisible();
        expect(await violations(page), 'overview').toEqual([]);
        await page.goto('/alerts');
        const row = page.getByRole('link', { name: rule.name }).first();
        await expect(row).toBeVisible();
        await page.getByRole('checkbox', { name: rule.name }).first().check();
        await expect(page.getByRole('group', { name: 'Selected alerts' })).toBeVisible();
        expect(await violations(page), 'alerts').toEqual([]);
        await row.click();
        await expect(page.locator('figure canvas')).toBeVisible();
        await page.locator('#main').getByRole('button', { name: 'Acknowledge' }).click();
        await expect(page.getByText('Alert acknowledged')).toBeVisible();
        expect(await violations(page), 'alert').toEqual([]);
        await page.keyboard.press('s');
        await expect(page.getByRole('dialog')).toBeVisible();
        expect(await violations(page), 'silence dialog').toEqual([]);
        await page.goto('/rules/new');
        await page.getByRole('button', { name: 'Create rule' }).click();
        await expect(page.getByText('This is required.').first()).toBeVisible();
        expect(await violations(page), 'rule').toEqual([]);
        await page.getByRole('button', { name: 'Expression' }).click();
        await page.getByRole('textbox', { name: 'Expression', exact: true }).fill('temperature => 1');
        await page.getByRole('textbox', { name: 'Name' }).fill('Wrong');
        await expect(page.getByTestId('expression-error')).toBeVisible();
        for (const summary of await page.locator('summary').all()) await summary.click();
        await page.getByText('Only at certain hours').click();
        await page.getByRole('button', { name: 'Add a step' }).click();
        expect(await violations(page), 'rule with an expression and open folds').toEqual([]);
        await page.goto(`/rules/${rule.id}?tab=versions`);
        await expect(page.getByRole('list', { name: 'Versions' })).toBeVisible();
        expect(await violations(page), 'versions').toEqual([]);
        await page.goto('/silences?new=1');
        await page.getByRole('button', { name: 'Silence', exact: true }).click();
        await page.getByRole('button', { name: 'Planned' }).click();
        expect(await violations(page), 'silence').toEqual([]);
        await page.goto(`/rules/${rule.id}`);
        await expect(page.getByTestId('backtest-rate')).toBeVisible({ timeout: 60_000 });
        expect(await violations(page), 'rule with its backtest').toEqual([]);
        await page.getByRole('button', { name: 'Delete' }).click();
        expect(await violations(page), 'delete rule').toEqual([]);
      } finally {
        await removeRule(request, server.url, rule.id);
      }
    });

    test('no dialog, menu or banner has an accessibility violation', async ({ page, context }) => {
      await page.goto('/');
      await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
      await page.getByRole('button', { name: 'Add device' }).first().click();
      await page.getByRole('dialog').getByRole('button', { name: 'Add device' }).click();
      expect(await violations(page), 'add device').toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('?');
      await expect(page.getByRole('dialog')).toBeVisible();
      expect(await violations(page), 'shortcuts').toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+k');
      await page.keyboard.type('room');
      await expect(page.getByRole('group', { name: 'Devices' })).toBeVisible();
      expect(await violations(page), 'palette').toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Account and settings' }).click();
      expect(await violations(page), 'account').toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByTestId('connection').click();
      expect(await violations(page), 'connection').toEqual([]);
      await page.keyboard.press('Escape');
      await context.setOffline(true);
      await expect(page.getByTestId('connection-banner')).toBeVisible({ timeout: 60_000 });
      expect(await violations(page), 'banner').toEqual([]);
      await context.setOffline(false);
    });

    test('sign-in has no accessibility violation', async ({ browser, server }) => {
      const context = await browser.newContext({ colorScheme, storageState: { cookies: [], origins: [] } });
      const page = await context.newPage();
      await page.goto(`${server.url}/signin`);
      await page.getByLabel('User name').fill('nobody');
      await page.getByLabel('Password').fill('nothing');
      await page.keyboard.press('Enter');
      await expect(page.getByRole('alert')).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await context.close();
    });
  });
}
