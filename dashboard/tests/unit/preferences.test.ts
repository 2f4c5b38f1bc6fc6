/** What people want to be told, as it is edited; and what became of messages, in words. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Delivery, Preferences, PushMessage, User } from '../../web/src/api/types';
import { loadTexts } from '../../web/src/i18n';
import { bytes, empty, reach, read as readAnnouncement, strangers } from '../../web/src/pages/announcements/form';
import { together } from '../../web/src/pages/settings/outcomes';
import { at, draftOf, ownOf, placeChanged, placeOf, read, readOwn, readWindow, sameDraft, sameOwn, writeDays } from '../../web/src/pages/settings/preferences';
import { inShort, windowWords } from '../../web/src/pages/settings/words';
import { eventWords, heldWords, kindWords, outcome, reasonWords, whyWords } from '../../web/src/push/words';

beforeAll(async () => {
  const texts = readFileSync(resolve(import.meta.dirname, '../../web/src/i18n/en.json'), 'utf8');
  vi.stubGlobal('fetch', async () => new Response(texts));
  await loadTexts();
});

const PREFERENCES: Preferences = {
  severities: ['warning', 'critical'],
  groups: ['north'],
  resolved: false,
  quiet_hours: { zone: 'Europe/Berlin', windows: ['mon,tue,wed,thu,fri 22:00-06:00', 'sat,sun 00:00-24:00'], critical_passes: false },
  digest: '30m',
  per_minute: 10,
  sound: 'auto',
  require_interaction: 'critical',
  language: 'de',
};
const PLAIN: Preferences = { ...PREFERENCES, severities: ['info', 'warning', 'critical'], groups: null, quiet_hours: null, digest: null };

describe('windows', () => {
  it.each([
    ['mon-fri 22:00-06:00', 'mon,tue,wed,thu,fri', '22:00', '06:00'],
    ['sat,sun 00:00-24:00', 'sat,sun', '00:00', '24:00'],
    ['daily 21:30-05:00', 'mon,tue,wed,thu,fri,sat,sun', '21:30', '05:00'],
    ['fri-mon 01:00-02:00', 'mon,fri,sat,sun', '01:00', '02:00'],
    [' MON-tue,thu  01:00 - 02:00 ', 'mon,tue,thu', '01:00', '02:00'],
  ])('%s', (text, days, from, to) => {
    expect(readWindow(text)).toEqual({ days: days.split(','), from, to });
  });

  it('what is none is none', () => {
    expect(['', 'mon', '22:00-06:00', 'monday 22:00-06:00', 'mon 22-06', 'mon-foo 22:00-06:00'].map(readWindow)).toEqual(Array(6).fill(null));
  });

  it('days are written as people write them', () => {
    expect(writeDays(['mon', 'tue', 'wed', 'thu', 'fri'])).toBe('mon-fri');
    expect(writeDays(['sat', 'sun'])).toBe('sat,sun');
    expect(writeDays(['mon', 'wed', 'fri'])).toBe('mon,wed,fri');
    expect(writeDays(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).toBe('daily');
    expect(windowWords('mon-fri 22:00-06:00')).toBe('Mon–Fri 22:00–06:00');
    expect(windowWords('daily 22:00-06:00')).toBe('Daily 22:00–06:00');
  });
});

describe('preferences', () => {
  it('what the server says comes back as it was, written as people do', () => {
    expect(read(draftOf(PREFERENCES))).toEqual({
      preferences: { ...PREFERENCES, quiet_hours: { zone: 'Europe/Berlin', windows: ['mon-fri 22:00-06:00', 'sat,sun 00:00-24:00'], critical_passes: false } },
    });
    expect(read(draftOf(PLAIN))).toEqual({ preferences: PLAIN });
    expect(read(draftOf({ ...PLAIN, digest: '60m' }))).toMatchObject({ preferences: { digest: '1h' } });
  });

  it('without quiet hours the form begins with a night in the zone of the browser', () => {
    const draft = draftOf(PLAIN);
    expect(draft.quiet).toBe(false);
    draft.quiet = true;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    expect(read(draft)).toMatchObject({ preferences: { quiet_hours: { zone, windows: ['daily 22:00-06:00'], critical_passes: true } } });
  });

  it('all mistakes are told at their fields', () => {
    const draft = draftOf(PREFERENCES);
    draft.severities = [];
    draft.groups = [];
    draft.zone = ' ';
    draft.windows = [{ days: [], from: '22:00', to: '06:00' }, { days: ['mon'], from: '22:00', to: '22:00' }, { days: ['mon'], from: '', to: '06:00' }];
    draft.perMinute = '61';
    expect(read(draft)).toEqual({
      wrong: {
        severities: 'severities',
        groups: 'groups',
        'quiet_hours.zone': 'zone',
        'quiet_hours.windows[0]': 'days',
        'quiet_hours.windows[1]': 'time',
        'quiet_hours.windows[2]': 'time',
        per_minute: 'per_minute',
      },
    });
    draft.quiet = false;
    draft.allGroups = true;
    expect(read(draft)).toEqual({ wrong: { severities: 'severities', per_minute: 'per_minute' } });
  });

  it('a change is one that the server would see', () => {
    const [a, b] = [draftOf(PLAIN), draftOf(PLAIN)];
    b.groups.push('typed while all devices are chosen');
    b.windows[0]!.from = '20:00';
    expect(sameDraft(a, b)).toBe(true);
    b.quiet = true;
    expect(sameDraft(a, b)).toBe(false);
    a.perMinute = b.perMinute = 'many';
    expect(sameDraft(a, b)).toBe(false);
  });

  it('an endpoint has of its own what it says, also that there is none', () => {
    expect(at(PREFERENCES, { quiet_hours: null, sound: 'never' })).toEqual({ ...PREFERENCES, quiet_hours: null, sound: 'never' });
    expect(ownOf(PLAIN, ['groups', 'digest'])).toEqual({ groups: null, digest: null });
    expect(ownOf(PLAIN, [])).toEqual({});
  });

  it('saving an endpoint keeps what it has of its own, whatever is wrong in what is as everywhere', () => {
    const stored = draftOf(at(PLAIN, { severities: ['critical'] }));
    const draft = draftOf(at(PLAIN, { severities: ['critical'] }));
    // "Only some groups", with none: wrong while it is the endpoint's own, nothing after "As everywhere".
    draft.allGroups = false;
    expect(readOwn(draft, ['severities', 'groups'])).toEqual({ wrong: { groups: 'groups' } });
    expect(readOwn(draft, ['severities'])).toEqual({ preferences: { severities: ['critical'] } });
    expect(sameOwn(draft, stored, ['severities'])).toBe(true);
    draft.severities = ['warning', 'critical'];
    expect(sameOwn(draft, stored, ['severities'])).toBe(false);
    // Also what a later server allows and this form does not.
    draft.perMinute = '600';
    draft.quiet = true;
    draft.windows = [{ days: [], from: '', to: '' }];
    expect(readOwn(draft, ['severities'])).toEqual({ preferences: { severities: ['warning', 'critical'] } });
    expect(readOwn(draft, ['severities', 'quiet_hours'])).toEqual({ wrong: { 'quiet_hours.windows[0]': 'days' } });
  });

  it('a group that is typed and not added is saved with the others', () => {
    const draft = draftOf(PREFERENCES);
    draft.typed = ' south ';
    expect(read(draft)).toMatchObject({ preferences: { groups: ['north', 'south'] } });
    expect(sameDraft(draft, draftOf(PREFERENCES))).toBe(false);
    draft.typed = 'north';
    expect(sameDraft(draft, draftOf(PREFERENCES))).toBe(true);
    expect(readOwn({ ...draft, groups: [], typed: 'south' }, ['groups'])).toEqual({ preferences: { groups: ['south'] } });
    expect(read({ ...draft, groups: [], typed: ' ' })).toEqual({ wrong: { groups: 'groups' } });
    // Nothing is chosen where all are.
    expect(read({ ...draftOf(PLAIN), typed: 'south' })).toMatchObject({ preferences: { groups: null } });
  });

  it('an endpoint that is edited knows whether anything would be saved', () => {
    const place = placeOf('Phone', { severities: ['critical'] }, PLAIN);
    expect(place).toMatchObject({ label: 'Phone', own: ['severities'], draft: { severities: ['critical'], allGroups: true } });
    expect(placeChanged(place)).toBe(false);
    place.draft.sound = 'never';
    expect(placeChanged(place)).toBe(false);
    place.own.push('sound');
    expect(placeChanged(place)).toBe(true);
    place.own = ['severities'];
    place.draft.severities.push('warning');
    expect(placeChanged(place)).toBe(true);
    expect(placeChanged({ ...placeOf('Phone', {}, PLAIN), label: 'Telephone' })).toBe(true);
    expect(placeChanged({ ...placeOf('Phone', {}, PLAIN), label: ' Phone ' })).toBe(false);
  });

  it('in short', () => {
    const all = (preferences: Preferences) => (['severities', 'groups', 'resolved', 'quiet_hours', 'digest', 'sound', 'require_interaction'] as const).map((key) => inShort(key, preferences));
    expect(all(PREFERENCES)).toEqual(['Warning, Critical', 'north', 'no', 'Mon, Tue, Wed, Thu, Fri 22:00–06:00; Sat, Sun 00:00–24:00 (Europe/Berlin)', 'Gathered, every 30 min', 'warnings and worse', 'what is critical']);
    expect(all(PLAIN)).toEqual(['all', 'All devices', 'no', 'none', 'At once, one by one', 'warnings and worse', 'what is critical']);
  });
});

describe('what became of a message', () => {
  const delivery = (change: Partial<Delivery>): Delivery => ({ id: 'D', endpoint: 'E', endpoint_label: 'Phone', kind: 'fcm', state: 'delivered', attempts: 1, reason: '', next_attempt: null, held: null, provider_id: null, timeline: [], ...change });
  const message = (change: Partial<PushMessage>): PushMessage => ({ id: 'M', user: 'kim', kind: 'firing', alert: null, severity: 'critical', title: 'T', body: '', created: '', state: 'done', reason: '', reason_text: '', deliveries: [delivery({})], ...change });

  it.each<[string, Partial<PushMessage>, string, string]>([
    ['delivered', {}, 'check', 'Delivered to 1 of 1'],
    ['opened', { opened: '2026-11-21T09:00:00Z', dismissed: '2026-11-21T09:00:00Z' }, 'check', 'Delivered to 1 of 1 · opened'],
    ['dismissed', { dismissed: '2026-11-21T09:00:00Z' }, 'check', 'Delivered to 1 of 1 · dismissed'],
    ['looking', { reason: 'watching', reason_text: 'not pushed: kim had a visible page' }, 'silenced', 'Not pushed, because you were looking'],
    ['a reason of a later server', { reason: 'full_moon', reason_text: 'not pushed: the moon is full' }, 'silenced', 'not pushed: the moon is full'],
    ['grace', { state: 'waiting' }, 'wait', 'Waits a moment, in case you look here anyway'],
    ['under way', { state: 'sending', deliveries: [delivery({ state: 'queued' }), delivery({ state: 'queued', held: 'digest' })] }, 'send', 'Sending …'],
    ['given up here, delivered there', { deliveries: [delivery({}), delivery({ state: 'dead' }), delivery({ state: 'dropped' })] }, 'warning', 'Delivered to 1 of 3 · failed in 2 places'],
    ['gathered', { deliveries: [delivery({ state: 'digested', reason: 'digested' })] }, 'silenced', 'Told together with others, in one message'],
    ['gathered, as the server says it', { deliveries: [delivery({ state: 'digested', reason: 'told together with others' })] }, 'silenced', 'Told together with others'],
    ['for different reasons', { deliveries: [delivery({ state: 'withdrawn', reason: 'muted' }), delivery({ state: 'withdrawn', reason: 'severity_unwanted' })] }, 'silenced', 'Not pushed'],
    ['for one reason', { deliveries: [delivery({ state: 'withdrawn', reason: 'muted' }), delivery({ state: 'withdrawn', reason: 'muted' })] }, 'silenced', 'Not pushed: the place is muted'],
  ])('%s', (_name, change, icon, text) => {
    expect(outcome(message(change))).toEqual({ icon, text });
  });

  it('what newer messages push off the first page stays in the list, each once', () => {
    const named = (...ids: string[]) => ids.map((id) => message({ id }));
    // "Show older ones" with 4, 3 in sight; then 6 and 5 come.
    const shown = together(together(named('4', '3'), []), named('3', '2', '1'));
    expect(together(named('6', '5'), shown).map((one) => one.id)).toEqual(['6', '5', '4', '3', '2', '1']);
    // What is asked for again is shown as it is now.
    expect(together([message({ id: '4', state: 'sending' })], shown)[0]).toMatchObject({ id: '4', state: 'sending' });
  });

  it('held messages say until when and why', () => {
    const next = new Date(Date.now() + 3_600_000).toISOString();
    const held = delivery({ state: 'queued', held: 'quiet_hours', next_attempt: next });
    expect(heldWords(held)).toMatch(/^Held until \S+ \d\d:\d\d.*: your quiet hours$/);
    expect(heldWords({ held: 'storm', next_attempt: null })).toBe('Held: there were too many messages at once');
    expect(heldWords({ held: null, next_attempt: next })).toBeNull();
    const later = delivery({ state: 'queued', held: 'digest', next_attempt: new Date(Date.now() + 7_200_000).toISOString() });
    expect(outcome(message({ state: 'sending', deliveries: [later, held] })).text).toMatch(/^Held until .*quiet hours$/);
    expect(outcome(message({ state: 'sending', deliveries: [delivery({}), held] })).text).toMatch(/^Delivered to 1 of 2 · Held until /);
  });

  it('words for what is known, and its name for what is not', () => {
    expect(eventWords('unclear')).toBe('No answer: it may have arrived');
    expect(eventWords('moved_house')).toBe('moved house');
    expect(reasonWords('full_moon')).toBeNull();
    expect(whyWords('provider said no')).toBe('Provider said no');
    expect([kindWords('digest'), kindWords('poem')]).toEqual(['digest', 'poem']);
  });
});

describe('an announcement', () => {
  const NOW = Date.parse('2026-11-21T09:00:00Z');
  const users: User[] = [{ name: 'kim', role: 'operator' }, { name: 'lee', role: 'viewer' }, { name: 'max', role: 'operator' }];

  it('is sent with what was said, and no more', () => {
    expect(readAnnouncement({ ...empty(), title: ' Hello ' }, NOW)).toEqual({ announcement: { title: 'Hello', body: '', severity: 'info', to: ['everyone'], ttl: '1d' } });
    const whole = { ...empty(), title: 'T', body: 'B', url: '/alerts', image: 'https://x.example/1.png', to: 'users' as const, users: 'kim, lee kim', notBefore: '2026-11-22T09:00', ttl: '4h' };
    expect(readAnnouncement(whole, NOW)).toEqual({
      announcement: { title: 'T', body: 'B', url: '/alerts', image: 'https://x.example/1.png', severity: 'info', to: ['user:kim', 'user:lee'], not_before: new Date('2026-11-22T09:00').toISOString(), ttl: '4h' },
    });
    expect(readAnnouncement({ ...empty(), title: 'T', to: 'role', role: 'admin' }, NOW)).toMatchObject({ announcement: { to: ['role:admin'] } });
    expect(readAnnouncement({ ...empty(), title: 'T', to: 'group', group: ' north ' }, NOW)).toEqual({ announcement: { title: 'T', body: '', severity: 'info', group: 'north', ttl: '1d' } });
  });

  it('all mistakes are told at their fields', () => {
    const draft = { ...empty(), body: 'é'.repeat(501), url: '//evil.example', image: 'http://x', to: 'users' as const, notBefore: '2020-01-01T00:00' };
    expect(readAnnouncement(draft, NOW)).toEqual({ wrong: { title: 'required', body: 'body_long', url: 'url', image: 'image', to: 'users', not_before: 'not_before' } });
    expect(readAnnouncement({ ...empty(), title: 'é'.repeat(61), to: 'group', notBefore: '2028-01-01T00:00', url: '/\\evil' }, NOW)).toEqual({ wrong: { title: 'title_long', group: 'group', not_before: 'not_before', url: 'url' } });
    expect(bytes('é')).toBe(2);
  });

  it('a time that was ahead when it was written is refused when it is past at sending', () => {
    const draft = { ...empty(), title: 'T', notBefore: '2026-11-22T09:00' };
    const then = new Date('2026-11-22T09:00').getTime();
    expect(readAnnouncement(draft, then - 60_000)).toHaveProperty('announcement');
    expect(readAnnouncement(draft, then + 120_000)).toEqual({ wrong: { not_before: 'not_before' } });
  });

  it('says how many people it is for, where that is known', () => {
    expect(reach(empty(), users)).toBe(3);
    expect(reach({ ...empty(), to: 'role', role: 'operator' }, users)).toBe(2);
    // A role means those above it, too, as in rules.
    expect(reach({ ...empty(), to: 'role', role: 'operator' }, [...users, { name: 'root', role: 'admin' }])).toBe(3);
    const named = { ...empty(), to: 'users' as const, users: 'kim, nobody' };
    expect(reach(named, users)).toBe(1);
    expect(strangers(named, users)).toEqual(['nobody']);
    expect([reach({ ...empty(), to: 'group', group: 'x' }, users), reach(empty(), null)]).toEqual([null, null]);
    expect(strangers(named, null)).toEqual([]);
  });
});
