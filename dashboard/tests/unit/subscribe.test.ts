/** Why a browser cannot be subscribed, and how long it may think about it. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { browserName, fromBase64url, obstacle, type Surroundings, within } from '../../web/src/push/subscribe';

const CHROME: Surroundings = {
  secure: true,
  serviceWorker: true,
  pushManager: true,
  permission: 'default',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36',
  touchPoints: 0,
  standalone: false,
};
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile/15E148 Safari/604.1';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605';

describe('obstacle', () => {
  it.each<[string, Partial<Surroundings>, ReturnType<typeof obstacle>]>([
    ['nothing', {}, null],
    ['permission given before', { permission: 'granted' }, null],
    ['an insecure address, where browsers hide everything', { secure: false, serviceWorker: false, pushManager: false, permission: null }, 'insecure'],
    ['permission denied', { permission: 'denied' }, 'denied'],
    ['a browser without push', { pushManager: false }, 'unsupported'],
    ['an iPhone in the browser', { userAgent: IPHONE, pushManager: false, permission: null }, 'ios'],
    ['an iPad that calls itself a Mac', { userAgent: MAC, touchPoints: 5, pushManager: false, permission: null }, 'ios'],
    ['an iPhone on the Home Screen', { userAgent: IPHONE, standalone: true }, null],
    ['a Mac without push', { userAgent: MAC, pushManager: false }, 'unsupported'],
  ])('%s', (_name, change, expected) => {
    expect(obstacle({ ...CHROME, ...change })).toBe(expected);
  });
});

describe('within', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('gives up on a browser that never answers', async () => {
    const waited = within(new Promise(() => {}), 15_000).catch((error) => error.problem);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await waited).toBe('timeout');
  });

  it('passes on what comes in time, and leaves no timer', async () => {
    expect(await within(Promise.resolve(7), 15_000)).toBe(7);
    await expect(within(Promise.reject(new Error('no')), 15_000)).rejects.toThrow('no');
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('keys and names', () => {
  expect([...fromBase64url('-_8B')]).toEqual([251, 255, 1]);
  expect(browserName(CHROME.userAgent)).toBe('Chrome on Linux');
  expect(browserName(IPHONE)).toBe('Safari on iOS');
  expect(browserName('curl/8')).toBe('Browser');
});
