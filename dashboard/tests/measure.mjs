// Prints what the README states: size of the binary, memory of the demo's server, time from process start, and from opening the
// page of a server that runs, to the first live value on the screen. `npm run measure` after `cargo build --release`; PULSEWIRE_BIN names another binary.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from '@playwright/test';

const RUNS = 5;
const program = process.env.PULSEWIRE_BIN ?? resolve(import.meta.dirname, '../../target/release/pulsewire');
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [...flags, ...quiet] });

const rss = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const line = (name, values, unit) =>
  console.log(`${name.padEnd(44)} ${median(values).toFixed(1)} ${unit} (${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)})`);

/** A value is on the page when a chart shows something other than its placeholder. */
const value = (page) =>
  page.waitForFunction(() =>
    [...document.querySelectorAll('[data-testid="chart-value"]')].some((value) => /\d/.test(value.textContent ?? '')),
  );

async function run() {
  const page = await browser.newPage();
  const folder = await mkdtemp(join(tmpdir(), 'pulsewire-measure-'));
  const started = performance.now();
  const listen = ['--http-listen', '127.0.0.1:0', '--device-listen', '127.0.0.1:0'];
  const child = spawn(program, ['demo', '--json', '--data-dir', join(folder, 'data'), ...listen], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const first = await new Promise((done) => createInterface({ input: child.stdout }).once('line', done));
  const ready = performance.now() - started;
  await page.goto(JSON.parse(first).sign_in_link);
  await value(page);
  const live = performance.now() - started;
  const cookies = await page.context().cookies();
  await new Promise((done) => setTimeout(done, 20_000));
  const memory = rss(child.pid);
  const address = new URL('/', page.url()).href;
  await page.close();
  // In a browser that has never seen it: nothing is in its cache.
  const stranger = await browser.newContext();
  await stranger.addCookies(cookies);
  const other = await stranger.newPage();
  const navigated = performance.now();
  await other.goto(address);
  await value(other);
  const opened = performance.now() - navigated;
  await stranger.close();
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true, force: true });
  return { ready, live, opened, memory };
}

const runs = [];
for (let n = 0; n < RUNS; n++) runs.push(await run());
await browser.close();
console.log(`${cpus().length} cores, ${cpus()[0].model}; median of ${RUNS} runs (lowest–highest)`);
console.log(`${'binary'.padEnd(44)} ${(statSync(program).size / 1e6).toFixed(1)} MB`);
line('demo process, 51 devices and one page open', runs.map((r) => r.memory), 'MiB RSS');
line('process start to both ports open', runs.map((r) => r.ready / 1000), 's');
line('opening the page to first live value', runs.map((r) => r.opened / 1000), 's');
line('process start to first live value on the page', runs.map((r) => r.live / 1000), 's');
