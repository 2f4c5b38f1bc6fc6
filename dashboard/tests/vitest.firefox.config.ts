import { defineConfig } from 'vitest/config';

/** A real Firefox: what Chromium cannot do without the internet, and whether the pages work there, too. */
export default defineConfig({
  test: {
    include: ['firefox/**/*.test.ts'],
    environment: 'node',
    // Each file starts a server and a browser of its own.
    fileParallelism: false,
    // Each test goes on where the one before stopped.
    bail: 1,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
