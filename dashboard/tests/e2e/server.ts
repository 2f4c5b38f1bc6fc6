/** Starts `pulsewire demo` on free ports with a data folder of its own, and gives tests a signed-in browser. */

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type APIRequestContext, type BrowserContext, test as base, expect } from '@playwright/test';
import { ended, started } from '../processes';

export const PASSWORD = 'correct horse battery';

export interface Server {
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** Where devices connect. */
  device: string;
  /** For one use. */
  signInLink: string;
  /** The page of the push emulator. */
  phone: string;
  stop(): Promise<void>;
}

/**
 * `DASHBOARD_PAGE=vite`: the page comes from its source instead of the server's binary, which need not be built for it; `built`: as it
 * is built, with its service worker, by Vite alone.
 */
const from = process.env.DASHBOARD_PAGE;
export const fromSource = from === 'vite';

async function servePage(server: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const web = resolve(import.meta.dirname, '../../web');
  // The configuration reads it from here.
  process.env.PULSEWIRE_URL = server;
  const { build, createServer, preview } = await import(join(web, 'node_modules/vite/dist/node/index.js'));
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-e2e-vite-'));
  const common = { root: web, configFile: join(web, 'vite.config.ts'), logLevel: 'error' };
  const listen = { host: '127.0.0.1', port: 0 };
  let vite: { resolvedUrls: { local: string[] }; close: () => Promise<void> };
  if (fromSource) {
    const made = await createServer({ ...common, cacheDir: folder, server: { ...listen, hmr: false } });
    await made.listen();
    vite = made;
  } else {
    const output = { outDir: join(folder, 'dist') };
    await build({ ...common, build: output });
    vite = await preview({ ...common, build: output, preview: listen });
  }
  // A server started later would not know it.
  delete process.env.PULSEWIRE_URL;
  const stop = async () => {
    await vite.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { url: (vite.resolvedUrls.local[0] as string).replace(/\/$/, ''), stop };
}

export const program = process.env.PULSEWIRE_BIN ?? resolve(import.meta.dirname, '../../../target/debug/pulsewire');

/** `config`: what its configuration file says. */
export async function startServer(config = ''): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-e2e-'));
  const file = join(folder, 'pulsewire.toml');
  await writeFile(file, config);
  const listen = ['--http-listen', '127.0.0.1:0', '--device-listen', '127.0.0.1:0'];
  const remove = () => rm(folder, { recursive: true, force: true });
  const args = ['demo', '--config', file, '--data-dir', join(folder, 'data'), ...listen, '--json'];
  const env = { PULSEWIRE_ADMIN_PASSWORD: PASSWORD };
  try {
    const { child, says } = await started<{ http: string; device: string; sign_in_link: string; phone: string }>(program, args, { cwd: folder, env });
    const url = says.http.replace(/\/$/, '');
    const page = from !== undefined ? await servePage(url) : { url, stop: async () => {} };
    const stop = async () => {
      await page.stop();
      await ended(child);
      await remove();
    };
    return { url: page.url, device: says.device, signInLink: says.sign_in_link, phone: says.phone, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A fleet of the simulator beside the one of the demo; the returned function ends it. */
export async function startFleet(server: Server, ...options: string[]): Promise<() => Promise<void>> {
  const simulator = join(dirname(program), 'pulsewire-sim');
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-e2e-fleet-'));
  const connect = ['--connect', server.device, '--api', server.url, '--secret-file', join(folder, 'secrets.json')];
  const child = spawn(simulator, ['fleet', '--quiet', ...connect, ...options], {
    cwd: folder,
    env: { ...process.env, PULSEWIRE_ADMIN_PASSWORD: PASSWORD },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  child.once('error', (error) => console.error(`${simulator}: ${error}`));
  return async () => {
    await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
}

/** Messages in the browser's console that are part of what a test provokes: refused requests, cut connections. */
const EXPECTED = /Failed to load resource|An unknown error occurred when fetching the script|WebSocket connection to .* failed|net::ERR_/;

interface WorkerFixtures {
  server: Server;
  cookies: Awaited<ReturnType<BrowserContext['cookies']>>;
}

export const test = base.extend<{ complaints: string[] }, WorkerFixtures>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures from here
    async ({}, use) => {
      const server = await startServer();
      await use(server);
      await server.stop();
    },
    { scope: 'worker', timeout: 90_000 },
  ],
  cookies: [
    async ({ server, browser }, use) => {
      const context = await browser.newContext({ baseURL: server.url });
      const answer = await context.request.post('/api/v1/session', { data: { user: 'admin', password: PASSWORD } });
      if (!answer.ok()) throw new Error(`sign-in failed with status ${answer.status()}`);
      // A test begins with a fleet: of the demo's fifty simulated devices most are there, and this computer.
      const online = async () => (await (await context.request.get('/api/v1/overview')).json()).devices.online;
      await expect.poll(online).toBeGreaterThan(40);
      await use(await context.cookies());
      await context.close();
    },
    { scope: 'worker' },
  ],
  baseURL: async ({ server }, use) => use(server.url),
  storageState: async ({ cookies }, use) => use({ cookies, origins: [] }),
  /** Errors of the page: every test ends with none. */
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.stack ?? error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' && !EXPECTED.test(message.text())) complaints.push(message.text());
      });
      await use(complaints);
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});

/**
 * How long it may take until a value of each cold room has come, and with it the alert of a rule that all of them break.
 * Simulated devices fail as real ones do: now and then a sensor gives nothing for 45 s, or a device is silent for 30 s, and
 * about 4 % of the time that is so for one of the ten cold rooms.
 */
export const READINGS_MS = 60_000;

/** A rule over the API: critical, on the temperature of cold rooms, unless told otherwise. */
export async function addRule(request: APIRequestContext, url: string, change: Record<string, unknown> = {}): Promise<{ id: string; name: string }> {
  const rule = {
    name: 'Cold room too warm',
    metric: 'temperature',
    comparison: '>',
    threshold: 100,
    severity: 'critical',
    scope: { tag: 'kind:cold-room' },
    ...change,
  };
  const answer = await request.post('/api/v1/rules', { data: rule, headers: { Origin: url } });
  expect(answer.status(), await answer.text()).toBe(201);
  return answer.json();
}

/** The demo has a rule of its own: without it only what a test does raises alerts. */
export async function removeRules(request: APIRequestContext, url: string): Promise<void> {
  const { items } = await (await request.get('/api/v1/rules?limit=500')).json();
  for (const { id } of items) await removeRule(request, url, id);
}

/** Its open alerts resolve, so that the next test begins with none. */
export async function removeRule(request: APIRequestContext, url: string, id: string): Promise<void> {
  await request.delete(`/api/v1/rules/${id}`, { headers: { Origin: url } });
}

export { expect };
