/** What people choose of being told, and what they and admins see of it, from the page to the phone. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { APIRequestContext, Page } from '@playwright/test';
import { addPhone, received } from './emulator';
import { addRule, expect, READINGS_MS, removeRule, removeRules, test } from './server';
import { click, push, registerWorker, shown } from './worker';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe-core puts itself on the window
    const result = await (window as any).axe.run(document);
    return result.violations.map((one: { id: string; nodes: { html: string; failureSummary: string }[] }) => `${one.id}: ${one.nodes.map((node) => `${node.html.slice(0, 200)} ${node.failureSummary}`).join('\n')}`);
  });
}

interface Endpoint {
  id: string;
  label: string;
  opened: number;
  muted: boolean;
  preferences: Record<string, unknown>;
}

async function endpoint(request: APIRequestContext, id: string): Promise<Endpoint> {
  const { items } = await (await request.get('/api/v1/push/endpoints')).json();
  return items.find((one: Endpoint) => one.id === id);
}

/** The alert of a rule, as soon as it fires. */
async function alertOf(request: APIRequestContext, rule: string): Promise<string> {
  let id = '';
  await expect(async () => {
    const { items } = await (await request.get(`/api/v1/alerts?rule=${rule}`)).json();
    id = items[0].id;
  }).toPass({ timeout: READINGS_MS });
  return id;
}

/** Nobody sees a page any more. */
async function lookAway(page: Page): Promise<void> {
  await page.goto('about:blank');
}

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);

test.beforeEach(async ({ request, server }) => removeRules(request, server.url));

test.afterEach(async ({ request, server }) => {
  const origin = { headers: { Origin: server.url } };
  await removeRules(request, server.url);
  await request.put('/api/v1/push/preferences', { data: {}, ...origin });
  const { items } = await (await request.get('/api/v1/push/endpoints')).json();
  for (const { id } of items) await request.delete(`/api/v1/push/endpoints/${id}`, origin);
});

test('quiet hours are set on the page, an alert is held, and the history says until when', async ({ page, request, server }) => {
  await addPhone(request, server, 'Quiet phone');
  await page.goto('/settings/notifications?tab=told');
  await page.getByLabel('Hold messages at certain hours').check();
  // An hour ago to three hours from now, by the clock of UTC.
  const until = Date.now() + 3 * 3_600_000;
  await page.getByLabel('Time zone').fill('UTC');
  await page.getByLabel('From').fill(clock(Date.now() - 3_600_000));
  await page.getByLabel('To', { exact: true }).fill(clock(until));
  await expect(page.getByText('Your changes are not saved yet.')).toBeVisible();
  // What is not saved outlasts a look elsewhere.
  await page.getByRole('navigation').getByRole('link', { name: 'Rules' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Rules');
  await page.goBack();
  await expect(page.getByLabel('Time zone')).toHaveValue('UTC');
  await page.getByRole('button', { name: 'Save' }).last().click();
  await expect(page.getByText('Your changes are not saved yet.')).toHaveCount(0);
  expect(await (await request.get('/api/v1/push/preferences')).json()).toMatchObject({
    quiet_hours: { zone: 'UTC', critical_passes: true },
  });

  await lookAway(page);
  const rule = await addRule(request, server.url, { name: 'Held back', severity: 'warning', threshold: -100, clear: -100, for: '0s' });
  const alert = await alertOf(request, rule.id);
  await expect(async () => {
    const { items } = await (await request.get(`/api/v1/push/messages?alert=${alert}`)).json();
    expect(items[0].deliveries[0]).toMatchObject({ state: 'queued', held: 'quiet_hours' });
  }).toPass({ timeout: 60_000 });
  expect((await received(request, server, 'Quiet phone')).filter((one) => JSON.stringify(one.payload).includes('Held back'))).toEqual([]);

  await page.goto('/settings/notifications?tab=history');
  const row = page.getByRole('listitem').filter({ hasText: 'Held back' }).first();
  const local = new Date(Date.parse(`${new Date(until).toISOString().slice(0, 16)}Z`));
  const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }).format(local);
  await expect(row.getByTestId('message-outcome')).toHaveText(new RegExp(`^Held until .*${hour}.*: your quiet hours$`));
  await row.getByText('Held back').click();
  await expect(row).toContainText('Quiet phone (Browser) · Waits');
  expect(await violations(page)).toEqual([]);
});

