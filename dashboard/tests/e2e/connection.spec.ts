import { expect, test } from './server';

const pill = '[data-testid=connection]';

test('a network that is cut shows, and everything recovers by itself', async ({ page, context }) => {
  await page.goto('/');
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'live');
  await context.setOffline(true);
  await expect(page.locator(pill)).toHaveAttribute('data-phase', /stale|reconnecting|offline/);
  await expect(page.getByTestId('connection-banner')).toContainText('Values shown are old.');
  await expect(page.locator(pill)).toHaveAttribute('data-phase', /reconnecting|offline/);
  await context.setOffline(false);
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'live');
  await expect(page.getByTestId('connection-banner')).toHaveCount(0);
});

test('a connection that is open but silent is stale, then given up; Retry now brings it back without a gap', async ({ page }) => {
  let stalled = false;
  let connections = 0;
  await page.routeWebSocket('**/live', (socket) => {
    connections += 1;
    if (stalled) {
      socket.close();
      return;
    }
    const server = socket.connectToServer();
    server.onMessage((message) => {
      if (!stalled) socket.send(message);
    });
    socket.onMessage((message) => {
      if (!stalled) server.send(message);
    });
  });
  await page.goto('/');
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'live');
  await expect(page.locator('figure').first()).toBeVisible();

  stalled = true;
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'stale');
  await expect(page.getByRole('status').filter({ hasText: 'Stale' })).toHaveCount(1);
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'reconnecting');

  // Late enough that the page does not try by itself while this test clicks.
  await expect(page.getByTestId('connection-banner')).toContainText('(attempt 5)', { timeout: 40_000 });
  stalled = false;
  const before = connections;
  await page.getByRole('button', { name: 'Retry now' }).click();
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'live');
  expect(connections).toBeGreaterThan(before);
  // Resumed where it was: the charts were not emptied.
  await expect(page.locator('figure').getByText('No values')).toHaveCount(0);
});

test('frames that nobody understands are counted, and the page stays live', async ({ page }) => {
  await page.routeWebSocket('**/live', (socket) => {
    const server = socket.connectToServer();
    let sent = false;
    server.onMessage((message) => {
      socket.send(message);
      if (sent) return;
      sent = true;
      socket.send(Buffer.from('abcd019f00000000', 'hex'));
      socket.send(Buffer.from('abcd0187000000', 'hex'));
      socket.send('a text');
    });
    socket.onMessage((message) => server.send(message));
  });
  await page.goto('/');
  await expect(page.locator(pill)).toHaveAttribute('data-phase', 'live');
  await page.locator(pill).click();
  await expect(page.getByText('2 (a text message)')).toBeVisible();
});
