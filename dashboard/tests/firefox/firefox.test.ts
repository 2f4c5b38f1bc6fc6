/**
 * Web Push as a person has it: the page in Firefox, its service worker, a server, devices. Only Mozilla's push service is
 * stood in for, since no test may need the internet. Each test goes on where the one before stopped.
 *
 * People get at most ten messages a minute: all tests together have to stay below.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Firefox, type Tab } from './bidi';
import { until } from '../processes';
import { type Push, PushService } from './push-service';
import { PASSWORD, Pulsewire } from './pulsewire';

const HOT = 95;
const FINE = 40;
const LABEL = 'Firefox on Linux';

let folder: string;
let service: PushService;
let server: Pulsewire;
let firefox: Firefox;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pulsewire-firefox-'));
  service = await PushService.start(folder);
  // One after the other, so that what has started is known to `afterAll` when the other fails.
  server = await Pulsewire.start(folder, service.caFile);
  firefox = await Firefox.start(folder, service.url);
  await server.report('boiler-1', FINE);
  await server.call('POST', '/rules', {
    id: 'boiler-too-hot',
    name: 'Boiler too hot',
    metric: 'temperature',
    comparison: '>',
    threshold: 80,
    severity: 'critical',
    scope: { all: true },
    notify: { group_by: ['rule', 'device'], wait: '0s', interval: '1s', repeat: '4h', resolved: true, to: ['everyone'] },
  });
});

afterAll(async () => {
  await firefox?.stop();
  await server?.stop();
  await service?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** What helps to see why a test failed. */
afterEach(async ({ task }) => {
  if (task.result?.state !== 'fail') return;
  const pushes = service.pushes.map(({ body: _, ...push }) => push);
  console.log({ hellos: service.hellos, refused: service.refused, pushes, complaints: firefox.complaints });
  for (const [index, tab] of (await firefox.tabs()).entries()) {
    await keep(`failed-${index}`, tab).catch(() => {});
    console.log(await tab.text().catch(String));
  }
});

/** Keeps a picture of a page where FIREFOX_SCREENSHOTS says. */
async function keep(name: string, tab: Tab): Promise<void> {
  const place = process.env.FIREFOX_SCREENSHOTS;
  if (place !== undefined) await writeFile(join(place, `${name}.png`), await tab.screenshot());
}

interface Shown {
  title: string;
  body: string;
  tag: string;
  icon: string;
  requireInteraction: boolean;
  silent: boolean;
}

/** Notifications on the screen that a check wants; asked for beside the dashboard, so that nobody counts as looking at it. */
async function shown(check: (list: Shown[]) => boolean): Promise<Shown[]> {
  const tab = await firefox.open(`${server.url}/healthz`);
  let list: Shown[] = [];
  try {
    await until('notifications as they should be', async () => {
      list = await tab.evaluate(async () => {
        const registration = await navigator.serviceWorker.getRegistration('/');
        const all = (await registration?.getNotifications()) ?? [];
        return all.map(({ title, body, tag, icon, requireInteraction, silent }) => ({
          title,
          body,
          tag,
          icon: new URL(icon).pathname,
          requireInteraction,
          silent: silent === true,
        }));
      });
      return check(list);
    });
  } catch (error) {
    throw new Error(`${error}; shown: ${JSON.stringify(list)}`);
  } finally {
    await tab.close();
  }
  return list;
}

/** What is shown about a device; waits until there is something. */
async function shownOf(device: string): Promise<Shown[]> {
  const of = (one: Shown) => one.body.startsWith(`${device}:`);
  return (await shown((list) => list.some(of))).filter(of);
}

/** The first message after the `before`th that Firefox has confirmed. */
function confirmed(before: number): Promise<Push> {
  return until('a message that Firefox confirms', () => service.pushes.slice(before).find((push) => push.ack !== null));
}

async function dashboard(path: string): Promise<Tab> {
  const tab = await firefox.open(server.url + path);
  await until('the page is live', async () => /^Live$/m.test(await tab.text()));
  return tab;
}

const last = <T>(list: readonly T[]): T => list[list.length - 1] as T;

const active = async () => (await server.endpoints()).filter((endpoint) => endpoint.state === 'active');

