/** This browser as an endpoint of the server. The server's list does not say which one it is, so that is kept here. */

export interface OwnEndpoint {
  id: string;
  /** Whose messages come here. */
  user: string;
  label: string;
  /** What the server knows as its address: the browser may change it by itself. */
  address: string;
}

const STORED = 'pulsewire.endpoint';

export function ownEndpoint(): OwnEndpoint | null {
  try {
    const own = JSON.parse(localStorage.getItem(STORED) ?? 'null') as Partial<OwnEndpoint> | null;
    const whole = [own?.id, own?.user, own?.label, own?.address].every((part) => typeof part === 'string');
    return whole ? (own as OwnEndpoint) : null;
  } catch {
    return null;
  }
}

export function rememberEndpoint(own: OwnEndpoint | null): void {
  try {
    if (own === null) localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, JSON.stringify(own));
  } catch {
    // Then the list cannot say which one is this browser, and a new address is the service worker's to tell.
  }
}

export async function subscription(): Promise<PushSubscription | null> {
  const registration = await navigator.serviceWorker?.getRegistration();
  return (await registration?.pushManager?.getSubscription()) ?? null;
}

/** Nothing reaches this browser any more, whoever it was for: the push service tells the server. */
export async function endSubscription(): Promise<void> {
  rememberEndpoint(null);
  await (await subscription())?.unsubscribe();
}
