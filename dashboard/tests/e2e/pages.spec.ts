/** What holds for every page, in both themes and both widths. */

import type { Page } from '@playwright/test';
import { violations } from './axe';
import { expect, test } from './server';

const PAGES = [
  '/',
  '/devices',
  '/devices?columns=temperature,humidity&sort=metric:temperature&order=desc',
  '/devices/DEVICE',
  '/devices/DEVICE?range=24h',
  '/explore',
  '/explore?device=DEVICE&metric=temperature&compare=1d',
  '/map',
  '/start',
  '/alerts?state=all',
  '/alerts?by=rule',
  '/rules',
  '/rules/new',
  '/silences',
  '/silences?new=1',
  '/announcements',
  '/announcements?new=1',
  '/settings/appearance',
  '/settings/users',
  '/settings/tokens',
  '/settings/notifications',
  '/settings/notifications?tab=told',
  '/settings/notifications?tab=history',
  '/settings/notifications?tab=providers',
  '/about',
  '/nowhere',
];

/** Tab from the top: the first thing is a way past the navigation, and everything that takes the focus shows it. */
async function keyboard(page: Page, path: string): Promise<void> {
  await page.keyboard.press('Tab');
  const first = await page.evaluate(() => document.activeElement?.getAttribute('href'));
  expect(first, `${path}: the first stop of the Tab key`).toBe('#main');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.evaluate(() => document.activeElement?.closest('#main') != null), `${path}: the focus is in the content`).toBe(true);
  const unseen: string[] = [];
  for (let step = 0; step < 12; step += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return null;
      // A field inside a frame shows it by the frame.
      const shows = (one: Element | null) => {
        if (one === null) return false;
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
        return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
      };
      const shown = shows(element) || (element instanceof HTMLInputElement && shows(element.parentElement));
      const { width, height } = element.getBoundingClientRect();
      return { shown: shown && width > 0 && height > 0, what: element.outerHTML.slice(0, 120) };
    });
    if (focus === null) break;
    if (!focus.shown) unseen.push(focus.what);
  }
  expect(unseen, `${path}: stops of the Tab key that do not show`).toEqual([]);
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, viewport] of Object.entries({ desktop: { width: 1280, height: 850 }, phone: { width: 390, height: 800 } })) {
    test.describe(`${colorScheme}, ${size}`, () => {
      test.use({ colorScheme, viewport });

      test('every page has its heading, no accessibility violation, fits the width and works by keyboard', async ({ page, request }) => {
        test.setTimeout(300_000);
        const { items } = await (await request.get('/api/v1/devices?q=cold&presence=online&limit=1')).json();
        for (const template of PAGES) {
          const path = template.replace('DEVICE', items[0].id);
          await page.goto(path);
          await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
          await expect(page.getByRole('heading', { level: 1 }), path).toBeVisible();
          // A chart below the edge is there, and drawn when it is scrolled to.
          if (path === '/' || path.includes('devices/') || path.includes('metric=')) {
            await expect(page.locator('figure').first(), path).toBeVisible();
          }
          expect.soft(await violations(page), path).toEqual([]);
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          expect.soft(over, `${path}: wider than the window`).toBeLessThanOrEqual(0);
          // What is done by touch has no Tab key.
          if (size === 'desktop' && colorScheme === 'light') await keyboard(page, path);
        }
      });
    });
  }
}
