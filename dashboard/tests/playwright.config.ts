import { defineConfig } from '@playwright/test';

/** The system's Chromium: no browser is downloaded. The flags keep it from talking to anything but the server. */
export const browser = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
};

export default defineConfig({
  testDir: 'e2e',
  // Long enough for a machine that is busy with something else.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  // Each worker has a server of its own, and a test needs nothing of those before it. More would be in each other's way.
  workers: 2,
  forbidOnly: Boolean(process.env.CI),
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    launchOptions: browser,
    viewport: { width: 1280, height: 850 },
    locale: 'en-GB',
    // TRACE=1 films what a test does, which costs a sixth of the time. A failed one leaves a picture and what was on the page.
    trace: process.env.TRACE ? 'on' : 'off',
    screenshot: 'only-on-failure',
  },
});
