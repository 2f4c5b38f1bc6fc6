import type { Page } from '@playwright/test';
import { addRule, expect, removeRule, test } from './server';

const chosen = (page: Page) => page.getByRole('listbox', { name: 'Results' }).getByRole('option', { selected: true });
const field = (page: Page) => page.getByRole('combobox', { name: 'Search and commands' });

test('a few letters lead to a page, a device, a rule and an action, by keyboard alone', async ({ page, request, server }) => {
  const { items } = await (await request.get('/api/v1/devices?limit=500')).json();
  const device = items.at(-1);
  const rule = await addRule(request, server.url, { name: 'Boiler boils over', threshold: 1_000 });
  await page.goto('/');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');

  await page.keyboard.press('Control+k');
  await expect(field(page)).toBeFocused();
  await page.keyboard.type('slnc');
  await expect(chosen(page)).toHaveText(/Silences/);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Silences');
  await expect(page.getByRole('heading', { level: 1 })).toBeFocused();

  await page.keyboard.press('Control+k');
  await page.keyboard.type(device.id);
  await expect(page.getByRole('option').filter({ hasText: device.name || device.id }).first()).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/devices/${encodeURIComponent(device.id)}`));

  await page.keyboard.press('Control+k');
  await page.keyboard.type(rule.name);
  const found = page.getByRole('group', { name: 'Rules' }).getByRole('option').first();
  await expect(found).toContainText(rule.name);
  await found.click();
  await expect(page).toHaveURL(new RegExp(`/rules/${rule.id}`));

  await page.keyboard.press('Control+k');
  await page.keyboard.type('light dark');
  await expect(chosen(page)).toHaveText(/Switch between light and dark/);
  const before = await page.evaluate(() => document.documentElement.dataset.theme);
  await page.keyboard.press('Enter');
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).not.toBe(before);
  await removeRule(request, server.url, rule.id);
});

test('arrows choose, the choice is told to the field, and Escape gives the focus back', async ({ page }) => {
  await page.goto('/');
  const button = page.getByTestId('palette');
  await button.focus();
  await page.keyboard.press('Enter');
  await expect(field(page)).toBeFocused();
  await page.keyboard.press('ArrowDown');
  const selected = chosen(page);
  await expect(field(page)).toHaveAttribute('aria-activedescendant', (await selected.getAttribute('id')) as string);
  await expect(selected).toHaveText(/Devices/);
  await page.keyboard.press('ArrowUp');
  await expect(selected).toHaveText(/Overview/);
  await page.keyboard.type('there is nothing like this');
  await expect(page.getByText('Nothing fits.')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(field(page)).toHaveCount(0);
  await expect(button).toBeFocused();
});

test('letters after g lead to pages, and do nothing once they are switched off', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  for (const [key, heading] of [
    ['d', 'Devices'],
    ['a', 'Alerts'],
    ['r', 'Rules'],
    ['m', 'Map'],
    ['e', 'Explore'],
    ['o', 'Overview'],
  ] as const) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(heading);
  }
  await page.goto('/settings/appearance');
  await page.getByRole('switch', { name: 'Single-key shortcuts' }).uncheck();
  await page.keyboard.press('g');
  await page.keyboard.press('d');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Appearance');
  await page.keyboard.press('Control+k');
  await expect(field(page)).toBeFocused();
});

test.describe('on a slow connection', () => {
  // What the service worker keeps would be here at once.
  test.use({ serviceWorkers: 'block' });

  test('what is typed before the palette is there is not lost, and acts as no shortcut', async ({ page }) => {
    let deliver = () => {};
    const held = new Promise<void>((resolve) => (deliver = resolve));
    const asked = page.waitForRequest(/palette/i);
    await page.route(/palette/i, async (route) => {
      await held;
      await route.continue();
    });
    await page.goto('/');
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const before = await theme();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('tt');
    await page.keyboard.press('Backspace');
    await page.keyboard.press('Backspace');
    await page.keyboard.type('room');
    await asked;
    deliver();
    await expect(field(page)).toHaveValue('room');
    await expect(page.getByRole('group', { name: 'Devices' })).toBeVisible();
    await page.keyboard.type(' 2');
    await expect(field(page)).toHaveValue('room 2');
    expect(await theme()).toBe(before);
  });
});
