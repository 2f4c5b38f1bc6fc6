/** Whoever sees the page is not pushed; whoever has closed it is, over all three providers. */

import type { APIRequestContext } from '@playwright/test';
import { addRule, expect, PASSWORD, removeRules, startFleet, startServer, test } from './server';

interface Message {
  user: string;
  kind: string;
  alert: string;
  state: string;
  reason: string;
  reason_text: string;
  deliveries: { kind: string; state: string }[];
}

/** As the emulator lists what arrived. */
interface Received {
  provider: string;
  target: string;
  payload: unknown;
}

async function messages(request: APIRequestContext, alert: string): Promise<Message[]> {
  return (await (await request.get(`/api/v1/push/messages?alert=${alert}`)).json()).items;
}

test('an alert reaches the phones of a user whose page is closed, and not of one whose page is visible', async ({ browser }) => {
  test.setTimeout(180_000);
  const server = await startServer();
  const script = await browser.newContext({ baseURL: server.url, storageState: { cookies: [], origins: [] } });
  let stopFleet = async () => {};
  try {
    const request = script.request;
    const origin = { headers: { Origin: server.url } };
    expect((await request.post('/api/v1/session', { data: { user: 'admin', password: PASSWORD } })).ok()).toBe(true);
    await removeRules(request, server.url);
    // Three places where admin is reached, all at the emulator.
    const { endpoint, keys } = await (await request.post(`${server.phone}api/subscriptions`, { data: { label: 'Browser of admin' } })).json();
    const places: object[] = [{ kind: 'webpush', url: endpoint, keys, label: 'Browser of admin' }];
    for (const kind of ['apns', 'fcm']) {
      const { token } = await (await request.post(`${server.phone}api/apps`, { data: { kind, label: `${kind} of admin` } })).json();
      places.push({ kind, token, label: kind });
    }
    for (const data of places) expect((await request.post('/api/v1/push/endpoints', { data, ...origin })).status()).toBe(201);
    const arrived = async (title: string) => {
      const { items } = await (await request.get(`${server.phone}api/messages`)).json();
      // The demo's own user on call has phones, too.
      const own = (item: Received) => item.target.endsWith('of admin') && JSON.stringify(item.payload).includes(title);
      return (items as Received[]).filter(own).map((item) => item.provider).sort();
    };
    const fires = async (name: string) => {
      await addRule(request, server.url, { name, threshold: -100, clear: -100, for: '0s', scope: { device: 'freezer-0001' } });
      let alert = '';
      await expect(async () => {
        const { items } = await (await request.get('/api/v1/alerts')).json();
        alert = items.find((item: { rule_name: string }) => item.rule_name === name).id;
      }).toPass({ timeout: 30_000 });
      return alert;
    };

    stopFleet = await startFleet(server, '--devices', '1', '--prefix', 'freezer-', '--fault-after', '600s');
    await expect(async () => {
      const { items } = await (await request.get('/api/v1/devices/freezer-0001/latest')).json();
      expect(items.length).toBeGreaterThan(0);
    }).toPass({ timeout: 30_000 });
    const { cookies } = await script.storageState();
    const watching = await browser.newContext({ baseURL: server.url, storageState: { cookies, origins: [] } });
    const page = await watching.newPage();
    await page.goto('/');
    await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');

    const seen = await fires('Seen on the page');
    await expect(async () => {
      const [message] = await messages(request, seen);
      expect(message).toMatchObject({ user: 'admin', kind: 'firing', state: 'done', reason: 'watching' });
      expect(message?.reason_text).toContain('admin had a visible page');
      expect(message?.deliveries.map((d) => d.state)).toEqual(['withdrawn', 'withdrawn', 'withdrawn']);
    }).toPass({ timeout: 40_000 });
    expect(await arrived('Seen on the page')).toEqual([]);

    await watching.close();
    const told = await fires('Told on the phone');
    await expect(async () => expect(await arrived('Told on the phone')).toEqual(['apns', 'fcm', 'webpush'])).toPass({ timeout: 60_000 });
    await expect(async () => {
      const [message] = await messages(request, told);
      expect(message).toMatchObject({ state: 'done', reason: '' });
      expect(message?.deliveries.map((d) => d.state)).toEqual(['delivered', 'delivered', 'delivered']);
    }).toPass();
  } finally {
    await stopFleet();
    await script.close();
    await server.stop();
  }
});
