import { createECDH, randomBytes } from 'node:crypto';
import type { APIRequestContext, Page } from '@playwright/test';
import { expect, PASSWORD, test } from './server';
import { click, push, registerWorker } from './worker';

/** No push service is reached from here: the browser's part is stood in for, the server's is real. */
async function standIn(page: Page): Promise<void> {
  const ecdh = createECDH('prime256v1');
  const keys = { p256dh: ecdh.generateKeys('base64url'), auth: randomBytes(16).toString('base64url') };
  await page.addInitScript((keys) => {
    const STORED = 'e2e.subscription';
    const read = () => {
      const stored = JSON.parse(localStorage.getItem(STORED) ?? 'null') as { endpoint: string; key: number[] } | null;
      if (stored === null) return null;
      const { endpoint, key } = stored;
      const options = { applicationServerKey: new Uint8Array(key).buffer };
      const unsubscribe = async () => (localStorage.removeItem(STORED), true);
      return { endpoint, options, unsubscribe, toJSON: () => ({ endpoint, keys }) } as unknown as PushSubscription;
    };
    PushManager.prototype.getSubscription = async () => read();
    PushManager.prototype.subscribe = async function (options) {
      const key = [...new Uint8Array(options?.applicationServerKey as ArrayBuffer)];
      if (key.length !== 65 || key[0] !== 4) throw new Error(`a key of ${key.length} bytes`);
      const endpoint = read()?.endpoint ?? `https://updates.push.services.mozilla.com/wpush/v2/${crypto.randomUUID()}`;
      localStorage.setItem(STORED, JSON.stringify({ endpoint, key }));
      return read() as PushSubscription;
    };
  }, keys);
}

/** The browser gives itself another address, and the service worker fails to tell the server. */
const moveAddress = (page: Page) =>
  page.evaluate(() => {
    const stored = JSON.parse(localStorage.getItem('e2e.subscription') ?? '');
    localStorage.setItem('e2e.subscription', JSON.stringify({ ...stored, endpoint: `${stored.endpoint}-moved` }));
  });

async function subscribeAs(page: Page, label: string): Promise<void> {
  await page.goto('/settings/notifications');
  await page.getByLabel('Name').first().fill(label);
  await page.getByRole('button', { name: 'Subscribe this browser' }).click();
  await expect(page.getByText(`This browser is subscribed as “${label}”.`)).toBeVisible();
}

async function endpoints(request: APIRequestContext): Promise<{ id: string; label: string; state: string }[]> {
  return (await (await request.get('/api/v1/push/endpoints')).json()).items;
}

const MESSAGE = {
  v: 1,
  id: '01K1',
  kind: 'firing',
  severity: 'critical',
  title: 'Cold room too warm',
  body: 'Cold room 1: -11.4 °C',
  url: '/alerts?state=all',
  tag: 'alert-1',
  open: { count: 1, worst: 'critical' },
  time: '2026-11-21T09:00:00Z',
};

