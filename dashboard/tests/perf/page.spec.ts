import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type APIRequestContext, expect, test } from '@playwright/test';
import { ended, started } from '../processes';
import { measured, told } from './measured';
import { servePage } from './page/serve';

const PASSWORD = 'correct horse battery';
const program = process.env.PULSEWIRE_BIN ?? resolve(import.meta.dirname, '../../../target/release/pulsewire');
const SECONDS = Number(process.env.PERF_SECONDS ?? 60);
const DEVICES = Number(process.env.PERF_DEVICES ?? 100_000);
const FLEET = 1_000;

interface Running {
  url: string;
  folder: string;
  stop(): Promise<void>;
}

/** Devices that were made long ago and are silent. Straight into the store: over HTTP each would be a commit of its own. */
const FILL = `
import json, sqlite3, sys
first, end = int(sys.argv[2]), int(sys.argv[3])
store = sqlite3.connect(sys.argv[1])
store.executemany(
    "INSERT INTO device (id, name, tags, grp, enabled, created_us, last_seen_us, stored_key, server_key) VALUES (?, ?, ?, ?, 1, 5, 0, zeroblob(32), zeroblob(32))",
    ((f"meter-{n:06d}", f"Meter {n}", json.dumps({"site": f"s{n % 12}"}), f"hall-{n % 40}") for n in range(first, end)))
store.commit()
`;

/** A server, and a thousand devices that send about ten thousand values per second. */
async function serve(): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-perf-'));
  const config = join(folder, 'pulsewire.toml');
  await writeFile(config, '[live]\nseries_max = 100000\n');
  const listen = ['--http-listen', '127.0.0.1:0', '--device-listen', '127.0.0.1:0'];
  const env = { PULSEWIRE_ADMIN_PASSWORD: PASSWORD };
  const data = join(folder, 'data');
  const start = () => started<{ http: string; device: string }>(program, ['serve', '--config', config, '--data-dir', data, ...listen, '--json'], { cwd: folder, env });
  // Makes the store.
  await ended((await start()).child);
  await promisify(execFile)('python3', ['-c', FILL, join(data, 'meta.db'), String(FLEET), String(DEVICES)]);
  const { child, says } = await start();
  const url = says.http.startsWith('http') ? says.http.replace(/\/$/, '') : `http://${says.http}`;
  const simulator = join(dirname(program), 'pulsewire-sim');
  const fleet = spawn(simulator, ['fleet', '--quiet', '--connect', says.device.replace(/^\w+:\/\//, ''), '--api', url, '--secret-file', join(folder, 'secrets.json'), '--devices', String(FLEET), '--interval', '600ms'], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return {
    url,
    folder,
    stop: async () => {
      await ended(fleet);
      await ended(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function signIn(request: APIRequestContext, url: string): Promise<void> {
  const answer = await request.post(`${url}/api/v1/session`, { data: { user: 'admin', password: PASSWORD } });
  expect(answer.ok(), await answer.text()).toBe(true);
}

let running: Running;
test.beforeAll(async () => {
  test.setTimeout(120_000);
  running = await serve();
});
test.afterAll(() => running?.stop());

test('six charts and a table of a thousand devices stay smooth at ten thousand values per second', async ({ page }) => {
  const load = await servePage(running.url);
  try {
    await signIn(page.request, load.url.replace(/\/$/, ''));
    await page.goto(load.url);
    const state = () => page.evaluate(() => (globalThis as unknown as { load(): Record<string, number> }).load());
    await expect(async () => expect((await state()).rows).toBe(FLEET)).toPass({ timeout: 120_000 });
    await expect(page.locator('figure canvas')).toHaveCount(6);
    // The charts fill: a minute of lines is what drawing costs.
    await page.waitForTimeout(Math.min(60, SECONDS) * 1_000);
    const before = await state();
    const cost = await measured(page, SECONDS);
    const after = await state();
    const per = (name: string) => ((after[name] ?? 0) - (before[name] ?? 0)) / cost.seconds;
    console.log(`${cpus().length} cores, ${cpus()[0]?.model}, headless Chromium without a GPU; server, simulator and browser share them`);
    console.log(told(`${Math.round(per('samples'))} values/s in ${per('frames').toFixed(0)} frames/s, 6 charts, ${FLEET} rows, ${cost.seconds.toFixed(0)} s`, cost));
    await page.screenshot({ path: join(running.folder, 'load.png') });
    if (process.env.PERF_SCREENSHOTS) await page.screenshot({ path: join(process.env.PERF_SCREENSHOTS, 'load.png') });
    expect(after.samples).toBeGreaterThan(before.samples ?? 0);
    expect(after.gaps, 'samples that the page missed').toBe(0);
    expect(after.unreadable).toBe(0);
  } finally {
    await load.stop();
  }
});

test('the list of a hundred thousand devices scrolls smoothly', async ({ page }) => {
  await signIn(page.request, running.url);
  await page.goto(`${running.url}/devices`);
  const scroller = page.locator('.scroller').first();
  await expect(page.getByRole('row').nth(5)).toBeVisible({ timeout: 30_000 });
  const box = await scroller.boundingBox();
  if (box === null) throw new Error('the table is not there');
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  let scrolling = true;
  const scroll = (async () => {
    while (scrolling) {
      await page.mouse.wheel(0, 400);
      await page.waitForTimeout(30);
    }
  })();
  const cost = await measured(page, Math.min(20, SECONDS));
  scrolling = false;
  await scroll;
  console.log(told(`${DEVICES} devices, scrolled by the wheel`, cost));
  // To the middle and the end at once, as by dragging the bar.
  for (const share of [0.5, 1]) {
    const from = Date.now();
    await scroller.evaluate((element, to) => {
      element.scrollTop = to * element.scrollHeight;
    }, share);
    await expect(page.getByRole('row').filter({ has: page.getByRole('link') }).last()).toBeVisible({ timeout: 30_000 });
    console.log(`${DEVICES} devices, jumped to ${share * 100} %: a row with its name after ${Date.now() - from} ms`);
  }
  if (process.env.PERF_SCREENSHOTS) await page.screenshot({ path: join(process.env.PERF_SCREENSHOTS, 'devices.png') });
});
