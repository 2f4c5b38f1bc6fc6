/**
 * Brings together what the browser and the server hold of a subscription. The browser may change its address while no page
 * is open and the server is out of reach; the server may have been told that an address is gone.
 */

import { api } from '../api/client';
import type { PushEndpoint } from '../api/types';
import { endSubscription, type OwnEndpoint, ownEndpoint, subscription } from '../state/endpoint';
import { fromBase64url, obtain, register, surroundings } from './subscribe';

/** `register`: tell the server the address. `renew`: get another address. `end`: it was removed from the list on purpose. */
export type Repair = 'none' | 'register' | 'renew' | 'end';

/** `address`: where the browser is reached now; null if it has lost its subscription. */
export function judge(own: OwnEndpoint, address: string | null, listed: PushEndpoint | undefined): Repair {
  // Nobody ends a subscription without the page forgetting it, too: this one was lost, unless the list knows better.
  if (address === null) return listed === undefined ? 'end' : 'renew';
  if (address !== own.address) return 'register';
  // The server forgets what a person removes, perhaps on another device, and lists what a provider refused.
  if (listed === undefined) return 'end';
  return listed.state === 'removed' ? 'renew' : 'none';
}

/** To be called when a page starts. What fails here is tried again by the next. One tab at a time. */
export async function repair(user: string): Promise<void> {
  if (!('locks' in navigator)) return repairNow(user);
  await navigator.locks.request('pulsewire.endpoint', () => repairNow(user));
}

async function repairNow(user: string): Promise<void> {
  const own = ownEndpoint();
  // Someone else's is not taken over without a click.
  if (own === null || own.user !== user || surroundings().permission !== 'granted') return;
  const known = await subscription();
  const { items } = await api.endpoints();
  const listed = items.find((one) => one.id === own.id);
  const todo = judge(own, known?.endpoint ?? null, listed);
  if (todo === 'none') return;
  if (todo === 'end') return endSubscription();
  let current = known;
  if (todo === 'renew' || current === null) {
    const { webpush } = await api.pushConfig();
    if (!webpush.available || !webpush.public_key) return;
    await known?.unsubscribe();
    current = await obtain(fromBase64url(webpush.public_key));
  }
  await register(current, own.label, listed?.id);
}
