/** Places where people are reached, all of them at the emulator, and what arrived there. */

import type { APIRequestContext } from '@playwright/test';
import { expect, type Server } from './server';

/** A request that arrived, as the emulator lists it; `payload` is decrypted. */
export interface Received {
  provider: string;
  target: string;
  kind: string;
  payload: Record<string, unknown>;
}

/** A browser at the emulator that subscribes for whoever is signed in. */
export async function addPhone(request: APIRequestContext, server: Server, label: string): Promise<string> {
  const { endpoint, keys } = await (await request.post(`${server.phone}api/subscriptions`, { data: { label } })).json();
  const answer = await request.post('/api/v1/push/endpoints', { data: { kind: 'webpush', url: endpoint, keys, label }, headers: { Origin: server.url } });
  expect(answer.status(), await answer.text()).toBe(201);
  return (await answer.json()).id;
}

/** What arrived at one place. */
export async function received(request: APIRequestContext, server: Server, label: string): Promise<Received[]> {
  const { items } = await (await request.get(`${server.phone}api/messages`)).json();
  return (items as Received[]).filter((item) => item.target === label);
}
