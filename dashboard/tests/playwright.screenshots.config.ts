import { defineConfig } from '@playwright/test';
import base from './playwright.config';

/** `npm run screenshots` writes the pictures of the guides to docs/images. */
export default defineConfig({ ...base, testDir: 'screenshots', timeout: 420_000 });
