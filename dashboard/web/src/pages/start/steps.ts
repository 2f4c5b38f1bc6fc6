/** The wizard's way from nothing to a device that is watched. All of it is in the address, so it can be left and gone on with. */

export const STEPS = ['name', 'connect', 'rule', 'push', 'done'] as const;
export type Step = (typeof STEPS)[number];

export interface Place {
  step: Step;
  /** Null before a device was named. */
  device: string | null;
}

const DEVICE = /^[A-Za-z0-9._:-]{1,64}$/;

export function isDeviceId(id: string): boolean {
  return DEVICE.test(id);
}

/** What makes no sense leads to the first step: without a device there is nothing to connect. */
export function readPlace(query: URLSearchParams): Place {
  const given = query.get('device');
  const device = given !== null && isDeviceId(given) ? given : null;
  const step = STEPS.find((one) => one === query.get('step')) ?? (device === null ? 'name' : 'connect');
  return device === null ? { step: 'name', device: null } : { step, device };
}

export function placeHref(step: Step, device: string | null): string {
  if (device === null || step === 'name') return '/start';
  return `/start?device=${encodeURIComponent(device)}&step=${step}`;
}

export function after(step: Step): Step {
  return STEPS[Math.min(STEPS.indexOf(step) + 1, STEPS.length - 1)] as Step;
}

/** An id made of a name: "Pump 7, north" → "pump-7-north"; empty if nothing of it can be one. */
export function idOf(name: string): string {
  return name
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9._:]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
}

/** Only programs on this machine reach the server under such a name. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[?::1\]?)$/i.test(hostname);
}