test('a severity that is refused by the server is told at its field, and undo brings back what was', async ({ page }) => {
  await page.goto('/settings/notifications?tab=told');
  for (const severity of ['Critical', 'Warning', 'Info']) await page.getByRole('checkbox', { name: severity }).uncheck();
  await page.getByRole('button', { name: 'Save' }).last().click();
  await expect(page.getByText('Choose at least one.')).toBeVisible();
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.getByRole('checkbox', { name: 'Critical' })).toBeChecked();
  await page.getByLabel('Hold messages at certain hours').check();
  await page.getByLabel('Time zone').fill('Europe/Atlantis');
  await page.getByRole('button', { name: 'Save' }).last().click();
  await expect(page.getByLabel('Time zone')).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByText('Europe/Atlantis')).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.getByText('Your changes are not saved yet.')).toHaveCount(0);
});

test('buttons of a notification acknowledge its alert without a page, and what was shown and opened is counted', async ({ page, context, request, server }) => {
  test.setTimeout(180_000);
  await context.grantPermissions(['notifications'], { origin: server.url });
  const id = await addPhone(request, server, 'Phone with buttons');
  const rule = await addRule(request, server.url, { name: 'Needs a hand', threshold: -100, clear: -100, for: '0s' });
  const alert = await alertOf(request, rule.id);
  let payload: Record<string, unknown> = {};
  await expect(async () => {
    const found = (await received(request, server, 'Phone with buttons')).find((one) => one.kind === 'firing');
    expect(found?.payload.token).toMatch(/^[\w-]{75}$/);
    payload = found?.payload ?? {};
  }).toPass({ timeout: 60_000 });
  expect(payload).toMatchObject({ actions: ['acknowledge', 'silence'], lang: 'en', ring: true, stay: true });

  await registerWorker(page);
  const tag = String(payload.tag);
  await push(page, JSON.stringify(payload), (list) => expect(list.map((one) => one.title)).toEqual([payload.title]));
  await click(page, tag, 'acknowledge');
  await expect(async () => {
    const found = await (await request.get(`/api/v1/alerts/${alert}`)).json();
    expect(found.acknowledged).toMatchObject({ user: 'admin' });
  }).toPass();
  // In its place stands what came of it, quietly; the page was not led away.
  await expect(async () => expect(await shown(page)).toMatchObject([{ tag, icon: '/icons/resolved.png', requireInteraction: false }])).toPass();
  expect((await shown(page))[0]?.body).toMatch(/acknowledged/);
  await expect(page).toHaveURL(/settings/);

  // The same message once more, and a click on it.
  await push(page, JSON.stringify(payload), (list) => expect(list[0]?.body).toBe(payload.body));
  await click(page, tag);
  await expect(page).toHaveURL(/\/alerts/);
  await expect(async () => expect((await endpoint(request, id)).opened).toBe(1)).toPass();
  await page.goto('/settings/notifications');
  await expect(page.getByRole('listitem').filter({ hasText: 'Phone with buttons' }).first()).toContainText('opened 1');
  const row = page.getByRole('listitem').filter({ hasText: 'fired' }).first();
  await row.locator('summary').click();
  for (const step of ['Taken by the service', 'Shown on the device', 'Acknowledged with the notification', 'Opened']) await expect(row).toContainText(step);

  // A token that means nothing is told in words.
  await push(page, JSON.stringify({ ...payload, id: 'X', tag: 'other', token: 'A'.repeat(75) }), (list) => expect(list.map((one) => one.tag)).toContain('other'));
  await click(page, 'other', 'silence');
  await expect(async () => expect((await shown(page)).find((one) => one.tag === 'other')?.body).toContain('can no longer be done from here')).toPass();
});

