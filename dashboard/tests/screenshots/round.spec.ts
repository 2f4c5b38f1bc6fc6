/** The round through the demo as a newcomer walks it, with the pictures of the README. It checks what it shows. */

import { resolve } from 'node:path';
import { expect, startServer, test } from '../e2e/server';

/** SCREENSHOTS_DIR: to look at them without changing those of the guides. */
const folder = process.env.SCREENSHOTS_DIR ?? resolve(import.meta.dirname, '../../../docs/images');

test('the round', async ({ browser }) => {
  test.setTimeout(240_000);
  const started = Date.now();
  const seconds = () => ((Date.now() - started) / 1000).toFixed(1);
  const server = await startServer();
  try {
    const context = await browser.newContext({ baseURL: server.url, locale: 'en-GB', viewport: { width: 1280, height: 850 }, storageState: { cookies: [], origins: [] } });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const picture = async (name: string) => page.screenshot({ path: resolve(folder, `round-${name}.png`) });
    // The link is of the server; the page may come from its source.
    const { pathname, hash } = new URL(server.signInLink);
    await page.goto(`${pathname}${hash}`);
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    await page.waitForTimeout(2_500);
    console.log(`live after ${seconds()} s`);
    await picture('1-watch');

    const toast = page.locator('.toast').filter({ hasText: 'Cold room too warm' });
    await expect(toast).toContainText('Critical', { timeout: 90_000 });
    console.log(`alert after ${seconds()} s`);
    await picture('2-alert');
    // Nobody takes care yet: who is on call is told.
    const phone = await browser.newPage({ viewport: { width: 1000, height: 760 }, colorScheme: 'light' });
    await phone.goto(server.phone, { waitUntil: 'domcontentloaded' });
    await expect(async () => {
      const { items } = await (await context.request.get(`${server.phone}api/messages`)).json();
      const kinds = new Set(items.map((item: { provider: string }) => item.provider));
      expect([...kinds].sort()).toEqual(['apns', 'fcm', 'webpush']);
    }).toPass({ timeout: 60_000 });
    await phone.waitForTimeout(1_000);
    console.log(`on the phone after ${seconds()} s`);
    await phone.screenshot({ path: resolve(folder, 'round-3-phone.png') });

    await page.bringToFront();
    await page.getByRole('navigation').getByRole('link', { name: /^Alerts/ }).first().click();
    await page.getByRole('link', { name: 'Cold room too warm' }).first().click();
    await page.locator('#main').getByRole('button', { name: 'Acknowledge' }).click();
    await expect(page.getByRole('region', { name: 'Timeline' })).toContainText('Acknowledged by admin');
    await page.waitForTimeout(1_500);
    await picture('4-acknowledge');

    await page.getByRole('definition').getByRole('link', { name: 'Cold room 1' }).click();
    await page.getByLabel('Command', { exact: true }).selectOption({ label: 'Restart compressor' });
    await page.getByRole('button', { name: 'Send' }).click();
    const command = page.getByTestId('command').first();
    await expect(command.getByRole('progressbar')).toBeVisible();
    await command.scrollIntoViewIfNeeded();
    await picture('5-command');
    await expect(command).toContainText('Succeeded');
    await expect(page.getByRole('list', { name: 'Open alerts' })).toHaveCount(0, { timeout: 90_000 });
    await page.getByRole('heading', { level: 1 }).scrollIntoViewIfNeeded();
    await page.evaluate(() => document.querySelectorAll('*').forEach((element) => element.scrollTo(0, 0)));
    await page.waitForTimeout(1_500);
    console.log(`cured after ${seconds()} s`);
    await picture('6-cured');
    await phone.close();
    await context.close();
  } finally {
    await server.stop();
  }
});
