import { expect, test } from './server';

test('the theme follows the system until one is chosen, and the choice survives a reload', async ({ page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.goto('/');
  await expect(page.getByTestId('connection')).toBeVisible();
  const light = await background();
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect.poll(background).not.toBe(light);
  // The key turns what the page knows, which on a busy machine is a moment behind what it looks like.
  await expect(async () => {
    if ((await background()) !== light) await page.keyboard.press('t');
    expect(await background()).toBe(light);
  }).toPass();
  await page.reload();
  await expect(page.getByTestId('connection')).toBeVisible();
  await expect.poll(background).toBe(light);
});

test('shortcuts can be switched off', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByTestId('connection')).toBeVisible();
  await page.keyboard.press('?');
  await page.getByLabel('Single-key shortcuts are on').uncheck();
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('the Content-Security-Policy allows the page and nothing else', async ({ page, request }) => {
  const policy = (await request.get('/')).headers()['content-security-policy'] ?? '';
  expect(policy).toContain("default-src 'self'");
  expect(policy).not.toContain('unsafe-inline');
  const refused: string[] = [];
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) refused.push(message.text());
  });
  await page.goto('/');
  await expect(page.locator('figure canvas').first()).toBeVisible();
  expect(refused).toEqual([]);
});

test('an unknown page says so', async ({ page }) => {
  await page.goto('/nowhere');
  await expect(page.getByRole('heading', { name: 'Page not found' })).toBeVisible();
});
