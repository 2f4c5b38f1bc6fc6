/** The newest values of a device, asked for once by all of its charts. */

import { api } from '../api/client';

type Latest = ReturnType<typeof api.latest>;

/** An answer is good for so long. */
const KEPT_MS = 5_000;
const asked = new Map<string, Latest>();

export function latestOf(device: string): Latest {
  const known = asked.get(device);
  if (known !== undefined) return known;
  const answer = api.latest(device);
  asked.set(device, answer);
  setTimeout(() => asked.delete(device), KEPT_MS);
  return answer;
}
