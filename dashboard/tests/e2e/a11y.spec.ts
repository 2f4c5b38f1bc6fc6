import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from '@playwright/test';
import { addRule, expect, removeRule, test } from './server';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Runs axe-core in the page. Evaluated, not added as a script: the page's Content-Security-Policy forbids that. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe-core puts itself on the window
    const result = await (window as any).axe.run(document);
    return result.violations.map(
      (violation: { id: string; help: string; nodes: { html: string; failureSummary: string }[] }) =>
        `${violation.id}: ${violation.help}\n${violation.nodes
          .slice(0, 3)
          .map((node) => `  ${node.html.slice(0, 200)}\n  ${node.failureSummary}`)
          .join('\n')}`,
    );
  });
}

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test('no page has an accessibility violation', async ({ page, request }) => {
      const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
      const device = `/devices/${items[0].id}`;
      const settings = ['', '?tab=told', '?tab=history', '?tab=providers'].map((query) => `/settings/notifications${query}`);
      const forms = ['/rules', '/rules/new', '/silences', '/silences?new=1', ...settings, '/announcements', '/announcements?new=1'];
      for (const path of ['/', '/devices', device, `${device}?range=24h`, '/alerts?state=all', '/alerts?by=rule', ...forms, '/nowhere']) {
        await page.goto(path);
        await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
        await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
        if (path === '/' || path.includes('devices/')) {
          await expect(page.locator('figure canvas').first()).toBeVisible({ timeout: 20_000 });
        }
        expect(await violations(page), path).toEqual([]);
      }
    });

    test('pages with alerts, forms with mistakes and messages have no accessibility violation', async ({ page, request, server }) => {
      const rule = await addRule(request, server.url, { name: `Always (${colorScheme})`, threshold: -100 });
      try {
        await page.goto('/');
        await expect(page.getByTestId('newest-alerts')).toBeVisible({ timeout: 20_000 });
        expect(await violations(page), 'overview').toEqual([]);
        await page.goto('/alerts');
        const row = page.getByRole('link', { name: rule.name }).first();
        await expect(row).toBeVisible({ timeout: 20_000 });
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
      await page.getByRole('button', { name: 'Account and settings' }).click();
      expect(await violations(page), 'account').toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByTestId('connection').click();
      expect(await violations(page), 'connection').toEqual([]);
      await page.keyboard.press('Escape');
      await context.setOffline(true);
      await expect(page.getByTestId('connection-banner')).toBeVisible({ timeout: 20_000 });
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
