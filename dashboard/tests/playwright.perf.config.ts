import { defineConfig } from '@playwright/test';
import base from './playwright.config';

/** `npm run perf` prints what the page costs under load. Nothing in it fails on a clock. A trace takes pictures of what is measured. */
const use = { ...base.use, viewport: { width: 1440, height: 960 }, trace: 'off' } as const;
export default defineConfig({ ...base, testDir: 'perf', timeout: 600_000, workers: 1, use });
