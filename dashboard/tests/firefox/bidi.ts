/** Firefox without a screen, driven through WebDriver BiDi. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { ended } from '../processes';

const PROGRAM = process.env.FIREFOX ?? 'firefox-esr';
const START_MS = 60_000;
const COMMAND_MS = 30_000;
const STOP_MS = 15_000;

type Json = Record<string, unknown>;

export class Firefox {
  readonly #child: ChildProcess;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { done: (result: Json) => void; failed: (error: Error) => void }>();
  #next = 1;
  /** Errors in all pages' consoles since the start, and those that no script caught. */
  readonly complaints: string[] = [];

  private constructor(child: ChildProcess, socket: WebSocket) {
    this.#child = child;
    this.#socket = socket;
    socket.on('message', (data) => this.#heard(JSON.parse(String(data)) as Json));
    socket.on('close', () => {
      for (const { failed } of this.#waiting.values()) failed(new Error('Firefox closed the connection'));
      this.#waiting.clear();
    });
  }

  /** `pushUrl`: the WebSocket of the push service. The profile is made in `folder`. */
  static async start(folder: string, pushUrl: string): Promise<Firefox> {
    const profile = join(folder, 'profile');
    await mkdir(profile, { recursive: true });
    await writeFile(join(profile, 'user.js'), preferences(pushUrl));
    // System access is for the windows of notifications.
    const remote = ['--remote-debugging-port', '0', '--remote-allow-system-access'];
    const child = spawn(PROGRAM, ['--headless', '--no-remote', '--profile', profile, ...remote, 'about:blank'], {
      env: { ...process.env, HOME: folder, MOZ_CRASHREPORTER_DISABLE: '1', MOZ_HEADLESS_WIDTH: '1280', MOZ_HEADLESS_HEIGHT: '850' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    try {
      const url = await debuggingUrl(child);
      const socket = new WebSocket(`${url}/session`, { maxPayload: 64 * 1024 * 1024 });
      await new Promise<void>((done, failed) => {
        socket.once('open', done);
        socket.once('error', failed);
      });
      const firefox = new Firefox(child, socket);
      await firefox.send('session.new', { capabilities: {} });
      await firefox.send('session.subscribe', { events: ['log.entryAdded'] });
      return firefox;
    } catch (error) {
      await ended(child);
      throw error;
    }
  }

  send(method: string, params: Json): Promise<Json> {
    const id = this.#next++;
    return new Promise((done, failed) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        failed(new Error(`${method}: no answer within ${COMMAND_MS} ms`));
      }, COMMAND_MS);
      const settle = <T>(then: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        then(value);
      };
      this.#waiting.set(id, { done: settle(done), failed: settle(failed) });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** A new tab in front of the others. */
  async open(url: string): Promise<Tab> {
    const { context } = await this.send('browsingContext.create', { type: 'tab', background: false });
    const tab = new Tab(this, String(context));
    await tab.go(url);
    return tab;
  }

  async tabs(): Promise<Tab[]> {
    return (await this.#tree()).map(({ context }) => new Tab(this, context));
  }

  /** What the tabs show. */
  async addresses(): Promise<string[]> {
    return (await this.#tree()).map(({ url }) => url);
  }

  /**
   * Clicks on the notification on the screen that says so, or on one of its buttons. It is a window of Firefox's own, for which
   * BiDi has no mouse, so its text gets the click; and it has no buttons, so Firefox is told of that click as a desktop tells it.
   */
  async clickNotification(body: string, button: string | null = null): Promise<void> {
    for (const { context, url } of await this.#tree('chrome')) {
      if (url !== 'chrome://global/content/alerts/alert.xhtml') continue;
      const found = await new Tab(this, context).evaluate(clickOn, body, button);
      if (found) return;
    }
    throw new Error(`no notification says ${body}`);
  }

  async #tree(scope: 'content' | 'chrome' = 'content'): Promise<{ context: string; url: string }[]> {
    const { contexts } = await this.send('browsingContext.getTree', { maxDepth: 0, 'moz:scope': scope });
    return contexts as { context: string; url: string }[];
  }

  /** As a person does it: what it knows is kept for the next start in the same folder. */
  async stop(): Promise<void> {
    const exit = new Promise((done) => this.#child.once('exit', done));
    const closed = await this.send('browser.close', {}).then(() => true, () => false);
    const patience = new Promise((done) => setTimeout(done, STOP_MS).unref());
    if (closed) await Promise.race([exit, patience]);
    this.#socket.close();
    await ended(this.#child);
  }

  #heard(message: Json): void {
    if (message.type === 'event') {
      const entry = message.params as { level: string; text: string | null };
      if (message.method === 'log.entryAdded' && entry.level === 'error') this.complaints.push(entry.text ?? '');
      return;
    }
    const waiting = this.#waiting.get(Number(message.id));
    this.#waiting.delete(Number(message.id));
    if (message.type === 'error') waiting?.failed(new Error(`${message.error}: ${message.message}`));
    else waiting?.done(message.result as Json);
  }
}

type Locator = { type: 'accessibility'; value: { role?: string; name?: string } } | { type: 'css'; value: string };

export class Tab {
  readonly context: string;
  readonly #firefox: Firefox;

  constructor(firefox: Firefox, context: string) {
    this.#firefox = firefox;
    this.context = context;
  }

  async go(url: string): Promise<void> {
    await this.#firefox.send('browsingContext.navigate', { context: this.context, url, wait: 'complete' });
  }

  async close(): Promise<void> {
    await this.#firefox.send('browsingContext.close', { context: this.context });
  }

  /** Runs a function in the page. It sees nothing but its arguments; they and what it answers travel as JSON. */
  async evaluate<A extends unknown[], T>(work: (...values: A) => T | Promise<T>, ...values: A): Promise<T> {
    const answer = await this.#firefox.send('script.callFunction', {
      functionDeclaration: `async (values) => JSON.stringify([await (${work})(...JSON.parse(values))])`,
      arguments: [{ type: 'string', value: JSON.stringify(values) }],
      target: { context: this.context },
      awaitPromise: true,
    });
    if (answer.type === 'exception') throw new Error((answer.exceptionDetails as { text: string }).text);
    return (JSON.parse((answer.result as { value: string }).value) as [T])[0];
  }

  /** What a person reads. */
  text(): Promise<string> {
    return this.evaluate(() => document.body?.innerText ?? '');
  }

  /** A click of the mouse on the one element that has this role and name. */
  async click(role: string, name: string): Promise<void> {
    await this.#click({ type: 'accessibility', value: { role, name } });
  }

  /** Clicks on the field and types. */
  async type(css: string, text: string): Promise<void> {
    await this.#click({ type: 'css', value: css });
    const actions = [...text].flatMap((value) => [
      { type: 'keyDown', value },
      { type: 'keyUp', value },
    ]);
    await this.#firefox.send('input.performActions', { context: this.context, actions: [{ type: 'key', id: 'keyboard', actions }] });
  }

  /** The part of the page that is on the screen, as PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.#firefox.send('browsingContext.captureScreenshot', { context: this.context });
    return Buffer.from(String(data), 'base64');
  }

  async count(role: string, name: string): Promise<number> {
    return (await this.#find({ type: 'accessibility', value: { role, name } })).length;
  }

  async #find(locator: Locator): Promise<string[]> {
    const { nodes } = await this.#firefox.send('browsingContext.locateNodes', { context: this.context, locator });
    return (nodes as { sharedId: string }[]).map((node) => node.sharedId);
  }

  async #click(locator: Locator): Promise<void> {
    const [sharedId, second] = await this.#find(locator);
    if (sharedId === undefined || second !== undefined) {
      throw new Error(`${second === undefined ? 'nothing' : 'more than one'} found for ${JSON.stringify(locator.value)}`);
    }
    await this.#firefox.send('script.callFunction', {
      functionDeclaration: '(element) => element.scrollIntoView({ block: "center", behavior: "instant" })',
      arguments: [{ sharedId }],
      target: { context: this.context },
      awaitPromise: false,
    });
    const origin = { type: 'element', element: { sharedId } };
    const actions = [
      { type: 'pointerMove', x: 0, y: 0, origin },
      { type: 'pointerDown', button: 0 },
      { type: 'pointerUp', button: 0 },
    ];
    await this.#firefox.send('input.performActions', { context: this.context, actions: [{ type: 'pointer', id: 'mouse', actions }] });
  }
}

/** Runs in the window of a notification. Answers whether it is the one that is meant. */
function clickOn(body: string, button: string | null): boolean {
  const text = document.getElementById('alertTextLabel');
  if (text?.textContent !== body) return false;
  if (button === null) {
    text.click();
    return true;
  }
  // biome-ignore lint/suspicious/noExplicitAny: Firefox's own globals
  const { gAlertListener, gAlertCookie, ChromeUtils } = window as any;
  const action = { action: button, QueryInterface: ChromeUtils.generateQI(['nsIAlertAction']) };
  gAlertListener.observe(action, 'alertclickcallback', gAlertCookie);
  return true;
}

function debuggingUrl(child: ChildProcess): Promise<string> {
  return new Promise((done, failed) => {
    const said: string[] = [];
    const timer = setTimeout(() => failed(new Error(`Firefox did not start within ${START_MS} ms\n${said.join('\n')}`)), START_MS);
    if (child.stderr === null) return failed(new Error('no standard error'));
    // Read to its end, so that it never waits for a full pipe.
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (said.length < 50) said.push(line);
      const url = /WebDriver BiDi listening on (ws:\S+)/.exec(line)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      done(url);
    });
    child.once('error', failed);
    child.once('exit', (code, signal) => failed(new Error(`${PROGRAM} ended with ${code ?? signal}\n${said.join('\n')}`)));
  });
}

/** True Web Push with a push service of ours, and nothing else that leaves this machine. */
function preferences(pushUrl: string): string {
  const values: Record<string, string | number | boolean> = {
    'dom.push.serverURL': pushUrl,
    'dom.push.testing.allowInsecureServerURL': true,
    'dom.push.testing.ignorePermission': true,
    'permissions.default.desktop-notification': 1,
    // After a lost connection it comes back within 2 s, not after 5 s to half an hour.
    'dom.push.retryBaseInterval': 200,
    'dom.push.pingInterval': 2_000,
    'network.websocket.delay-failed-reconnects': false,
    // Firefox shows notifications by itself: no desktop is here to do it. It keeps three at a time that wait for a person, which
    // is too few here; a desktop has no such limit.
    'alerts.useSystemBackend': false,
    'dom.webnotifications.requireinteraction.count': 100,
    'intl.accept_languages': 'en-GB, en',
    // What remote control sets by itself switches push off. Of the rest, what matters here:
    'remote.prefs.recommended': false,
    'browser.backup.enabled': false,
    'browser.ml.enable': false,
    'browser.translations.enable': false,
    'datareporting.policy.dataSubmissionPolicyBypassNotification': true,
    'dom.ipc.processPriorityManager.enabled': false,
    'extensions.autoDisableScopes': 0,
    'extensions.enabledScopes': 5,
    'focusmanager.testmode': true,
    'geo.provider.network.url': '',
    'network.manage-offline-status': false,
    'security.certerrors.mitm.priming.enabled': false,
    'security.remote_settings.intermediates.enabled': false,
    'termsofuse.bypassNotification': true,
    // And so that it talks to nobody else.
    'app.normandy.api_url': '',
    'app.normandy.enabled': false,
    'app.update.auto': false,
    'app.update.disabledForTesting': true,
    'browser.aboutwelcome.enabled': false,
    'browser.newtabpage.enabled': false,
    'browser.region.network.url': '',
    'browser.safebrowsing.blockedURIs.enabled': false,
    'browser.safebrowsing.downloads.enabled': false,
    'browser.safebrowsing.malware.enabled': false,
    'browser.safebrowsing.phishing.enabled': false,
    'browser.search.update': false,
    'browser.sessionstore.resume_from_crash': false,
    'browser.shell.checkDefaultBrowser': false,
    'browser.startup.homepage': 'about:blank',
    'browser.startup.homepage_override.mstone': 'ignore',
    'browser.startup.page': 0,
    'browser.topsites.contile.enabled': false,
    'browser.urlbar.suggest.searches': false,
    'datareporting.healthreport.uploadEnabled': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'datareporting.usage.uploadEnabled': false,
    'extensions.blocklist.enabled': false,
    'extensions.getAddons.cache.enabled': false,
    'extensions.systemAddon.update.enabled': false,
    'extensions.update.enabled': false,
    'media.gmp-manager.updateEnabled': false,
    'messaging-system.rsexperimentloader.enabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
    'network.dns.disablePrefetch': true,
    'network.prefetch-next': false,
    'network.trr.mode': 5,
    'services.settings.server': 'data:,#remote-settings-dummy/v1',
    'signon.autofillForms': false,
    'signon.rememberSignons': false,
    'toolkit.telemetry.enabled': false,
    'toolkit.telemetry.server': '',
    'toolkit.telemetry.unified': false,
  };
  return Object.entries(values)
    .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
    .join('');
}