test('a place that is muted gets nothing, and one with severities of its own says so', async ({ page, request, server }) => {
  test.setTimeout(180_000);
  const muted = await addPhone(request, server, 'Muted phone');
  const choosy = await addPhone(request, server, 'Choosy phone');
  await page.goto('/settings/notifications');
  await page.getByRole('switch', { name: 'Send to Muted phone' }).uncheck();
  await expect(async () => expect(await endpoint(request, muted)).toMatchObject({ muted: true })).toPass();
  await page.getByRole('button', { name: 'Settings of Choosy phone' }).click();
  const form = page.getByRole('form', { name: 'Settings of Choosy phone' });
  await form.getByRole('button', { name: 'Change here: Severities' }).click();
  await form.getByRole('checkbox', { name: 'Critical' }).uncheck();
  await expect(form.getByText('Not saved yet')).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Has its own: Severities')).toBeVisible();
  expect((await endpoint(request, choosy)).preferences).toEqual({ severities: ['info', 'warning'] });
  await page.reload();
  await expect(page.getByRole('switch', { name: 'Send to Muted phone' })).not.toBeChecked();

  await lookAway(page);
  const rule = await addRule(request, server.url, { name: 'Nobody hears it', threshold: -100, clear: -100, for: '0s' });
  const alert = await alertOf(request, rule.id);
  await expect(async () => {
    const { items } = await (await request.get(`/api/v1/push/messages?alert=${alert}`)).json();
    expect(items[0]).toMatchObject({ state: 'done' });
  }).toPass({ timeout: 60_000 });
  await page.goto('/settings/notifications?tab=history');
  const row = page.getByRole('listitem').filter({ hasText: 'Nobody hears it' }).first();
  await row.getByText('Nobody hears it').click();
  await expect(row.getByTestId('message-outcome')).toContainText('Not pushed');
  await expect(row).toContainText(/muted/);
  await expect(row).toContainText(/severity/);

  // As everywhere again.
  await page.goto('/settings/notifications');
  await page.getByRole('button', { name: 'Settings of Choosy phone' }).click();
  await form.getByRole('button', { name: 'As everywhere: Severities' }).click();
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Has its own')).toHaveCount(0);
  expect((await endpoint(request, choosy)).preferences).toEqual({});
});

test('what was not pushed because someone was looking says so', async ({ page, request, server }) => {
  await addPhone(request, server, 'Phone in the pocket');
  await page.goto('/settings/notifications?tab=history');
  await expect(page.getByTestId('connection')).toHaveAttribute('data-phase', 'live');
  const rule = await addRule(request, server.url, { name: 'Seen at once', threshold: -100, clear: -100, for: '0s' });
  await alertOf(request, rule.id);
  const row = page.getByRole('listitem').filter({ hasText: 'Seen at once' }).first();
  await expect(row.getByTestId('message-outcome')).toHaveText('Not pushed, because you were looking', { timeout: 60_000 });
  await page.getByLabel('Outcome').selectOption({ label: 'Not pushed: you were looking' });
  await expect(row).toBeVisible();
  await page.getByLabel('Kind').selectOption({ label: 'digest' });
  await expect(page.getByText('No message is like that.')).toBeVisible();
  await expect(page).toHaveURL(/outcome=watching/);
  await removeRule(request, server.url, rule.id);
});

test('a mailbox is told nothing before its code is entered, and is tested then', async ({ page, request, server }) => {
  const { mailbox } = await (await request.post(`${server.phone}api/mailboxes`, { data: { label: 'Mailbox of admin' } })).json();
  await page.goto('/settings/notifications');
  await page.getByText('Add a place').click();
  await page.getByRole('button', { name: 'E-mail' }).click();
  await page.getByLabel('Mailbox').fill('no mailbox');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByLabel('Mailbox')).toHaveAttribute('aria-invalid', 'true');
  await page.getByLabel('Mailbox').fill(mailbox);
  await page.getByLabel('Name').last().fill('My mailbox');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  const row = page.getByRole('listitem').filter({ hasText: 'My mailbox' }).first();
  await expect(row).toContainText('Not confirmed');
  await expect(row.getByRole('button', { name: 'Send a test' })).toHaveCount(0);
  let code = '';
  await expect(async () => {
    const [mail] = await received(request, server, 'Mailbox of admin');
    code = /\b\d{6}\b/.exec(`${mail?.payload.title} ${mail?.payload.body}`)?.[0] ?? '';
    expect(code).not.toBe('');
  }).toPass({ timeout: 30_000 });
  await row.getByRole('textbox').fill(code === '000000' ? '000001' : '000000');
  await row.getByRole('button', { name: 'Confirm' }).click();
  await expect(row.getByRole('alert')).toContainText('not the code');
  expect(await violations(page)).toEqual([]);
  await row.getByRole('textbox').fill(code);
  await row.getByRole('button', { name: 'Confirm' }).click();
  await expect(row).not.toContainText('Not confirmed');
  await row.getByRole('button', { name: 'Send a test to My mailbox' }).click();
  await expect(row.getByTestId('push-test')).toContainText('Delivered', { timeout: 30_000 });
  expect((await received(request, server, 'Mailbox of admin')).map((one) => one.kind)).toContain('test');
});

