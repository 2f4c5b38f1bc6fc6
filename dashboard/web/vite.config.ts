import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/** Where `npm run dev` finds the server; the page itself comes from Vite, so edits show without a build. */
const server = process.env.PULSEWIRE_URL ?? 'http://127.0.0.1:8080';

const proxy = {
  // The server checks that writes and /live come from its own origin, so the proxy speaks as that origin.
  '/api': { target: server, changeOrigin: true, headers: { Origin: server } },
  '/live': { target: server, changeOrigin: true, ws: true, headers: { Origin: server } },
  '/healthz': { target: server, changeOrigin: true },
};

/** What the first page needs. */
const BASE =
  /node_modules|src[\\/](api|i18n|live|state)[\\/]|src[\\/]views|src[\\/]shell[\\/]pages|src[\\/]ui[\\/](?!VirtualTable|RowWindow|Dialog|CopyText|Choice|Fold)|src[\\/]pages[\\/](poll|seen)/;

/** What several of the pieces that are opened later share. */
const COMMON =
  /src[\\/]ui[\\/](Dialog|CopyText|Choice|Fold)|src[\\/]pages[\\/](silences[\\/]matchers|alerts[\\/]silence\.ts|rules[\\/]write|device[\\/]commands[\\/]form|devices[\\/](tags|listparam))/;

/** Adding a device, from several pages. */
const ADDING = /src[\\/]pages[\\/]devices[\\/](AddDevice|Connect)/;

/** What only charts with a menu have. */
const CHART_TOOLS = /src[\\/]charts[\\/](ChartTools|ChartTable|RangeDialog|TimeBar|picture|rows|hrefs|pins?\.|range\.)/;

/** What forms of rules and of settings share, and what the messages of an alert share with those of the settings. */
const FORMS = /src[\\/](pages[\\/]rules[\\/](wrong|days|duration|Problem|Windows)|push[\\/](Messages|Deliveries|words|calls))/;

/**
 * Writes `build.json`: which files the page is made of, for the service worker that keeps them, and its first script, by which a
 * page that is open finds out that there is a newer one.
 */
function buildList(): Plugin {
  return {
    name: 'build-list',
    apply: 'build',
    writeBundle({ dir }, bundle) {
      if (dir === undefined) return;
      const made = Object.values(bundle);
      const entry = made.find((one) => one.type === 'chunk' && one.isEntry)?.fileName ?? '';
      const folder = join(import.meta.dirname, 'public');
      const own = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((one) => one.isFile())
        .map((one) => join(one.parentPath, one.name).slice(folder.length + 1).replaceAll('\\', '/'))
        // The worker is no file of the page, and pictures for shops of applications are not shown by it.
        .filter((one) => one !== 'sw.js' && !one.startsWith('screenshots/'));
      const assets = made.map((one) => one.fileName).filter((one) => one.startsWith('assets/'));
      const files = ['/', ...assets.map((one) => `/${one}`), ...own.map((one) => `/${one}`)].sort();
      const digest = createHash('sha256').update(files.join('\n'));
      // Names of assets change with what is in them; these do not.
      for (const one of own.sort()) digest.update(readFileSync(join(folder, one)));
      const build = digest.digest('hex').slice(0, 16);
      writeFileSync(join(dir, 'build.json'), `${JSON.stringify({ build, entry: `/${entry}`, files })}\n`);
    },
  };
}

export default defineConfig({
  plugins: [svelte({ configFile: false }), buildList()],
  build: {
    target: 'es2022',
    // No inlined assets: the page's Content-Security-Policy allows files of its own origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // A few pieces: what the first page needs, and what is opened later. Small files compress badly.
    rolldownOptions: {
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'forms', test: FORMS, priority: 2 },
            { name: 'rule-list', test: /src[\\/]pages[\\/]rules[\\/]Rules/, priority: 2 },
            { name: 'rule-words', test: /src[\\/]pages[\\/]rules[\\/](words|form|part)/, priority: 2 },
            { name: 'rules', test: /src[\\/]pages[\\/]rules[\\/]/, priority: 1 },
            { name: 'silences', test: /src[\\/]pages[\\/]silences[\\/]/, priority: 1 },
            { name: 'adding', test: ADDING, priority: 2 },
            { name: 'subscribe', test: /src[\\/]push[\\/](subscribe|repair)/, priority: 2 },
            { name: 'start', test: /src[\\/]pages[\\/]start[\\/]/, priority: 1 },
            { name: 'announcements', test: /src[\\/]pages[\\/]announcements[\\/]/, priority: 1 },
            { name: 'settings', test: /src[\\/]pages[\\/]settings[\\/]/, priority: 1 },
            { name: 'alerts', test: /src[\\/]pages[\\/]alerts[\\/]/, priority: 1 },
            { name: 'explore', test: /src[\\/]pages[\\/]explore[\\/]/, priority: 1 },
            { name: 'kits', test: /src[\\/]pages[\\/]devices[\\/](Kits|kits)/, priority: 2 },
            { name: 'devices', test: /src[\\/]pages[\\/]devices[\\/]/, priority: 1 },
            { name: 'device', test: /src[\\/]pages[\\/]device[\\/]/, priority: 1 },
            { name: 'chart-tools', test: CHART_TOOLS, priority: 3 },
            { name: 'charts', test: /src[\\/]charts[\\/]/, priority: 2 },
            { name: 'tables', test: /src[\\/]ui[\\/](VirtualTable|RowWindow)/, priority: 2 },
            { name: 'common', test: COMMON, priority: 2 },
            { name: 'base', test: BASE, priority: 2 },
          ],
        },
      },
    },
  },
  server: { proxy },
  // Serves what was built, with its service worker.
  preview: { proxy },
});
