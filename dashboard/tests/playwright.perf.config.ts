import { defineConfig } from '@playwright/test';
import base from './playwright.config';

/** `npm run perf` prints what the page costs under load. Nothing in it fails on a clock. */
export default defineConfig({ ...base, testDir: 'perf', timeout: 600_000, use: { ...base.use, viewport: { width: 1440, height: 960 } } });
