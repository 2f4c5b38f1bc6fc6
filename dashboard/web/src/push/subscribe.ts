/**
 * Subscribing this browser to notifications. Each way in which a browser can refuse has its own words, since
 * "permission denied" helps nobody who sits at an insecure address.
 */

import { api, ApiError } from '../api/client';
import type { PushEndpoint } from '../api/types';
import { endSubscription, ownEndpoint, rememberEndpoint } from '../state/endpoint';

/** Why this browser cannot be subscribed now; a key of `notify.problem_…`. */
export type Problem = 'insecure' | 'ios' | 'unsupported' | 'denied' | 'dismissed' | 'timeout' | 'refused' | 'not_configured';

export class PushProblem extends Error {
  override name = 'PushProblem';
  readonly problem: Problem;

  constructor(problem: Problem, detail = '') {
    super(detail);
    this.problem = problem;
  }
}

/** What decides whether a browser can be subscribed. */
export interface Surroundings {
  secure: boolean;
  serviceWorker: boolean;
  pushManager: boolean;
  permission: NotificationPermission | null;
  userAgent: string;
  touchPoints: number;
  standalone: boolean;
}

export function surroundings(): Surroundings {
  return {
    secure: isSecureContext,
    serviceWorker: 'serviceWorker' in navigator,
    pushManager: 'PushManager' in window,
    permission: 'Notification' in window ? Notification.permission : null,
    userAgent: navigator.userAgent,
    touchPoints: navigator.maxTouchPoints,
    standalone: matchMedia('(display-mode: standalone)').matches,
  };
}

/** What stands in the way before anything was tried; null = nothing. */
export function obstacle(around: Surroundings): Problem | null {
  if (!around.secure) return 'insecure';
  // An iPad calls itself a Mac, but no Mac is touched.
  const ios = /iPhone|iPad|iPod/.test(around.userAgent) || (/Macintosh/.test(around.userAgent) && around.touchPoints > 1);
  const complete = around.serviceWorker && around.pushManager && around.permission !== null;
  if (ios && !around.standalone && !complete) return 'ios';
  if (!complete) return 'unsupported';
  return around.permission === 'denied' ? 'denied' : null;
}

/** A browser whose push service cannot be reached may never answer (seen in Chromium): it has this long. */
const SUBSCRIBE_MS = 15_000;

export async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_done, failed) => {
    timer = setTimeout(() => failed(new PushProblem('timeout')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/**
 * Tells the server where this browser is reached; the server takes the same address again as an update. `before`: what it was
 * registered as, if that is in the list. It goes before the new one is remembered: a page that ends in between does all of it
 * again.
 */
export async function register(subscription: PushSubscription, label: string, before?: string): Promise<PushEndpoint> {
  const { keys } = subscription.toJSON();
  const endpoint = await api.addEndpoint({
    kind: 'webpush',
    url: subscription.endpoint,
    keys: { p256dh: keys?.p256dh ?? '', auth: keys?.auth ?? '' },
    label,
  });
  if (before !== undefined && before !== endpoint.id) await api.removeEndpoint(before);
  rememberEndpoint({ id: endpoint.id, user: endpoint.user, label, address: subscription.endpoint });
  return endpoint;
}

/** To be called from a click: browsers ask for permission only then. */
export async function subscribe(label: string): Promise<PushEndpoint> {
  const blocked = obstacle(surroundings());
  if (blocked !== null) throw new PushProblem(blocked);
  const config = await api.pushConfig();
  if (!config.webpush.available || !config.webpush.public_key) throw new PushProblem('not_configured');
  const permission = await Notification.requestPermission();
  if (permission !== 'granted') throw new PushProblem(permission === 'denied' ? 'denied' : 'dismissed');
  const key = fromBase64url(config.webpush.public_key);
  try {
    return await register(await obtain(key), label);
  } catch (error) {
    if (error instanceof PushProblem || error instanceof ApiError) throw error;
    throw new PushProblem('refused', error instanceof Error ? error.message : String(error));
  }
}

/** The browser's subscription for the server's key, the one that it has already or a new one. */
export async function obtain(key: Uint8Array<ArrayBuffer>): Promise<PushSubscription> {
  await navigator.serviceWorker.register('/sw.js');
  const { pushManager } = await within(navigator.serviceWorker.ready, SUBSCRIBE_MS);
  // A subscription made with another server's key takes no messages of this one.
  const old = await pushManager.getSubscription();
  if (old !== null && !sameBytes(old.options.applicationServerKey, key)) await old.unsubscribe();
  return within(pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key }), SUBSCRIBE_MS);
}

function sameBytes(buffer: ArrayBuffer | null, bytes: Uint8Array): boolean {
  if (buffer === null || buffer.byteLength !== bytes.length) return false;
  const other = new Uint8Array(buffer);
  return bytes.every((byte, index) => byte === other[index]);
}

/** Ends this browser's own subscription too, so that it does not keep one that nobody sends to. */
export async function unsubscribe(endpoint: PushEndpoint): Promise<void> {
  await api.removeEndpoint(endpoint.id);
  if (endpoint.id === ownEndpoint()?.id) await endSubscription();
}

/** "Firefox on Linux": what people call this browser in a list. */
export function browserName(userAgent: string): string {
  const find = (names: readonly [RegExp, string][]) => names.find(([pattern]) => pattern.test(userAgent))?.[1];
  const browser = find([[/Edg\//, 'Edge'], [/Firefox\//, 'Firefox'], [/OPR\//, 'Opera'], [/Chrom(e|ium)\//, 'Chrome'], [/Safari\//, 'Safari']]);
  const system = find([[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS/, 'macOS'], [/Linux/, 'Linux']]);
  return [browser ?? 'Browser', system].filter(Boolean).join(' on ');
}
