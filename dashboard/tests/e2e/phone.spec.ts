import { expect, test } from './server';

test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });

test('no page scrolls sideways on a phone, and what is touched is large enough', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  const settings = ['', '?tab=told', '?tab=history', '?tab=providers'].map((query) => `/settings/notifications${query}`);
  const pages = ['/', '/devices', `/devices/${items[0].id}`, '/alerts', '/alerts?by=rule', '/rules', '/rules/new', '/silences', '/silences?new=1', ...settings, '/announcements', '/announcements?new=1', '/map', '/start', '/settings/appearance', '/settings/users', '/settings/tokens', '/about', '/nowhere'];
  for (const path of pages) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    const wide = await page.evaluate(() => ({
      document: document.documentElement.scrollWidth,
      content: (document.querySelector('.content') as HTMLElement).scrollWidth,
      window: innerWidth,
    }));
    expect(wide.document, path).toBeLessThanOrEqual(wide.window);
    expect(wide.content, path).toBeLessThanOrEqual(wide.window);
    const nav = await page.getByRole('navigation').getByRole('link').first().boundingBox();
    expect(nav?.height).toBeGreaterThanOrEqual(44);
    // The bar stands at the bottom edge.
    expect(nav?.y).toBeGreaterThan(600);
  }
});

test('the pages are reached by the bar at the bottom', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('navigation').getByRole('link', { name: 'Devices' }).tap();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Devices');
});

test('what has no room in the bar is behind More', async ({ page }) => {
  await page.goto('/');
  for (const [name, heading] of [
    ['Map', 'Map'],
    ['Settings', 'Appearance'],
    ['About', 'About'],
  ] as const) {
    await page.getByRole('button', { name: 'More' }).tap();
    await page.getByRole('group', { name: 'More' }).getByRole('link', { name }).tap();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(heading);
    await expect(page.getByRole('group', { name: 'More' })).toBeHidden();
  }
});
