import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { APIRequestContext, Page } from '@playwright/test';
import { ended } from '../processes';
import { expect, program, type Server, test } from './server';

async function addDevice(request: APIRequestContext, server: Server, device: Record<string, unknown>): Promise<string> {
  const answer = await request.post('/api/v1/devices', { data: device, headers: { Origin: server.url } });
  expect(answer.status(), await answer.text()).toBe(201);
  return (await answer.json()).secret;
}

/** Values that were measured before, so that they need no device. */
async function importValues(request: APIRequestContext, server: Server, device: string, values: Record<string, string>): Promise<void> {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const data = `${['time', ...Object.keys(values)].map(quoted).join(',')}\n${[new Date().toISOString(), ...Object.values(values)].map(quoted).join(',')}\n`;
  const answer = await request.post(`/api/v1/import?device=${device}`, { data, headers: { Origin: server.url, 'Content-Type': 'text/csv' } });
  expect(answer.status(), await answer.text()).toBe(200);
}

test('a device without data says what to do, and each program it shows makes the device report', async ({ page, request, server }) => {
  test.setTimeout(180_000);
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-e2e-kits-'));
  await symlink(join(dirname(program), 'pulsewire-sim'), join(folder, 'pulsewire-sim'));
  let running: ChildProcess | undefined;
  try {
    for (const [kit, label] of [['python', 'Python'], ['c', 'C'], ['simulator', 'Simulator'], ['bytes', 'Raw bytes']] as const) {
      const id = `kit-${kit}`;
      await addDevice(request, server, { id });
      await page.goto(`/devices/${id}`);
      await expect(page.getByText('This device has not sent any values yet.')).toBeVisible();
      await page.getByRole('group', { name: 'Kit' }).getByRole('button', { name: label, exact: true }).click();
      if (kit === 'bytes') {
        await page.getByRole('button', { name: 'Make a token' }).click();
      } else {
        await page.getByRole('button', { name: 'Replace secret' }).click();
        const dialog = page.getByRole('dialog');
        await dialog.getByRole('button', { name: 'Replace secret' }).click();
        await dialog.getByRole('button', { name: 'I have stored it' }).click();
      }
      const blocks = page.locator('.kits code');
      await expect(blocks.last()).not.toContainText('PASTE');
      const texts = await blocks.allTextContents();
      if (kit !== 'simulator') {
        const file = { python: 'pulsewire_device.py', c: 'pulsewire_device.c', bytes: 'pulsewire_bytes.sh' }[kit];
        await writeFile(join(folder, file), texts[0] as string);
      }
      const child = spawn('bash', ['-c', `set -m; ${texts.at(-1)}`], { cwd: folder, env: { ...process.env, PATH: `${folder}:${process.env.PATH}` }, detached: true });
      running = child;
      let said = '';
      child.stdout.on('data', (data) => (said += data));
      child.stderr.on('data', (data) => (said += data));
      await expect(page.locator('figure canvas').first(), said).toBeVisible({ timeout: 40_000 });
      await expect(page.getByTestId('latest-value').first()).not.toHaveText('–');
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid);
      running = undefined;
    }
  } finally {
    if (running !== undefined) await ended(running);
    await rm(folder, { recursive: true, force: true });
  }
});

test('of 500 metrics a dozen is drawn, any is found, and the choice is kept in the address', async ({ page, request, server }) => {
  await addDevice(request, server, { id: 'many', name: 'Many metrics' });
  const values = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`channel.${String(index).padStart(3, '0')}`, String(index / 2)]));
  await importValues(request, server, 'many', values);
  await page.goto('/devices/many');
  await expect(page.getByText('500 of 500 metrics')).toBeVisible();
  await expect(page.locator('figure')).toHaveCount(12);
  const table = page.getByRole('table', { name: 'Latest values' });
  expect(await table.getByRole('row').count()).toBeLessThan(60);

  await page.getByRole('button', { name: 'Choose charts' }).click();
  await expect(page.getByRole('searchbox', { name: 'Filter metrics' })).toBeFocused();
  await page.keyboard.type('channel.49');
  await expect(page.getByText('10 of 500 metrics')).toBeVisible();
  await page.getByRole('button', { name: 'Chart these' }).click();
  await expect(page.locator('figure')).toHaveCount(10);
  await table.getByRole('checkbox', { name: 'Chart of channel.499' }).uncheck();
  await expect(page.locator('figure')).toHaveCount(9);
  await expect(page).toHaveURL(/find=channel\.49/);
  await page.reload();
  await expect(page.locator('figure')).toHaveCount(9);
  await expect(page.getByRole('searchbox', { name: 'Filter metrics' })).toHaveValue('channel.49');
  await page.getByRole('button', { name: 'Usual charts' }).click();
  await expect(page.locator('figure')).toHaveCount(12);
});

