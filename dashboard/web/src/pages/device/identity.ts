/** What is being changed of a device, and what the server is asked to change. */

import type { Device } from '../../api/types';

export interface Draft {
  name: string;
  group: string;
  profile: string;
  tags: { key: string; value: string }[];
}

export type Change = Partial<Pick<Device, 'name' | 'tags' | 'group' | 'profile'>>;
export type Changes = { change: Change } | { wrong: 'pair' | 'twice'; part: string };

export function draftOf(device: Device): Draft {
  return {
    name: device.name,
    group: device.group ?? '',
    profile: device.profile ?? '',
    tags: Object.entries(device.tags).map(([key, value]) => ({ key, value })),
  };
}

/** Only what differs, so that what someone else has just changed stays. Empty lines of tags are none. */
export function changes(device: Device, draft: Draft): Changes {
  const change: Change = {};
  const name = draft.name.trim();
  const group = draft.group.trim() || null;
  const profile = draft.profile.trim() || null;
  const tags = new Map<string, string>();
  for (const tag of draft.tags) {
    const [key, value] = [tag.key.trim(), tag.value.trim()];
    if (key === '' && value === '') continue;
    if (key === '' || value === '') return { wrong: 'pair', part: key || value };
    if (tags.has(key)) return { wrong: 'twice', part: key };
    tags.set(key, value);
  }
  if (name !== device.name) change.name = name;
  if (group !== device.group) change.group = group;
  if (profile !== (device.profile ?? null)) change.profile = profile;
  const before = Object.entries(device.tags);
  if (before.length !== tags.size || before.some(([key, value]) => tags.get(key) !== value)) change.tags = Object.fromEntries(tags);
  return { change };
}