test.describe('with permission', () => {
  test.beforeEach(async ({ context, server }) => {
    await context.grantPermissions(['notifications'], { origin: server.url });
  });

  test('a message is shown by the service worker, and "resolved" takes its place', async ({ page }) => {
    await registerWorker(page);
    await push(page, JSON.stringify(MESSAGE), (list) =>
      expect(list).toEqual([
        {
          title: 'Cold room too warm',
          body: 'Cold room 1: -11.4 °C',
          tag: 'alert-1',
          data: { url: '/alerts?state=all', id: '01K1' },
          icon: '/icons/critical.png',
          requireInteraction: true,
        },
      ]),
    );
    await push(page, JSON.stringify({ ...MESSAGE, kind: 'resolved', body: 'Back at -16 °C' }), (list) =>
      expect(list.map(({ body, icon }) => [body, icon])).toEqual([['Back at -16 °C', '/icons/resolved.png']]),
    );
    await push(page, JSON.stringify({ ...MESSAGE, tag: 'alert-2' }), (list) => expect(list).toHaveLength(2));
    // What cannot be read is shown all the same.
    await push(page, 'no JSON', (list) => expect(list.map((one) => one.body)).toContain('no JSON'));
  });

  test('a click on a notification leads the open page to what it is about', async ({ page }) => {
    await registerWorker(page);
    await push(page, JSON.stringify(MESSAGE), (list) => expect(list).toHaveLength(1));
    await click(page, MESSAGE.tag);
    await expect(page).toHaveURL(/\/alerts\?state=all$/);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alerts');
  });

  test('this browser is subscribed by a click, listed, tested and removed', async ({ page, request }) => {
    await standIn(page);
    await page.goto('/settings/notifications');
    await expect(page.getByText('Nothing is registered yet')).toBeVisible();
    await subscribeAs(page, 'Browser under test');
    const row = page.getByRole('listitem').filter({ hasText: 'Browser under test' }).first();
    await expect(row).toContainText('this browser');
    await expect(row).toContainText('nothing delivered yet');

    await page.getByRole('button', { name: 'Send a test to Browser under test' }).click();
    await expect(page.getByTestId('push-test')).toContainText('Browser under test (Browser)');
    await expect(page.getByTestId('message-outcome').first()).toBeVisible();
    await page.reload();
    await expect(row).toContainText('this browser');

    await page.getByRole('button', { name: 'Remove Browser under test' }).click();
    await expect(page.getByRole('button', { name: 'Subscribe this browser' })).toBeVisible();
    await expect.poll(() => endpoints(request)).toEqual([]);
  });

  test('an address that the browser changed by itself is told to the server by the next page, with its name', async ({ page, request }) => {
    await standIn(page);
    await subscribeAs(page, 'Kim at the desk');
    const [before] = await endpoints(request);
    await moveAddress(page);
    await page.goto('/');
    await expect.poll(async () => (await endpoints(request)).map((one) => [one.label, one.id !== before?.id])).toEqual([['Kim at the desk', true]]);
    await page.goto('/settings/notifications');
    await expect(page.getByText('This browser is subscribed as “Kim at the desk”.')).toBeVisible();

    // Removed on another device: it does not come back, and the page does not say otherwise.
    const [now] = await endpoints(request);
    await request.delete(`/api/v1/push/endpoints/${now?.id}`, { headers: { Origin: new URL(page.url()).origin } });
    await page.reload();
    await expect.poll(() => page.evaluate(() => localStorage.getItem('e2e.subscription'))).toBeNull();
    await expect(page.getByRole('button', { name: 'Subscribe this browser' })).toBeVisible();
    expect(await endpoints(request)).toEqual([]);
  });

  test.describe('signed in here', () => {
    test.use({ storageState: { cookies: [], origins: [] } });

    async function signIn(page: Page): Promise<void> {
      await page.goto('/signin');
      await page.getByLabel('User name').fill('admin');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
    }

    async function signOut(page: Page): Promise<void> {
      await page.getByRole('button', { name: 'Account and settings' }).click();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await expect(page).toHaveURL(/\/signin$/);
    }

    test('whoever signs out is no longer reached at this browser', async ({ page }) => {
      await standIn(page);
      await signIn(page);
      await subscribeAs(page, 'Shared screen');
      await signOut(page);
      await expect.poll(() => page.evaluate(() => localStorage.getItem('e2e.subscription'))).toBeNull();
      await signIn(page);
      expect(await endpoints(page.request)).toEqual([]);
    });

    test('a server that does not answer does not keep anyone signed in', async ({ page }) => {
      await standIn(page);
      await signIn(page);
      await subscribeAs(page, 'Shared screen');
      const removal = '**/api/v1/push/endpoints/*';
      await page.route(removal, () => {});
      await signOut(page);
      await page.unroute(removal);
      await signIn(page);
      for (const { id } of await endpoints(page.request)) {
        await page.request.delete(`/api/v1/push/endpoints/${id}`, { headers: { Origin: new URL(page.url()).origin } });
      }
    });

    test('messages of someone who was signed in before are named, and stopped by a click', async ({ page }) => {
      await standIn(page);
      await signIn(page);
      await subscribeAs(page, 'Shared screen');
      await page.evaluate(() => {
        const own = JSON.parse(localStorage.getItem('pulsewire.endpoint') ?? '');
        localStorage.setItem('pulsewire.endpoint', JSON.stringify({ ...own, id: '01K0000000000000000000000A', user: 'robin' }));
      });
      await page.reload();
      await expect(page.getByText('This browser shows the messages of robin')).toBeVisible();
      await page.getByRole('button', { name: 'Stop these messages' }).click();
      await expect(page.getByText('This browser shows the messages of robin')).toHaveCount(0);
      await expect.poll(() => page.evaluate(() => localStorage.getItem('e2e.subscription'))).toBeNull();
      await page.getByRole('button', { name: 'Remove Shared screen' }).click();
      await expect(page.getByRole('button', { name: 'Remove Shared screen' })).toHaveCount(0);
    });
  });

  test('a push service that does not answer is told, not waited for without end', async ({ page }) => {
    await page.clock.install();
    await page.addInitScript(() => {
      PushManager.prototype.getSubscription = async () => null;
      PushManager.prototype.subscribe = () => {
        document.documentElement.dataset.asked = 'yes';
        return new Promise(() => {});
      };
    });
    await page.goto('/settings/notifications');
    await page.getByRole('button', { name: 'Subscribe this browser' }).click();
    await expect(page.locator('html')).toHaveAttribute('data-asked', 'yes');
    await page.clock.fastForward(15_000);
    await expect(page.getByRole('alert')).toContainText('did not answer within 15 s');
    await expect(page.getByRole('button', { name: 'Subscribe this browser' })).toBeEnabled();
  });
});