test('a webhook shows its secret once, with how to check what comes', async ({ page }) => {
  await page.goto('/settings/notifications');
  await page.getByText('Add a place').click();
  await page.getByRole('button', { name: 'Webhook' }).click();
  await page.getByLabel('Address').fill('https://example.org/hooks/pulsewire');
  await page.getByLabel('Name').last().fill('On-call tool');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('whsec_');
  await expect(dialog).toContainText('webhook-signature');
  expect(await violations(page)).toEqual([]);
  // It is not closed by accident.
  await page.keyboard.press('Escape');
  await expect(dialog).toBeVisible();
  await dialog.getByRole('button', { name: 'I have kept it' }).click();
  await expect(dialog).toHaveCount(0);
  const row = page.getByRole('listitem').filter({ hasText: 'On-call tool' }).first();
  await expect(row).toContainText('Webhook');
  await expect(page.locator('main')).not.toContainText('whsec_');
});

test('an announcement from the form reaches the phone, and its progress is shown', async ({ page, request, server }) => {
  await addPhone(request, server, 'Phone of admin');
  await page.goto('/announcements');
  await expect(page.getByText('Nothing has been announced.')).toBeVisible();
  await page.getByRole('link', { name: 'New announcement' }).click();
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByLabel('Title')).toBeFocused();
  await page.getByLabel('Title').fill('Maintenance on Sunday');
  await page.getByLabel('Text').fill('The server is away from 08:00 to 09:00.');
  await page.getByLabel('Link to a page here').fill('/silences');
  await page.getByRole('button', { name: 'Users', exact: true }).click();
  await page.getByRole('textbox', { name: 'Users' }).fill('admin, nobody-such');
  await expect(page.getByText('There is no user nobody-such.')).toBeVisible();
  await page.getByRole('textbox', { name: 'Users' }).fill('admin');
  await expect(page.getByTestId('announce-reach')).toHaveText('Goes to 1 person.');
  await expect(page.getByRole('figure')).toContainText('Maintenance on Sunday');
  expect(await violations(page)).toEqual([]);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Send' }).click();

  const row = page.getByRole('list', { name: 'Announcements' }).getByRole('listitem').first();
  await expect(row).toContainText('Maintenance on Sunday');
  await expect(row).toHaveAttribute('data-state', 'done', { timeout: 60_000 });
  await expect(row.getByTestId('announce-progress')).toHaveText('1 of 1 delivered');
  await expect(async () => {
    const [message] = (await received(request, server, 'Phone of admin')).filter((one) => one.kind === 'announcement');
    expect(message?.payload).toMatchObject({ title: 'Maintenance on Sunday', body: 'The server is away from 08:00 to 09:00.', url: '/silences', actions: [] });
  }).toPass();
  expect(await violations(page)).toEqual([]);
});

test('an announcement reaches those who are told of a device group', async ({ page, request, server }) => {
  await addPhone(request, server, 'Phone of admin');
  const origin = { headers: { Origin: server.url } };
  expect((await request.put('/api/v1/push/preferences', { data: { groups: ['pumps'] }, ...origin })).status()).toBe(200);
  for (const [group, arrives] of [['cold-rooms', false], ['pumps', true]] as const) {
    await page.goto('/announcements?new=1');
    await page.getByLabel('Title').fill(`To ${group}`);
    await page.getByRole('button', { name: 'Device group' }).click();
    await page.getByRole('combobox', { name: 'Device group' }).fill(group);
    await expect(page.getByTestId('announce-reach')).toHaveText(`Goes to everyone who gets the alerts of ${group}.`);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Send' }).click();
    const row = page.getByRole('list', { name: 'Announcements' }).getByRole('listitem').filter({ hasText: `To ${group}` }).first();
    await expect(row).toContainText(`people who get the alerts of ${group}`);
    await expect(row).toHaveAttribute('data-state', 'done', { timeout: 60_000 });
    const titles = (await received(request, server, 'Phone of admin')).map((one) => one.payload.title);
    expect(titles.includes(`To ${group}`)).toBe(arrives);
  }
});

