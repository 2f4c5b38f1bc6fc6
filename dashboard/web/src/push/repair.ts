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

export function judge(own: OwnEndpoint, address: string, listed: PushEndpoint | undefined): Repair {
  if (address !== own.address) return 'register';
  // The server forgets what a person removes, perhaps on another device, and lists what a provider refused.
  if (listed === undefined) return 'end';
  return listed.state === 'removed' ? 'renew' : 'none';
}

/** To be called when a page starts. What fails here is tried again by the next. */
export async function repair(user: string): Promise<void> {
  const own = ownEndpoint();
  // Someone else's is not taken over without a click.
  if (own === null || own.user !== user || surroundings().permission !== 'granted') return;
  const known = await subscription();
  if (known === null) return;
  const { items } = await api.endpoints();
  const listed = items.find((one) => one.id === own.id);
  const todo = judge(own, known.endpoint, listed);
  if (todo === 'none') return;
  if (todo === 'end') return endSubscription();
  let current = known;
  if (todo === 'renew') {
    const { webpush } = await api.pushConfig();
    if (!webpush.available || !webpush.public_key) return;
    await known.unsubscribe();
    current = await obtain(fromBase64url(webpush.public_key));
  }
  const endpoint = await register(current, own.label);
  if (listed !== undefined && endpoint.id !== own.id) await api.removeEndpoint(own.id);
}
