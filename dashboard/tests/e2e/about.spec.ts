import { expect, test } from './server';

test('says how the server is, who looks on, and what this page knows of its connection', async ({ page, request }) => {
  const about = await (await request.get('/api/v1/about')).json();
  await page.goto('/about');
  await expect(page.getByRole('heading', { level: 2 }).first()).toContainText(about.version);
  const health = page.getByRole('list', { name: 'Health of the server' }).getByRole('listitem');
  await expect(health).toHaveCount(about.health.length);
  await expect(page.locator('[data-fact=state]')).toHaveText('Live');
  await expect(page.locator('[data-fact=latency]')).toHaveText(/^\d+ ms$/);
  await expect(page.locator('[data-fact=gaps]')).toHaveText('0');
  await expect(page.getByText('Natural Earth')).toBeVisible();
});

test('a clock of this machine that is wrong is said, and the page goes by the server’s', async ({ page }) => {
  // An hour behind.
  await page.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() - 3_600_000;
  });
  await page.goto('/about');
  await expect(page.getByTestId('clock')).toContainText('is 59 min behind the server’s', { timeout: 15_000 }).catch(() => expect(page.getByTestId('clock')).toContainText('1 h behind'));
  await page.goto('/devices');
  await expect(page.getByRole('table', { name: 'Devices' }).getByRole('row').nth(1)).toContainText(/just now|\ds ago|\d+ s ago/);
});

test('a clock that is right is not spoken of', async ({ page }) => {
  await page.goto('/about');
  await expect(page.locator('[data-fact=state]')).toHaveText('Live');
  await expect(page.getByTestId('clock')).toHaveCount(0);
});

test('names who looks on', async ({ page }) => {
  await page.goto('/about');
  // A page that looks at no value is no viewer; one that does is named.
  const other = await page.context().newPage();
  await other.goto('/');
  await expect(page.getByRole('region', { name: 'Who looks on' }).getByRole('row').nth(1)).toContainText('admin');
  await other.close();
});
