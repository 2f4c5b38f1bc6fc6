import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from './server';

/** Saves the program under the name that the page gives, and runs it with the command that it shows; the returned function ends it. */
async function follow(program: string, file: string, command: string): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-e2e-kit-'));
  await writeFile(join(folder, file), program);
  const child = spawn('sh', ['-c', command], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  return async () => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  };
}

for (const [kit, button] of [
  ['python', 'Python'],
  ['c', 'C'],
] as const) {
  test(`the wizard leads to a first chart with what it shows for ${kit}, by keyboard alone`, async ({ page, request, server }) => {
    const id = `wizard-${kit}`;
    await page.goto('/start');
    await page.getByLabel('Name').focus();
    await page.keyboard.type(`Wizard ${kit}`);
    await expect(page.getByLabel('Device id')).toHaveValue(id);
    await expect(page.getByText('This id is free.').first()).toBeVisible();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('heading', { name: `Connect ${id}` })).toBeFocused();
    await expect(page.getByText('Waiting for the first message')).toBeVisible();
    await page.getByRole('button', { name: button, exact: true }).press('Enter');
    const file = `pulsewire_device.${kit === 'c' ? 'c' : 'py'}`;
    const texts = page.locator('.kits code');
    await expect(texts.nth(1)).toContainText(file);
    const end = await follow((await texts.nth(0).textContent()) ?? '', file, (await texts.nth(1).textContent()) ?? '');
    try {
      await expect(page.getByText(/^Received! \d metrics have values\.$/)).toBeVisible({ timeout: 30_000 });
      await expect(page.locator('figure canvas').first()).toBeVisible();

      // It can be left and gone on with by its address; the secret is gone then.
      await page.reload();
      await expect(page.getByText(/^Received!/)).toBeVisible();
      await page.getByRole('button', { name: 'Next' }).press('Enter');

      await expect(page.getByText(/values in the last hour, from/)).toBeVisible();
      await expect(page.getByText('None of them is beyond the threshold.')).toBeVisible();
      await page.getByRole('button', { name: 'Create the rule' }).press('Enter');
      await expect(page.getByText(/the rule is active\.$/)).toBeVisible();
      await page.getByRole('button', { name: 'Next' }).press('Enter');
      await expect(page.getByRole('heading', { name: 'Be told when nobody is looking' })).toBeVisible();
      await page.getByRole('button', { name: 'Skip' }).press('Enter');
      await expect(page.getByRole('heading', { name: `${id} is watched` })).toBeVisible();
    } finally {
      await end();
      const { items } = await (await request.get('/api/v1/rules?limit=500')).json();
      for (const rule of items) if (rule.name.includes(id)) await request.delete(`/api/v1/rules/${rule.id}`, { headers: { Origin: server.url } });
      await request.delete(`/api/v1/devices/${id}`, { headers: { Origin: server.url } });
    }
  });
}

test('an id is judged while it is typed, and one that exists can be gone on with', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto('/start');
  await page.getByLabel('Device id').fill('not allowed!');
  await expect(page.getByText('Use 1 to 64 characters')).toBeVisible();
  await page.getByLabel('Device id').fill(items[0].id);
  await expect(page.getByText('exists already')).toBeVisible();
  await page.getByRole('link', { name: `Go on with ${items[0].id}` }).click();
  await expect(page.getByText(/^Received!/)).toBeVisible();
});

test('a device that stays silent shows what to look at after half a minute', async ({ page, request, server }) => {
  const made = await request.post('/api/v1/devices', { data: { id: 'silent-1' }, headers: { Origin: server.url } });
  expect(made.status()).toBe(201);
  try {
    await page.goto('/start?device=silent-1&step=connect');
    await expect(page.getByText('The secret was shown once')).toBeVisible();
    await page.getByRole('button', { name: 'Make a new secret' }).click();
    await expect(page.locator('.copy code').nth(1)).toHaveText(/^[0-9a-f]{64}$/);
    await expect(page.getByTestId('checks')).toContainText('The id has to be silent-1', { timeout: 40_000 });
    await expect(page.getByTestId('checks')).toContainText('4003');
    await page.getByRole('button', { name: 'Skip' }).click();
    await expect(page.getByText('nothing to suggest')).toBeVisible();
  } finally {
    await request.delete('/api/v1/devices/silent-1', { headers: { Origin: server.url } });
  }
});

test('the suggestion can be taken along to the editor', async ({ page, request }) => {
  const { items } = await (await request.get('/api/v1/devices?presence=online&limit=1')).json();
  await page.goto(`/start?device=${items[0].id}&step=rule`);
  await expect(page.getByText(/values in the last hour, from/)).toBeVisible();
  const threshold = await page.getByLabel('Threshold').inputValue();
  await page.getByRole('link', { name: 'Open in the editor' }).click();
  await expect(page.getByLabel('Device ids')).toHaveValue(items[0].id);
  await expect(page.getByLabel('Threshold')).toHaveValue(threshold);
});