test('what stands in the way is named: permission that was denied', async ({ page }) => {
  await page.addInitScript(() => Object.defineProperty(Notification, 'permission', { get: () => 'denied' }));
  await page.goto('/settings/notifications');
  await expect(page.getByText('Notifications of this site are blocked.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Subscribe this browser' })).toHaveCount(0);
});

test('an app\'s token is registered by hand, listed and removed', async ({ page }) => {
  await page.goto('/settings/notifications');
  await page.getByText('Add a place').click();
  await page.getByRole('button', { name: 'Android' }).click();
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByText('Paste the app\'s token.')).toBeVisible();
  // The demo has keys for every service: they are those of its emulator.
  await page.getByLabel('Token').fill('e2e-registration-token');
  await page.getByLabel('Name').last().fill('Kim\'s app');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  const row = page.getByRole('listitem').filter({ hasText: 'Kim\'s app' }).first();
  await expect(row).toContainText('FCM');
  await page.getByRole('button', { name: 'Remove Kim\'s app' }).click();
  await expect(page.getByRole('button', { name: 'Remove Kim\'s app' })).toHaveCount(0);
});

test('a channel that is not set up says so, and tells an administrator what to set', async ({ page }) => {
  const none = { available: false };
  await page.route('**/api/v1/push/config', (route) => route.fulfill({ json: { webpush: none, apns: none, fcm: none, email: none, webhook: { available: true } } }));
  await page.goto('/settings/notifications');
  await expect(page.getByText('The server has browser notifications switched off.')).toBeVisible();
  await page.getByText('Add a place').click();
  await expect(page.getByText('The server has no mail server to send with. Set email.smtp_url')).toBeVisible();
  await page.getByRole('button', { name: 'iPhone' }).click();
  await expect(page.getByText('Set push.apns_key_file')).toBeVisible();
  await expect(page.getByLabel('Token')).toHaveCount(0);
  await page.getByRole('button', { name: 'Webhook' }).click();
  await expect(page.getByLabel('Address')).toBeVisible();
});

test('the service worker is asked for anew each time', async ({ request }) => {
  const answer = await request.get('/sw.js');
  expect(answer.headers()['cache-control']).toContain('no-cache');
  expect(answer.headers()['content-type']).toContain('javascript');
  // Pictures of announcements come from elsewhere; the page itself loads none.
  expect(answer.headers()['content-security-policy']).toContain("img-src 'self' https:;");
});
