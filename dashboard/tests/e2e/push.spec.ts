import { createECDH, randomBytes } from 'node:crypto';
import type { Page } from '@playwright/test';
import { expect, test } from './server';

/** Puts the real service worker in place, as a subscription does. */
async function registerWorker(page: Page): Promise<void> {
  await page.goto('/settings/notifications');
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('/sw.js');
    await navigator.serviceWorker.ready;
  });
}

/** Hands a push message to the service worker as the browser would. */
async function push(page: Page, text: string): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const registration = new Promise<string>((done) => {
    session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
      const found = registrations.find((one) => !one.isDeleted);
      if (found) done(found.registrationId);
    });
  });
  await session.send('ServiceWorker.enable');
  const origin = new URL(page.url()).origin;
  await session.send('ServiceWorker.deliverPushMessage', { origin, registrationId: await registration, data: text });
  await session.detach();
}

const shown = (page: Page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    const list = await registration.getNotifications();
    return list.map(({ title, body, tag, data, icon, requireInteraction }) => ({
      title,
      body,
      tag,
      data,
      icon: new URL(icon).pathname,
      requireInteraction,
    }));
  });

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
    await push(page, JSON.stringify(MESSAGE));
    await expect.poll(() => shown(page)).toEqual([
      {
        title: 'Cold room too warm',
        body: 'Cold room 1: -11.4 °C',
        tag: 'alert-1',
        data: { url: '/alerts?state=all', id: '01K1' },
        icon: '/icons/critical.png',
        requireInteraction: true,
      },
    ]);
    await push(page, JSON.stringify({ ...MESSAGE, kind: 'resolved', body: 'Back at -16 °C' }));
    await expect
      .poll(async () => (await shown(page)).map(({ body, icon }) => [body, icon]))
      .toEqual([['Back at -16 °C', '/icons/resolved.png']]);
    await push(page, JSON.stringify({ ...MESSAGE, tag: 'alert-2' }));
    await expect.poll(async () => (await shown(page)).length).toBe(2);
    // What cannot be read is shown all the same.
    await push(page, 'no JSON');
    await expect.poll(async () => (await shown(page)).map((one) => one.body)).toContain('no JSON');
  });

  test('a click on a notification leads the open page to what it is about', async ({ page, context }) => {
    await registerWorker(page);
    await push(page, JSON.stringify(MESSAGE));
    await expect.poll(async () => (await shown(page)).length).toBe(1);
    const [worker] = context.serviceWorkers();
    expect(worker).toBeDefined();
    await worker?.evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: a service worker's globals
      const self = globalThis as any;
      const [notification] = await self.registration.getNotifications();
      self.dispatchEvent(new self.NotificationEvent('notificationclick', { notification }));
    });
    await expect(page).toHaveURL(/\/alerts\?state=all$/);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Alerts');
  });

  test('this browser is subscribed by a click, listed, tested and removed', async ({ page, request }) => {
    // No push service is reached from here: the browser's part is stood in for, the server's is real.
    const ecdh = createECDH('prime256v1');
    const keys = { p256dh: ecdh.generateKeys('base64url'), auth: randomBytes(16).toString('base64url') };
    await page.addInitScript((keys) => {
      const endpoint = 'https://updates.push.services.mozilla.com/wpush/v2/e2e';
      PushManager.prototype.getSubscription = async () => null;
      PushManager.prototype.subscribe = async function (options) {
        const key = new Uint8Array(options?.applicationServerKey as ArrayBuffer);
        if (key.length !== 65 || key[0] !== 4) throw new Error(`a key of ${key.length} bytes`);
        return { endpoint, toJSON: () => ({ endpoint, keys }) } as unknown as PushSubscription;
      };
    }, keys);
    await page.goto('/settings/notifications');
    await expect(page.getByText('Nothing is registered yet')).toBeVisible();
    await page.getByLabel('Name').first().fill('Browser under test');
    await page.getByRole('button', { name: 'Subscribe this browser' }).click();
    await expect(page.getByText('This browser is subscribed as “Browser under test”.')).toBeVisible();
    const row = page.getByRole('listitem').filter({ hasText: 'Browser under test' }).first();
    await expect(row).toContainText('this browser');
    await expect(row).toContainText('nothing delivered yet');

    await page.getByRole('button', { name: 'Send a test to Browser under test' }).click();
    await expect(page.getByTestId('push-test')).toContainText('to Browser under test');
    await expect(page.getByTestId('message-outcome').first()).toBeVisible();
    await page.reload();
    await expect(row).toContainText('this browser');

    await page.getByRole('button', { name: 'Remove Browser under test' }).click();
    await expect(page.getByRole('button', { name: 'Subscribe this browser' })).toBeVisible();
    await expect
      .poll(async () => {
        const { items } = await (await request.get('/api/v1/push/endpoints')).json();
        return items.filter((one: { state: string }) => one.state === 'active').length;
      })
      .toBe(0);
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
  await page.getByText('Register an app').click();
  await page.getByRole('button', { name: 'Register' }).click();
  await expect(page.getByText('Paste the app\'s token.')).toBeVisible();
  // The demo has keys for every service: they are those of its emulator.
  await page.getByLabel('Token').fill('e2e-registration-token');
  await page.getByLabel('Name').last().fill('Kim\'s app');
  await page.getByRole('button', { name: 'Register' }).click();
  const row = page.getByRole('listitem').filter({ hasText: 'Kim\'s app' }).first();
  await expect(row).toContainText('FCM');
  await page.getByRole('button', { name: 'Remove Kim\'s app' }).click();
  await expect(page.getByRole('button', { name: 'Remove Kim\'s app' })).toHaveCount(0);
});

test('a channel for which the server has no keys says so', async ({ page }) => {
  const none = { available: false };
  await page.route('**/api/v1/push/config', (route) => route.fulfill({ json: { webpush: none, apns: none, fcm: none } }));
  await page.goto('/settings/notifications');
  await expect(page.getByText('The server has browser notifications switched off.')).toBeVisible();
  await page.getByText('Register an app').click();
  await expect(page.getByText('The server has no keys for this service.')).toBeVisible();
});

test('the service worker is asked for anew each time', async ({ request }) => {
  const answer = await request.get('/sw.js');
  expect(answer.headers()['cache-control']).toContain('no-cache');
  expect(answer.headers()['content-type']).toContain('javascript');
});