describe('push', () => {
  let page: Tab;

  test('a person signs in and subscribes this browser by a click', async () => {
    page = await firefox.open(`${server.url}/settings/notifications`);
    await until('the sign-in form', async () => (await page.count('button', 'Sign in')) === 1);
    await page.type('input[name=username]', 'admin');
    await page.type('input[name=password]', PASSWORD);
    await page.click('button', 'Sign in');
    await until('the settings', async () => (await page.count('button', 'Subscribe this browser')) === 1);
    await page.click('button', 'Subscribe this browser');
    await until('the page says so', async () => (await page.text()).includes(`This browser is subscribed as “${LABEL}”.`));
    expect(await server.endpoints()).toMatchObject([{ label: LABEL, state: 'active', last_delivered: null }]);
    expect(service.endpoints).toHaveLength(1);
    await keep('subscribed', page);
  });

  test('a test message is sent by a click and shown', async () => {
    const before = service.pushes.length;
    await page.click('button', `Send a test to ${LABEL}`);
    expect((await confirmed(before)).ack).toBe(100);
    await until('the page says so', async () => /last delivered/.test(await page.text()));
    await keep('tested', page);
    await page.close();
    const list = await shown((list) => list.length > 0);
    expect(list).toHaveLength(1);
  });

  test('with no page open, the service worker shows an alert', async () => {
    expect(await firefox.addresses()).toEqual(['about:blank']);
    const before = service.pushes.length;
    await server.report('boiler-1', HOT);
    const push = await confirmed(before);
    expect(push).toMatchObject({ ack: 100, sent: 1, urgency: 'high' });
    expect(await shownOf('boiler-1')).toEqual([
      {
        title: 'Boiler too hot',
        body: 'boiler-1: temperature 95 > 80',
        tag: push.topic,
        icon: '/icons/critical.png',
        requireInteraction: true,
        silent: false,
      },
    ]);
  });

  test('"resolved" takes the place of "firing"', async () => {
    const [firing] = await shownOf('boiler-1');
    const before = service.pushes.length;
    await server.report('boiler-1', FINE);
    expect(await confirmed(before)).toMatchObject({ ack: 100, topic: firing?.tag });
    await shown((list) => list.some((one) => one.title === 'Resolved: Boiler too hot'));
    expect(await shownOf('boiler-1')).toMatchObject([
      { title: 'Resolved: Boiler too hot', tag: firing?.tag, icon: '/icons/resolved.png', requireInteraction: false, silent: true },
    ]);
  });

  test('a message that was changed on its way is not shown', async () => {
    const known = new Set((await shown(() => true)).map((one) => one.tag));
    service.damageNext();
    const before = service.pushes.length;
    const [endpoint] = await active();
    await server.call('POST', `/push/endpoints/${endpoint?.id}/test`);
    expect((await confirmed(before)).ack).toBe(101);
    expect((await shown(() => true)).filter((one) => !known.has(one.tag))).toEqual([]);
  });

  test('a message that comes twice, since its answer was lost, is shown once', async () => {
    service.loseNextAnswer();
    const before = service.pushes.length;
    const [endpoint] = await active();
    await server.call('POST', `/push/endpoints/${endpoint?.id}/test`);
    await until('it comes twice', () => service.pushes.slice(before).filter((push) => push.ack === 100).length === 2);
    const [first, again] = service.pushes.slice(before);
    expect(again?.topic).toBe(first?.topic);
    const list = await shown((list) => list.some((one) => one.tag === first?.topic));
    expect(list.filter((one) => one.tag === first?.topic)).toHaveLength(1);
  });

  test('while the browser is away its messages are kept, the last one of each alert', async () => {
    service.leave();
    await until('Firefox is gone', () => service.browsers === 0);
    const { got } = last(service.hellos);
    const before = service.pushes.length;
    await server.report('boiler-2', HOT);
    await server.report('boiler-3', HOT);
    await until('both are kept', () => service.waiting.length === 2);
    await server.report('boiler-3', FINE);
    await until('the end is kept instead', () => service.pushes.some((push) => push.replaced) && service.waiting.length === 2);

    service.back();
    await until('both are confirmed', () => service.waiting.length === 0);
    expect(last(service.hellos)).toEqual({ asked: got, got });
    expect(service.pushes.slice(before).map(({ sent, ack, replaced }) => ({ sent, ack, replaced }))).toEqual([
      { sent: 1, ack: 100, replaced: false },
      { sent: 0, ack: null, replaced: true },
      { sent: 1, ack: 100, replaced: false },
    ]);
    expect((await shownOf('boiler-2')).map((one) => one.title)).toEqual(['Boiler too hot']);
    expect((await shownOf('boiler-3')).map((one) => one.title)).toEqual(['Resolved: Boiler too hot']);
  });

  test('when the push service forgot the browser, the service worker tells the server the new address', async () => {
    const [old] = await active();
    const [address] = service.endpoints;
    service.leave();
    service.forget();
    await until('Firefox is gone', () => service.browsers === 0);
    service.back();
    await until('another subscription', () => service.endpoints.length === 1 && service.endpoints[0] !== address);
    const renewed = await until('the server knows it', async () => (await active()).find((endpoint) => endpoint.id !== old?.id));
    expect(await firefox.addresses()).toEqual(['about:blank']);
    const hello = last(service.hellos);
    expect(hello.got).not.toBe(hello.asked);

    const before = service.pushes.length;
    await server.report('boiler-4', HOT);
    expect((await confirmed(before)).ack).toBe(100);
    expect(await shownOf('boiler-4')).toHaveLength(1);
    // The old address is gone, as the push service says.
    await until('only the new one is left', async () => (await active()).map((endpoint) => endpoint.id).join() === renewed.id);
    expect(service.refused).toEqual(['410 no such subscription']);
  });

  test('a page that starts puts the list in order', async () => {
    page = await dashboard('/');
    await until('one endpoint is left, under its name', async () => {
      const list = await server.endpoints();
      return list.length === 1 && list[0]?.label === LABEL;
    });
    await page.go(`${server.url}/settings/notifications`);
    await until('the page says so', async () => (await page.text()).includes(`This browser is subscribed as “${LABEL}”.`));
    await keep('repaired', page);
    await page.close();
  });

  test('a click on a notification opens what it is about, in the page that is open if there is one', async () => {
    await firefox.clickNotification('boiler-2: temperature 95 > 80');
    const opened = async () => (await firefox.addresses()).findIndex((address) => /\/alerts\/\w{26}$/.test(address));
    await until('a page', async () => (await opened()) === 1);
    page = last(await firefox.tabs());
    const about = (device: string) => async () => new RegExp(`^Boiler too hot$[^]*^Device\n${device}$`, 'm').test(await page.text());
    await until('the alert', about('boiler-2'));

    await firefox.clickNotification('boiler-4: temperature 95 > 80');
    await until('the other alert', about('boiler-4'));
    expect(await firefox.addresses()).toHaveLength(2);
    await page.close();
    expect((await shown(() => true)).filter((one) => one.requireInteraction)).toEqual([]);
  });

  test('who looks at the page is not pushed to; who does not, is', async () => {
    page = await dashboard('/alerts');
    expect(await page.evaluate(() => document.visibilityState)).toBe('visible');
    const before = service.pushes.length;
    await server.report('boiler-5', HOT);
    const seen = await until('it is decided', async () => (await server.messages('boiler-5')).find((message) => message.state === 'done'));
    expect(seen).toMatchObject({ kind: 'firing', reason: 'watching', deliveries: [{ state: 'withdrawn', attempts: 0 }] });
    expect(seen.reason_text).toContain('had a visible page');
    expect(service.pushes).toHaveLength(before);
    await until('the page shows it', async () => (await page.text()).includes('boiler-5'));

    // The page is there, behind another tab.
    const front = await firefox.open('about:blank');
    await until('the page is hidden', () => page.evaluate(() => document.visibilityState === 'hidden'));
    await server.report('boiler-6', HOT);
    expect((await confirmed(before)).ack).toBe(100);
    await front.close();
    await page.close();
    await server.report('boiler-7', HOT);
    expect((await confirmed(before + 1)).ack).toBe(100);
    expect(await shownOf('boiler-7')).toHaveLength(1);
    expect((await shown(() => true)).filter((one) => one.body.startsWith('boiler-5:'))).toEqual([]);
  });

  test('a button of a notification acknowledges the alert, with no page open', async () => {
    const [before] = await shownOf('boiler-7');
    await firefox.clickNotification('boiler-7: temperature 95 > 80', 'acknowledge');
    const acknowledged = async () => {
      const { items } = (await server.call('GET', '/alerts?device=boiler-7')) as { items: { acknowledged: { user: string } | null }[] };
      return items[0]?.acknowledged;
    };
    expect(await until('it is acknowledged', acknowledged)).toMatchObject({ user: 'admin' });
    // What came of it takes its place.
    const told = (one: Shown) => one.tag === before?.tag && one.icon === '/icons/resolved.png' && /acknowledged/.test(one.body);
    expect((await shown((list) => list.some(told))).filter((one) => one.tag === before?.tag)).toHaveLength(1);
    expect(await firefox.addresses()).toEqual(['about:blank']);
  });

  test('what came while the browser was closed is shown when it starts, before any page is opened', async () => {
    expect(firefox.complaints).toEqual([]);
    await firefox.stop();
    await until('Firefox is gone', () => service.browsers === 0);
    const before = service.pushes.length;
    const { got } = last(service.hellos);
    const [endpoint] = await active();
    await server.call('POST', `/push/endpoints/${endpoint?.id}/test`);
    await until('it is kept', () => service.waiting.length === 1);

    firefox = await Firefox.start(folder, service.url);
    const push = await confirmed(before);
    expect(push).toMatchObject({ ack: 100, sent: 1 });
    expect(last(service.hellos)).toEqual({ asked: got, got });
    expect(await firefox.addresses()).toEqual(['about:blank']);
    await shown((list) => list.some((one) => one.tag === push.topic));
  });
});