test('a planned announcement waits and is canceled', async ({ page }) => {
  await page.goto('/announcements?new=1');
  await page.getByLabel('Title').fill('Not yet');
  const tomorrow = new Date(Date.now() + 86_400_000);
  await page.getByLabel('Not before').fill(`${tomorrow.toISOString().slice(0, 10)}T09:00`);
  await page.getByRole('button', { name: 'Plan' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Plan' }).click();
  const row = page.getByRole('list', { name: 'Announcements' }).getByRole('listitem').filter({ hasText: 'Not yet' }).first();
  await expect(row).toContainText('Planned');
  await row.getByRole('button', { name: 'Cancel: Not yet' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel it' }).click();
  await expect(row).toContainText('Canceled');
  await expect(row.getByRole('button')).toHaveCount(0);
});

test('an administrator sees how the services do', async ({ page, request, server }) => {
  const id = await addPhone(request, server, 'Phone for a test');
  expect((await request.post(`/api/v1/push/endpoints/${id}/test`, { headers: { Origin: server.url } })).status()).toBe(202);
  await page.goto('/settings/notifications?tab=providers');
  const list = page.getByRole('list', { name: 'Services that carry the messages' });
  await expect(list.getByText('Works').first()).toBeVisible();
  await expect(list).toContainText('Delivered');
});

test('all of it can be done with the keyboard alone', async ({ page, request }) => {
  await page.goto('/settings/notifications');
  const tabTo = async (name: string) => {
    for (let steps = 0; steps < 60; steps += 1) {
      await page.keyboard.press('Tab');
      const found = await page.evaluate(() => {
        const element = document.activeElement as HTMLElement | null;
        return element?.getAttribute('aria-label') ?? (element as HTMLInputElement | null)?.labels?.[0]?.textContent?.trim() ?? element?.textContent?.trim();
      });
      if (found === name) return;
    }
    throw new Error(`${name} is not reached with the Tab key`);
  };
  await tabTo('What and when');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('checkbox', { name: 'Info' })).toBeVisible();
  await tabTo('Info');
  await page.keyboard.press('Space');
  await tabTo('Also tell me when an alert is over');
  await page.keyboard.press('Space');
  await tabTo('Undo');
  await tabTo('Save');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Saved. It holds from now on')).toBeVisible();
  expect(await (await request.get('/api/v1/push/preferences')).json()).toMatchObject({ severities: ['warning', 'critical'], resolved: false });
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: 'dark' });

  test('places, choices and announcements fit, and what an administrator needs is in the menu', async ({ page, request, server }) => {
    await addPhone(request, server, 'A phone with a rather long name, as people give them');
    await page.goto('/settings/notifications');
    await page.getByRole('button', { name: 'Settings of A phone' }).tap();
    await page.getByText('Add a place').tap();
    const fits = async (what: string) => {
      const wide = await page.evaluate(() => (document.querySelector('.content') as HTMLElement).scrollWidth - innerWidth);
      expect(wide, what).toBeLessThanOrEqual(0);
      expect(await violations(page), what).toEqual([]);
    };
    await expect(page.getByRole('button', { name: 'Change here: Quiet hours' })).toBeVisible();
    await page.getByRole('button', { name: 'Change here: Quiet hours' }).tap();
    await page.getByLabel('Hold messages at certain hours').tap();
    await fits('places');
    await page.goto('/settings/notifications?tab=told');
    await page.getByRole('button', { name: 'Only some groups' }).tap();
    await page.getByLabel('Hold messages at certain hours').tap();
    await fits('what and when');
    await page.getByRole('button', { name: 'Undo' }).tap();
    await page.getByRole('button', { name: 'More' }).tap();
    await page.getByRole('link', { name: 'Announcements' }).tap();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Announcements');
    await page.getByRole('link', { name: 'New announcement' }).tap();
    await fits('announcement');
  });
});
