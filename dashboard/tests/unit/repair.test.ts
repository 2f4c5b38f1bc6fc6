/** What brings the browser's and the server's idea of a subscription together. */

import { expect, it } from 'vitest';
import type { PushEndpoint } from '../../web/src/api/types';
import { judge, type Repair } from '../../web/src/push/repair';

const OWN = { id: '01K', user: 'kim', label: 'Desk', address: 'https://push.example/a' };
const listed = (state: PushEndpoint['state']): PushEndpoint => ({
  id: OWN.id,
  kind: 'webpush',
  label: OWN.label,
  user: OWN.user,
  created: '2026-11-21T09:00:00Z',
  state,
  removed_reason: state === 'removed' ? 'gone' : null,
  last_delivered: null,
  preferences: {},
  muted: false,
  opened: 0,
  dismissed: 0,
});

it.each<[string, string | null, PushEndpoint | undefined, Repair]>([
  ['all is as it was', OWN.address, listed('active'), 'none'],
  ['the browser has another address', 'https://push.example/b', listed('active'), 'register'],
  ['another address, the former one is gone already', 'https://push.example/b', listed('removed'), 'register'],
  ['another address, and the former one is forgotten', 'https://push.example/b', undefined, 'register'],
  ['the provider refused the address', OWN.address, listed('removed'), 'renew'],
  ['the browser lost it', null, listed('active'), 'renew'],
  ['the browser lost what the provider refused', null, listed('removed'), 'renew'],
  ['the browser lost what a person removed', null, undefined, 'end'],
  ['a person removed it, perhaps on another device', OWN.address, undefined, 'end'],
])('%s', (_name, address, found, repair) => {
  expect(judge(OWN, address, found)).toBe(repair);
});