describe('every page works in Firefox', () => {
  const PAGES: [path: string, heading: string, content: RegExp][] = [
    ['/', 'Overview', /Open alerts[^]*Boiler too hot[^]*boiler-7/],
    ['/devices', 'Devices', /boiler-1[^]*boiler-7/],
    ['/devices/boiler-2', 'boiler-2', /temperature[^]*95/],
    ['/alerts', 'Alerts', /Boiler too hot[^]*boiler-2/],
    ['/rules', 'Rules', /Boiler too hot/],
    ['/rules/boiler-too-hot', 'Boiler too hot', /in scope[^]*Backtest[^]*Noisiest devices/],
    ['/silences', 'Silences', /Nothing is silenced/],
    ['/announcements', 'Announcements', /Nothing has been announced/],
    ['/explore?device=boiler-1&metric=temperature', 'Explore', /boiler-1[^]*temperature/],
    ['/map', 'Map', /No device says where it is[^]*latitude/],
    ['/start', 'Connect a device', /The server knows a device by its id/],
    ['/settings/appearance', 'Appearance', /Language/],
    ['/settings/users', 'Users', /admin/],
    ['/settings/tokens', 'API tokens', /There are no tokens yet/],
    ['/about', 'About', /all keep up[^]*Processor time/],
    ['/settings/notifications', 'Notifications', /What you were told[^]*Boiler too hot/],
  ];

  test.for(PAGES)('%s', async ([path, heading, content]) => {
    const tab = await dashboard(path);
    await until(`the heading ${heading}`, () => tab.evaluate((wanted) => document.querySelector('h1')?.innerText === wanted, heading));
    await until(`content as ${content}`, async () => {
      const text = await tab.text();
      return content.test(text) && !text.includes('Loading …');
    });
    // What is longer than the window scrolls below the header, not with it.
    expect(await tab.evaluate(() => document.documentElement.scrollHeight - innerHeight)).toBe(0);
    await keep(heading, tab);
    await tab.close();
  });

  test('values are shown as they come', async () => {
    const tab = await dashboard('/devices/boiler-1');
    await server.report('boiler-1', 43.5);
    await until('the new value', async () => (await tab.text()).includes('43.5'));
    await tab.close();
  });

  test('no page has complained, and it would have been heard', async () => {
    expect(firefox.complaints).toEqual([]);
    const tab = await dashboard('/');
    await tab.evaluate(() => {
      console.error('on purpose');
      setTimeout(() => {
        throw new Error('nobody catches this');
      });
    });
    await until('both are heard', () => firefox.complaints.length === 2);
    expect(firefox.complaints.join()).toMatch(/on purpose.*nobody catches this/);
  });
});
