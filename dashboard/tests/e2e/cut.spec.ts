import { decode } from '../../web/src/live/frame';
import { network } from './cut';
import { expect, test } from './server';

/** DASHBOARD: the page says that nothing comes any more before a person has read a value twice. */
const SAID_WITHIN_MS = 10_000;

test('a network that is cut without a close is told within ten seconds, values turn old, and the gap is filled afterwards', async ({ page, server, request, cookies }) => {
  const { items } = await (await request.get('/api/v1/devices?q=cold&presence=online&limit=1')).json();
  const device: string = items[0].id;
  const cable = await network(server.url);
  try {
    await page.context().addCookies(cookies.map(({ name, value }) => ({ name, value, url: cable.url })));
    // What reached the page: times of samples by metric, over all connections.
    const received = new Map<string, number[]>();
    page.on('websocket', (socket) => {
      const names = new Map<string, string>();
      socket.on('framereceived', ({ payload }) => {
        if (typeof payload === 'string') return;
        const bytes = new Uint8Array(payload).slice().buffer;
        for (const message of decode(bytes).messages) {
          if (message.type === 'series') {
            for (const one of message.series) if (one.device === device) names.set(`${message.subscription} ${one.index}`, one.metric);
          } else if (message.type === 'batch') {
            message.series.forEach((index, row) => {
              const metric = names.get(`${message.subscription} ${index}`);
              if (metric === undefined) return;
              const times = received.get(metric) ?? [];
              times.push(message.baseUs + (message.offsetsUs[row] as number));
              received.set(metric, times);
            });
          }
        }
      });
    });
    await page.goto(`${cable.url}/devices/${device}?range=5m`);
    const pill = page.getByTestId('connection');
    await expect(pill).toHaveAttribute('data-phase', 'live');
    await expect(page.locator('figure canvas').first()).toBeVisible();
    await page.waitForTimeout(3_000);

    const cutMs = Date.now();
    cable.cut();
    await expect(pill).toHaveAttribute('data-phase', /stale|reconnecting|offline/);
    const saidMs = Date.now() - cutMs;
    console.log(`the page said so after ${(saidMs / 1_000).toFixed(1)} s`);
    expect(saidMs).toBeLessThan(SAID_WITHIN_MS);
    await expect(page.getByTestId('connection-banner')).toContainText('old');
    await expect(page.locator('figure.old').first()).toBeVisible();
    // Long enough that it has given up and is trying anew.
    await expect(pill).toHaveAttribute('data-phase', /reconnecting|offline/, { timeout: 30_000 });
    await page.waitForTimeout(5_000);
    cable.mend();
    await expect(pill).toHaveAttribute('data-phase', 'live', { timeout: 60_000 });
    await expect(page.locator('figure.old')).toHaveCount(0);
    await page.waitForTimeout(3_000);

    const to = Date.now() - 2_000;
    const span = `from=${new Date(cutMs - 2_000).toISOString()}&to=${new Date(to).toISOString()}&limit=10000`;
    const { items: stored } = await (await request.get(`/api/v1/history?device=${device}&metric=temperature&${span}`)).json();
    expect(stored.length).toBeGreaterThan(10);
    const had = received.get('temperature') ?? [];
    const counts = stored.map(({ time }: { time: string }) => {
      const ms = Date.parse(time);
      return had.filter((us) => Math.abs(us / 1_000 - ms) < 2).length;
    });
    // On this page one chart and one list of newest values look at the metric; a chart that missed a sample would show here.
    expect(Math.min(...counts), `samples of the cut that came: ${counts.join(' ')}`).toBeGreaterThanOrEqual(1);
  } finally {
    await cable.close();
  }
});
