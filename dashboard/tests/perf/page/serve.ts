/** Builds the page of the measurement from the product's own modules and serves it, with the API passed to a server. */

import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const web = resolve(import.meta.dirname, '../../../web');
const requireOfWeb = createRequire(join(web, 'package.json'));

interface Resolver {
  resolve(id: string, importer: string, options: { skipSelf: boolean }): unknown;
}

export async function servePage(server: string): Promise<{ url: string; stop(): Promise<void> }> {
  // Vite and Svelte are the page's packages, not the tests'.
  const { build, preview } = await import(pathToFileURL(join(web, 'node_modules/vite/dist/node/index.js')).href);
  const { svelte } = await import(pathToFileURL(requireOfWeb.resolve('@sveltejs/vite-plugin-svelte')).href);
  const svelteOfWeb = {
    name: 'svelte-of-web',
    enforce: 'pre',
    resolveId(this: Resolver, id: string) {
      return /^svelte(?=$|\/)/.test(id) ? this.resolve(id, join(web, 'src/main.ts'), { skipSelf: true }) : null;
    },
  };
  const outDir = await mkdtemp(join(tmpdir(), 'pulsewire-perf-page-'));
  const config = {
    configFile: false,
    root: import.meta.dirname,
    logLevel: 'error',
    publicDir: join(web, 'public'),
    plugins: [svelteOfWeb, svelte({ configFile: false })],
    resolve: { alias: [{ find: /^@web\//, replacement: `${web}/src/` }] },
    build: { target: 'es2022', outDir, emptyOutDir: true },
    preview: {
      host: '127.0.0.1',
      port: 0,
      proxy: {
        '/api': { target: server, changeOrigin: true, headers: { Origin: server } },
        '/live': { target: server, changeOrigin: true, ws: true, headers: { Origin: server } },
      },
    },
  };
  await build(config);
  const running = await preview(config);
  const url = running.resolvedUrls?.local[0];
  if (url === undefined) throw new Error('the page is not served');
  return {
    url,
    stop: async () => {
      await running.close();
      await rm(outDir, { recursive: true, force: true });
    },
  };
}