test('name, group and tags are edited where they stand', async ({ page, request, server }) => {
  await addDevice(request, server, { id: 'edited', tags: { site: 'north' } });
  await page.goto('/devices/edited');
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  await expect(page.getByRole('textbox', { name: 'Name' })).toBeFocused();
  await page.getByRole('textbox', { name: 'Name' }).fill('Pumpe im Süden');
  await page.getByRole('textbox', { name: 'Group' }).fill('pumps');
  await page.getByRole('textbox', { name: 'Value of tag 1' }).fill('south');
  await page.getByRole('button', { name: 'Add a tag' }).click();
  await page.getByRole('textbox', { name: 'Key of tag 2' }).fill('floor');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('“floor” needs a key and a value.')).toBeVisible();
  await page.getByRole('textbox', { name: 'Value of tag 2' }).fill('2');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pumpe im Süden');
  await expect(page.getByRole('link', { name: 'floor=2' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'site=south' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Edit', exact: true })).toBeFocused();
  await page.keyboard.press('Enter');
  await page.keyboard.type('never mind');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pumpe im Süden');
  const stored = await (await request.get('/api/v1/devices/edited')).json();
  expect(stored).toMatchObject({ name: 'Pumpe im Süden', group: 'pumps', tags: { site: 'south', floor: '2' } });
});

async function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

test('names with markup and in any script are text, and fit on a phone', async ({ page, request, server }) => {
  const name = '<img src=x onerror=alert(1)> حساس الحرارة 温度センサー averylongnamewithoutanyspace';
  await addDevice(request, server, { id: 'odd', name, tags: { kind: '<script>alert(1)</script>', long: 'a'.repeat(60) } });
  await importValues(request, server, 'odd', { '<b>bold</b> درجة': '21.5', note: '<img src=x onerror=alert(2)> نص', ['m'.repeat(120)]: '1' });
  page.on('dialog', () => expect(true, 'nothing of a name is run').toBe(false));
  for (const width of [390, 1440]) {
    await page.setViewportSize({ width, height: 800 });
    await page.goto('/devices/odd');
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
    await expect(page.getByRole('table', { name: 'Latest values' })).toContainText('<b>bold</b> درجة');
    await expect(page.locator('main img, main .truncate b, main h1 *')).toHaveCount(0);
    expect(await overflow(page)).toBe(0);
  }
});

test('events of a device stand in one list, and can be told apart', async ({ page, request, server }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  const device = items[0].id;
  const answer = await request.post(`/api/v1/devices/${device}/commands`, { data: { name: 'no_such_command', arguments: {} }, headers: { Origin: server.url } });
  await page.goto(`/devices/${device}`);
  const events = page.getByRole('list', { name: 'Events' });
  if (answer.ok()) await expect(events.getByText('no_such_command')).toBeVisible();
  await page.getByRole('button', { name: 'Presence', exact: true }).click();
  await expect(events.getByText('no_such_command')).toHaveCount(0);
});

test('the accounting adds up and says in words whether anything is lost', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  await expect(page.getByTestId('verdict')).toContainText('Nothing is lost');
  await expect(page.getByTestId('accounting-stored')).not.toHaveText('0');
  const count = async (name: string) => Number((await page.getByTestId(`accounting-${name}`).textContent())?.replaceAll(',', ''));
  await expect(async () => {
    expect(await count('received')).toBe((await count('stored')) + (await count('duplicate')) + (await count('rejected')) + (await count('dropped')));
  }).toPass();
});

test('values that are no longer live are grey and say their age', async ({ page, context, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/devices/${items[0].id}`);
  const value = page.getByTestId('latest-value').first();
  await expect(value).toBeVisible();
  await expect(value).not.toHaveClass(/old/);
  await context.setOffline(true);
  await expect(value).toHaveClass(/old/, { timeout: 15_000 });
  await context.setOffline(false);
  await expect(value).not.toHaveClass(/old/, { timeout: 30_000 });
});
