import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** Where `npm run dev` finds the server; the page itself comes from Vite, so edits show without a build. */
const server = process.env.PULSEWIRE_URL ?? 'http://127.0.0.1:8080';

/** What the first page needs. */
const BASE =
  /node_modules|src[\\/](api|i18n|live|state)[\\/]|src[\\/]views|src[\\/]shell[\\/]pages|src[\\/]ui[\\/](?!VirtualTable|Dialog|CopyText|Choice|Fold)|src[\\/]pages[\\/](poll|seen)/;

/** What several of the pieces that are opened later share. */
const COMMON =
  /src[\\/]ui[\\/](Dialog|CopyText|Choice|Fold)|src[\\/]pages[\\/](silences[\\/]matchers|alerts[\\/]silence\.ts|rules[\\/]write|device[\\/]commands[\\/]form|devices[\\/](tags|listparam))/;

/** Adding a device, from several pages. */
const ADDING = /src[\\/]pages[\\/]devices[\\/](AddDevice|Connect)/;

/** What only charts with a menu have. */
const CHART_TOOLS = /src[\\/]charts[\\/](ChartTools|ChartTable|RangeDialog|TimeBar|picture|rows|hrefs|pins?\.|range\.)/;

/** What forms of rules and of settings share, and what the messages of an alert share with those of the settings. */
const FORMS = /src[\\/](pages[\\/]rules[\\/](wrong|days|duration|Problem|Windows)|push[\\/](Messages|Deliveries|words|calls))/;

export default defineConfig({
  plugins: [svelte({ configFile: false })],
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
            { name: 'common', test: COMMON, priority: 2 },
            { name: 'base', test: BASE, priority: 2 },
          ],
        },
      },
    },
  },
  server: {
    proxy: {
      // The server checks that writes and /live come from its own origin, so the proxy speaks as that origin.
      '/api': { target: server, changeOrigin: true, headers: { Origin: server } },
      '/live': { target: server, changeOrigin: true, ws: true, headers: { Origin: server } },
    },
  },
});
