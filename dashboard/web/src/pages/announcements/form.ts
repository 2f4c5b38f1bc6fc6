/** An announcement as it is written, and as the API takes it. */

import type { NewAnnouncement, Role, User } from '../../api/types';
import type { Severity } from '../../live/frame';

export const TO = ['everyone', 'role', 'users', 'group'] as const;
export type To = (typeof TO)[number];

/** What is said to a role is said to those above it, too. */
const ROLES: readonly Role[] = ['viewer', 'operator', 'admin'];
/** How long it is worth telling. */
export const TTLS = ['1h', '4h', '1d', '3d', '7d', '28d'] as const;
export const TITLE_BYTES_MAX = 120;
export const BODY_BYTES_MAX = 1_000;
const YEAR_MS = 366 * 86_400_000;

export interface Draft {
  title: string;
  body: string;
  url: string;
  image: string;
  severity: Severity;
  to: To;
  role: Role;
  users: string;
  group: string;
  /** As a field for local times has it; empty: now. */
  notBefore: string;
  ttl: string;
}

export function empty(): Draft {
  return { title: '', body: '', url: '', image: '', severity: 'info', to: 'everyone', role: 'operator', users: '', group: '', notBefore: '', ttl: '1d' };
}

/** By the field in the API: a key of `announce.wrong_…`. */
export type Mistakes = Partial<Record<'title' | 'body' | 'url' | 'image' | 'to' | 'group' | 'not_before', string>>;

export const bytes = (text: string) => new TextEncoder().encode(text).length;

/** What has commas or blanks between. */
export function names(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter((name) => name !== ''))];
}

export function read(draft: Draft, nowMs: number): { announcement: NewAnnouncement } | { wrong: Mistakes } {
  const wrong: Mistakes = {};
  const [title, body, url, image] = [draft.title.trim(), draft.body.trim(), draft.url.trim(), draft.image.trim()];
  if (title === '') wrong.title = 'required';
  else if (bytes(title) > TITLE_BYTES_MAX) wrong.title = 'title_long';
  if (bytes(body) > BODY_BYTES_MAX) wrong.body = 'body_long';
  // A path here: never another site.
  if (url !== '' && !/^\/(?![/\\])\S*$/.test(url)) wrong.url = 'url';
  if (image !== '' && !/^https:\/\/\S+$/i.test(image)) wrong.image = 'image';
  const users = names(draft.users);
  if (draft.to === 'users' && users.length === 0) wrong.to = 'users';
  if (draft.to === 'group' && draft.group.trim() === '') wrong.group = 'group';
  const notBefore = draft.notBefore === '' ? null : Date.parse(draft.notBefore);
  if (notBefore !== null && !(notBefore > nowMs - 60_000 && notBefore <= nowMs + YEAR_MS)) wrong.not_before = 'not_before';
  if (Object.keys(wrong).length > 0) return { wrong };
  const to = draft.to === 'everyone' ? ['everyone'] : draft.to === 'role' ? [`role:${draft.role}`] : users.map((user) => `user:${user}`);
  return {
    announcement: {
      title,
      body,
      ...(url === '' ? {} : { url }),
      ...(image === '' ? {} : { image }),
      severity: draft.severity,
      ...(draft.to === 'group' ? { group: draft.group.trim() } : { to }),
      ...(notBefore === null ? {} : { not_before: new Date(notBefore).toISOString() }),
      ttl: draft.ttl,
    },
  };
}

/** How many people it is for, as far as that is known here; null where it is not. */
export function reach(draft: Draft, users: readonly User[] | null): number | null {
  if (users === null || draft.to === 'group') return null;
  if (draft.to === 'everyone') return users.length;
  if (draft.to === 'role') return users.filter((user) => ROLES.indexOf(user.role) >= ROLES.indexOf(draft.role)).length;
  const wanted = names(draft.users);
  return users.filter((user) => wanted.includes(user.name)).length;
}

/** Named, but not there. */
export function strangers(draft: Draft, users: readonly User[] | null): string[] {
  if (users === null || draft.to !== 'users') return [];
  return names(draft.users).filter((name) => !users.some((user) => user.name === name));
}
