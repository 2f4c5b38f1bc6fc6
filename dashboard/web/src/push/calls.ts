/** Calls of the settings and of announcements, apart from the others because they are needed on those pages alone. */

import { call, type Paging, query } from '../api/client';
import type {
  Announcement,
  EndpointPreferences,
  NewAnnouncement,
  Page,
  Preferences,
  ProviderState,
  PushEndpoint,
  PushMessage,
} from '../api/types';

const id = encodeURIComponent;

export interface MessageFilter extends Paging {
  user?: string | null;
  kind?: string | null;
  state?: string | null;
  reason?: string | null;
}

export const calls = {
  preferences: (signal?: AbortSignal) => call<Preferences>('GET', 'push/preferences', undefined, signal),
  savePreferences: (preferences: Preferences) => call<Preferences>('PUT', 'push/preferences', preferences),
  patchEndpoint: (endpoint: string, change: { label?: string; muted?: boolean; preferences?: EndpointPreferences }) =>
    call<PushEndpoint>('PATCH', `push/endpoints/${id(endpoint)}`, change),
  confirm: (endpoint: string, code: string) => call<PushEndpoint>('POST', `push/endpoints/${id(endpoint)}/confirm`, { code }),
  resend: (endpoint: string) => call<unknown>('POST', `push/endpoints/${id(endpoint)}/confirm/resend`),
  messages: (filter: MessageFilter, signal?: AbortSignal) =>
    call<Page<PushMessage>>('GET', `push/messages${query({ ...filter })}`, undefined, signal),
  providers: (signal?: AbortSignal) => call<{ items: ProviderState[] }>('GET', 'push/providers', undefined, signal),
  announcements: (paging: Paging, signal?: AbortSignal) =>
    call<Page<Announcement>>('GET', `push/announcements${query({ ...paging })}`, undefined, signal),
  announce: (announcement: NewAnnouncement) => call<Announcement>('POST', 'push/announcements', announcement),
  steer: (announcement: string, to: 'pause' | 'resume' | 'cancel') =>
    call<Announcement>('POST', `push/announcements/${id(announcement)}/${to}`),
};
