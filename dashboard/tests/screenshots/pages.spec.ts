/** The pictures of the guides: each page in both themes, with an alert that fires and a command that cures it. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { APIRequestContext, Page } from '@playwright/test';
import { addPhone } from '../e2e/emulator';
import { addRule, expect, removeRules, startFleet, startServer, PASSWORD, test } from '../e2e/server';

const root = resolve(import.meta.dirname, '../../..');
/** SCREENSHOTS_DIR: to look at all of them without changing those of the guides. */
const folder = process.env.SCREENSHOTS_DIR ?? join(root, 'docs/images');

/** The guides get the pictures that they refer to, and those that they have. */
const texts = ['README.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
  .map((name) => readFileSync(join(root, name), 'utf8'))
  .join('\n');
/** SCREENSHOTS_ONLY: a few of them, by their names on disk, with commas between. */
const only = process.env.SCREENSHOTS_ONLY?.split(',');
const isWanted = (file: string) => (only?.includes(file.replace('.png', '')) ?? true) && isUsed(file);
const isUsed = (file: string) => process.env.SCREENSHOTS_DIR !== undefined || texts.includes(`images/${file}`) || existsSync(join(folder, file));

async function alertId(request: APIRequestContext): Promise<string> {
  let id = '';
  await expect(async () => {
    const { items } = await (await request.get('/api/v1/alerts')).json();
    id = items[0].id;
  }).toPass({ timeout: 60_000 });
  return id;
}

async function settle(page: Page): Promise<void> {
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  // What is on its way has come, as far as it is in sight.
  await expect(page.getByText(/^(Loading …|Waiting for the first values …)$/)).toHaveCount(0);
  await page.waitForTimeout(3_000);
}

test('pictures', async ({ browser }) => {
  const server = await startServer();
  const stopFleet = await startFleet(server, '--devices', '1', '--prefix', 'freezer-', '--fault-after', '20s');
  try {
    const setup = await browser.newContext({ baseURL: server.url });
    await setup.request.post('/api/v1/session', { data: { user: 'admin', password: PASSWORD } });
    const { cookies } = await setup.storageState();
    const origin = { headers: { Origin: server.url } };
    await removeRules(setup.request, server.url);
    await expect(async () => {
      expect((await setup.request.get('/api/v1/devices/freezer-0001')).status()).toBe(200);
    }).toPass();
    // The simulator calls it as it calls the first of the demo's.
    expect((await setup.request.patch('/api/v1/devices/freezer-0001', { data: { name: 'Freezer' }, ...origin })).status()).toBe(200);
    // Where admin is reached: before anything happens.
    for (const label of ['Firefox on Linux', 'Chrome on Android']) await addPhone(setup.request, server, label);
    const { token } = await (await setup.request.post(`${server.phone}api/apps`, { data: { kind: 'apns', label: 'iPhone' } })).json();
    const iphone = await setup.request.post('/api/v1/push/endpoints', { data: { kind: 'apns', token, label: 'iPhone' }, headers: { Origin: server.url } });
    const own = { preferences: { severities: ['critical'], sound: 'always' } };
    expect((await setup.request.patch(`/api/v1/push/endpoints/${(await iphone.json()).id}`, { data: own, headers: { Origin: server.url } })).status()).toBe(200);
    const rules = [
      { name: 'Freezer too warm', threshold: -12, clear: -15, for: '2s', scope: { device: 'freezer-0001' }, message: 'Close the door, then restart the compressor.' },
      { name: 'Pump runs hot', metric: 'motor_temperature', threshold: 80, severity: 'warning', scope: { group: 'pumps' }, for: '60s', allow_unknown_metric: true },
      { name: 'Damp room', metric: 'humidity', threshold: 95, severity: 'info', scope: { all: true }, for: '300s' },
    ];
    const ids: string[] = [];
    for (const rule of rules) ids.push((await addRule(setup.request, server.url, rule)).id);
    const alert = await alertId(setup.request);
    await setup.request.post(`/api/v1/alerts/${alert}/acknowledge`, { headers: { Origin: server.url } });

    // Two days before they came here: of the freezer, whose door stands open at times, so that a rule can be tried on something,
    // and of two cold rooms, to be compared with the day before.
    const nowMs = Date.now();
    const before = (ofMinute: (minute: number) => number, minutes: number) => {
      const rows = Array.from({ length: minutes }, (_, minute) => {
        return `${new Date(nowMs - (minutes + 10 - minute) * 60_000).toISOString()},${ofMinute(minute).toFixed(2)}`;
      });
      return { data: `time,temperature\n${rows.join('\n')}\n`, headers: { Origin: server.url, 'Content-Type': 'text/csv' } };
    };
    const doors = [190, 530, 960, 1_270];
    const freezer = (minute: number) => -19 + 1.5 * Math.sin(minute / 40) + (doors.some((at) => minute >= at && minute < at + 25) ? 11 : 0);
    /** The compressor saws; the day warms; doors are opened while people work. */
    const room = (base: number, lag: number) => (minute: number) => {
      const hour = ((minute + lag) / 60) % 24;
      const door = Math.max(0, Math.sin((minute + lag) / 23) * Math.sin((minute + lag) / 57)) ** 3;
      const day = 0.7 * Math.sin(((hour - 9) * Math.PI) / 12) + 0.4 * Math.sin(minute / 700);
      return base + ((minute + lag) % 50) * 0.012 + day + (hour > 6 && hour < 18 ? 2.8 * door : 0);
    };
    for (const [id, file] of [
      ['freezer-0001', before(freezer, 1_440)],
      ['sim-0006', before(room(-20.6, 0), 2_880)],
      ['sim-0021', before(room(-18, 420), 2_880)],
    ] as const) {
      expect((await setup.request.post(`/api/v1/import?device=${id}`, file)).status()).toBe(200);
    }
    const later = (hours: number) => new Date(nowMs + hours * 3_600_000).toISOString();
    for (const data of [
      { matchers: ['group=pumps', 'severity!=critical'], for: '4h', reason: 'new bearings are running in' },
      { matchers: ['tag.site=south'], starts: later(14), ends: later(17), reason: 'power is switched off', kind: 'maintenance' },
    ]) {
      expect((await setup.request.post('/api/v1/silences', { data, ...origin })).status()).toBe(201);
    }

    const choices = { severities: ['warning', 'critical'], quiet_hours: { zone: 'Europe/Berlin', windows: ['mon-fri 22:00-06:00', 'sat,sun 22:00-09:00'] }, digest: '30m' };
    expect((await setup.request.put('/api/v1/push/preferences', { data: choices, ...origin })).status()).toBe(200);
    for (const data of [
      { title: 'Coolant is changed in hall 3', body: 'Freezers there may be up to 4 °C warmer until noon. Nothing has to be done.', to: ['role:operator'] },
      { title: 'Maintenance on Sunday', body: 'The server is away from 08:00 to 09:00. Devices keep their samples and send them afterwards.', not_before: later(20) },
    ]) {
      expect((await setup.request.post('/api/v1/push/announcements', { data, ...origin })).status()).toBe(202);
    }

    const pages = {
      overview: '/',
      devices: '/devices',
      device: '/devices/freezer-0001',
      alerts: '/alerts?state=all',
      alert: `/alerts/${alert}`,
      rules: '/rules',
      rule: `/rules/${ids[0]}`,
      silences: '/silences',
      notifications: '/settings/notifications',
      'notifications-choices': '/settings/notifications?tab=told',
      announcements: '/announcements',
      explore: '/explore?device=sim-0006&device=sim-0021&metric=temperature&range=24h&compare=1d',
      map: '/map',
      start: '/start',
      about: '/about',
      users: '/settings/users',
      tokens: '/settings/tokens',
      appearance: '/settings/appearance',
    };
    const sizes = { desk: { width: 1280, height: 850 }, phone: { width: 390, height: 800 } };
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const [size, viewport] of Object.entries(sizes)) {
        const phone = size === 'phone';
        const context = await browser.newContext({
          baseURL: server.url,
          storageState: { cookies, origins: [] },
          locale: 'en-GB',
          colorScheme,
          viewport,
          isMobile: phone,
          hasTouch: phone,
        });
        const page = await context.newPage();
        // The tour has pictures of its own.
        await page.addInitScript(() => localStorage.setItem('pulsewire.guide', 'done'));
        for (const [name, path] of Object.entries(pages)) {
          if (phone && !['overview', 'alerts', 'device'].includes(name)) continue;
          const file = `${phone ? `phone${name === 'overview' ? '' : `-${name}`}` : name}-${colorScheme}.png`;
          if (!isWanted(file)) continue;
          await page.goto(path);
          await settle(page);
          await page.screenshot({ path: join(folder, file) });
        }
        await context.close();
      }
    }
    await setup.close();
  } finally {
    await stopFleet();
    await server.stop();
  }
});
