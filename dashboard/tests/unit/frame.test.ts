/** The codec against bytes written by hand from SPEC §3 and §9. */

import { describe, expect, it } from 'vitest';
import { Reader } from '../../web/src/live/bytes';
import {
  type AlertEvent,
  decode,
  encodeClose,
  encodeEventsResume,
  encodeHeartbeat,
  encodeSubscribe,
  encodeUnsubscribe,
  type Message,
} from '../../web/src/live/frame';

/** Bytes of hexadecimal text; white space and what follows a `#` in a line are for the reader. */
function bytes(text: string): ArrayBuffer {
  const digits = text.replace(/#.*$/gm, '').replace(/\s/g, '');
  const out = new Uint8Array(digits.length / 2);
  for (let index = 0; index < out.length; index += 1) out[index] = Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16);
  return out.buffer;
}

/** The text of a frame: its header (SPEC §2) and a payload. */
function frame(type: string, payload: string): string {
  const { byteLength } = bytes(payload);
  return `abcd 01 ${type} ${byteLength.toString(16).padStart(8, '0')} ${payload.replace(/#.*$/gm, '')} `;
}

function hex(frame: Uint8Array): string {
  return [...frame].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function check(text: string, expected: Message): void {
  expect(decode(bytes(text))).toEqual({ messages: [expected], error: null });
}

describe('messages of the server', () => {
  it('LIVE_WELCOME, with every width of varint', () => {
    check(
      frame(
        '80',
        `fd 8877665544332211   # epoch
         fb fb00               # position 251
         fd 0000a2948dd40c00   # zigzag of server_time_us
         fb 8813               # heartbeat_interval_ms 5000
         40 64                 # subscriptions_max 64, interval_ms_min 100`,
      ),
      {
        type: 'welcome',
        epoch: 0x1122334455667788n,
        position: 251n,
        serverTimeUs: 0x0006_6a46_ca51_0000,
        heartbeatIntervalMs: 5000,
        subscriptionsMax: 64,
        intervalMsMin: 100,
        eventsEpoch: 0n,
        eventsPosition: 0n,
      },
    );
  });

  it('LIVE_WELCOME with the lossless lane', () => {
    check(frame('80', '00 00 00 00 00 00  fb e803 07'), {
      type: 'welcome',
      epoch: 0n,
      position: 0n,
      serverTimeUs: 0,
      heartbeatIntervalMs: 0,
      subscriptionsMax: 0,
      intervalMsMin: 0,
      eventsEpoch: 1000n,
      eventsPosition: 7n,
    });
  });

  it('SERIES_DEF', () => {
    check(frame('83', '07 01  00  02 6431  05 70ce8a2f73  02 c2b0  00'), {
      type: 'series',
      subscription: 7,
      series: [{ index: 0, device: 'd1', metric: 'pΊ/s', unit: '°', type: 'f64', labels: [] }],
    });
  });

  it('SERIES_DEF of a result over many devices', () => {
    check(frame('83', '07 01  03  00  01 74  00  00   01 02 08 7461673a73697465 01 6e  05 67726f7570 00'), {
      type: 'series',
      subscription: 7,
      series: [
        {
          index: 3,
          device: '',
          metric: 't',
          unit: '',
          type: 'f64',
          labels: [
            { name: 'tag:site', value: 'n' },
            { name: 'group', value: '' },
          ],
        },
      ],
    });
    expect(decode(bytes(frame('83', '07 00 01 00'))).error?.name).toBe('MalformedError');
  });

  it('positions of the lossless lane', () => {
    const { messages, error } = decode(
      bytes(frame('88', '00 00 09 07') + frame('89', '00 0a 09') + frame('85', '00 0b 0a') + frame('8d', '00 fb 2c01 0b')),
    );
    expect(error).toBeNull();
    expect(messages).toEqual([
      { type: 'alerts', alerts: [], position: 9n, previous: 7n },
      { type: 'commands', commands: [], position: 10n, previous: 9n },
      { type: 'presence', devices: [], position: 11n, previous: 10n },
      { type: 'events_lost', count: 0n, position: 300n, previous: 11n },
    ]);
  });

  it('BATCH, whose columns are views of the received bytes', () => {
    const buffer = bytes(frame('84', `
      07000000 03000000 0900000000000000 0500000000000000
      40420f0000000000 03000000 00000000
      00000000 01000000 00000000  00000000   # series, padded
      00000000 e8030000 d0070000  00000000   # offsets, padded
      000000000000f83f 000000000000f07f 00000000000000c0`));
    const { messages, error } = decode(buffer);
    expect(error).toBeNull();
    const batch = messages[0];
    if (batch?.type !== 'batch') throw new Error('no BATCH');
    expect({ ...batch, series: [...batch.series], offsetsUs: [...batch.offsetsUs], values: [...batch.values] }).toEqual({
      type: 'batch',
      subscription: 7,
      position: 9n,
      previous: 5n,
      baseUs: 1_000_000,
      history: true,
      conflated: true,
      series: [0, 1, 0],
      offsetsUs: [0, 1000, 2000],
      values: [1.5, Number.POSITIVE_INFINITY, -2],
    });
    for (const column of [batch.series, batch.offsetsUs, batch.values]) expect(column.buffer).toBe(buffer);
  });

  it('BATCH without samples', () => {
    const { messages, error } = decode(bytes(frame('84', `01000000 00000000 ${'00'.repeat(32)}`)));
    expect(error).toBeNull();
    expect(messages[0]).toMatchObject({ type: 'batch', subscription: 1, position: 0n });
  });

  it('BATCH with short columns: each is read as what it is, and times in runs are spread', () => {
    const { messages, error } = decode(bytes(frame('84', `
      07000000 03000000 ${'00'.repeat(24)} 1c000000 00000000
      0000 0100 ffff 0000
      02000000 00000000  05000000 07000000  02000000 01000000
      0000c03f 0000807f 000000c0 00000000`)));
    expect(error).toBeNull();
    const read = messages[0];
    if (read?.type !== 'batch') throw new Error('no BATCH');
    expect([...read.series]).toEqual([0, 1, 65535]);
    expect([...read.offsetsUs]).toEqual([5, 5, 7]);
    expect([...read.values]).toEqual([1.5, Number.POSITIVE_INFINITY, -2]);
  });

  it.each([
    ['runs for fewer samples', '01000000 00000000  00000000 00000000  01000000 00000000'],
    ['runs for more samples', '01000000 00000000  00000000 00000000  03000000 00000000'],
    ['a run without samples', '02000000 00000000  00000000 00000000  02000000 00000000'],
    ['more runs than there are bytes', 'ffffffff 00000000  00000000 00000000  02000000 00000000'],
    ['no runs at all', ''],
  ])('BATCH with %s is not read', (_what, runs) => {
    const { messages, error } = decode(bytes(frame('84', `01000000 02000000 ${'00'.repeat(24)} 1c000000 00000000 0000 0100 00000000 ${runs}`)));
    expect(messages).toEqual([]);
    expect(error?.name).toBe('MalformedError');
  });

  it('BATCH that is not alone in its message is read all the same', () => {
    const heartbeat = frame('87', '02 05');
    const batch = frame('84', `01000000 01000000 ${'00'.repeat(32)} 02000000 00000000 03000000 00000000 000000000000f03f`);
    const { messages, error } = decode(bytes(heartbeat + batch));
    expect(error).toBeNull();
    const read = messages[1];
    if (read?.type !== 'batch') throw new Error('no BATCH');
    expect([...read.series, ...read.offsetsUs, ...read.values]).toEqual([2, 3, 1]);
  });

  it('TEXTS', () => {
    check(frame('8c', '01 09 05 01  01  00 04 04 6f6bc3a9'), {
      type: 'texts',
      subscription: 1,
      position: 9n,
      previous: 5n,
      history: true,
      items: [{ series: 0, timeUs: 2, text: 'oké' }],
    });
  });

  it('PRESENCE', () => {
    check(frame('85', '02  01 61 01 fb d007  01 62 00 00'), {
      type: 'presence',
      devices: [
        { device: 'a', state: 'online', lastSeenUs: 1000 },
        { device: 'b', state: 'offline', lastSeenUs: 0 },
      ],
      position: 0n,
      previous: 0n,
    });
  });

  it('GAP, HEARTBEAT, SNAPSHOT_END, REFUSED and CLOSE back to back', () => {
    const { messages, error } = decode(
      bytes(
        frame('86', '01 02 09 01') +
          frame('87', '01 0a') +
          frame('8a', '01 0a 03') +
          frame('8b', '01 04 02 6e6f') +
          frame('05', 'fb b10f 02 6e6f 00 fb e803'),
      ),
    );
    expect(error).toBeNull();
    expect(messages).toEqual([
      { type: 'gap', subscription: 1, from: 2n, to: 9n, reason: 'slow_reader' },
      { type: 'heartbeat', timeUs: -1, position: 10n, visible: false },
      { type: 'snapshot_end', subscription: 1, position: 10n, series: 3 },
      { type: 'refused', subscription: 1, code: 4, text: 'no' },
      { type: 'close', code: 4017, text: 'no', reconnect: false, retryAfterMs: 1000 },
    ]);
  });

  it('ALERT', () => {
    const id = '019aa43da2e5a1f45d127424c668 01ef';
    check(
      frame(
        '88',
        `01  ${id} 02  02 6372 04 436f6c64  02 6331 01 74  02 00   # revision 2, cr, Cold, c1, t, critical, firing
         fb 1027  fb 204e  00                                  # started 5 ms, fired 10 ms, not resolved
         01 03 6b696d fb 3075                                  # kim, at 15 ms
         00000000000027c0  00  00000000000028c0  03 6f6b21     # -11.5 > -12`,
      ),
      {
        type: 'alerts',
        alerts: [
          {
            id: '01KAJ3V8Q5M7T5T4KM4K36G0FF',
            revision: 2,
            rule: 'cr',
            rule_name: 'Cold',
            device: 'c1',
            metric: 't',
            severity: 'critical',
            state: 'firing',
            started: '1970-01-01T00:00:00.005000Z',
            fired: '1970-01-01T00:00:00.010000Z',
            resolved: null,
            acknowledged: { user: 'kim', time: '1970-01-01T00:00:00.015000Z' },
            value: -11.5,
            comparison: '>',
            threshold: -12,
            text: 'ok!',
            condition: '',
            stale: false,
            flapping: false,
            recovering: false,
            isSilenced: false,
            child: false,
            kind: 'condition',
            members: 0,
            assigned: null,
          },
        ],
        position: 0n,
        previous: 0n,
      },
    );
  });

  describe('ALERT of two alerts', () => {
    const old = (id: string, value: string) =>
      `${'00'.repeat(15)}${id} 02  02 6372 04 436f6c64  02 6331 01 74  02 00  fb 1027  fb 204e  00 00  ${value}`;
    const above = '00000000000027c0  00  00000000000028c0  03 6f6b21';
    const other = '00000000000027c0  00  000000000000f87f  00';
    const decoded = (hex: string) => {
      const { messages, error } = decode(bytes(hex));
      expect(error).toBeNull();
      return (messages[0] as { alerts: AlertEvent[] }).alerts;
    };

    it('without what was appended, from a server of before', () => {
      const alerts = decoded(frame('88', `02 ${old('01', above)} ${old('02', above)}`));
      expect(alerts.map(({ threshold, condition, kind, assigned }) => [threshold, condition, kind, assigned])).toEqual([
        [-12, '', 'condition', null],
        [-12, '', 'condition', null],
      ]);
    });

    it('with it: a condition that is no threshold, and a group', () => {
      const one = '00 0b 00  03 613e62  01 03 6b696d';
      const two = '02 14 fb 2c01  00  00';
      expect(decoded(frame('88', `02 ${old('01', other)} ${old('02', above)}  02 ${one} ${two}`))).toMatchObject([
        { comparison: null, threshold: null, condition: 'a>b', stale: true, flapping: true, recovering: false, isSilenced: true, child: false, kind: 'condition', members: 0, assigned: 'kim' },
        { comparison: '>', threshold: -12, condition: '', stale: false, recovering: true, isSilenced: false, child: true, kind: 'group', members: 300, assigned: null },
      ]);
      expect(decoded(frame('88', `01 ${old('01', above)} 00`))).toMatchObject([{ condition: '', kind: 'condition' }]);
    });

    it('as many details as alerts, or none', () => {
      const { error } = decode(bytes(frame('88', `02 ${old('01', above)} ${old('02', above)} 01 00 00 00 00 00`)));
      expect(error?.name).toBe('MalformedError');
    });

    it('a list that ends too early is malformed', () => {
      const { error } = decode(bytes(frame('88', `02 ${old('01', above)}`)));
      expect(error?.name).toBe('MalformedError');
    });
  });

  it('COMMAND_STATE and EVENTS_LOST', () => {
    const { messages, error } = decode(
      bytes(frame('89', `01  ${'00'.repeat(15)}21 04  02 6331 02 676f 03 01  01 28 00 02 6f6b  fb 1027 01`) + frame('8d', '07')),
    );
    expect(error).toBeNull();
    expect(messages).toEqual([
      {
        type: 'commands',
        commands: [
          {
            id: '00000000000000000000000011',
            revision: 4,
            device: 'c1',
            name: 'go',
            state: 'in_progress',
            attempt: 1,
            percent: 40,
            code: '',
            text: 'ok',
            changed: '1970-01-01T00:00:00.005000Z',
            cancel_requested: true,
          },
        ],
        position: 0n,
        previous: 0n,
      },
      { type: 'events_lost', count: 7n, position: 0n, previous: 0n },
    ]);
  });

  it('an unknown type is skipped, and fields appended by a later version are ignored', () => {
    const { messages, error } = decode(bytes(frame('9f', '010203') + frame('8a', '01 0a 03 ffff')));
    expect(error).toBeNull();
    expect(messages).toEqual([
      { type: 'unknown', number: 0x9f },
      { type: 'snapshot_end', subscription: 1, position: 10n, series: 3 },
    ]);
  });
});

describe('what cannot be read', () => {
  const cases: [string, string][] = [
    ['a wrong magic', 'abce 01 87 00000002 01 0a'],
    ['another version', 'abcd 02 87 00000002 01 0a'],
    ['a header that is cut off', 'abcd 01 87 0000'],
    ['a length beyond the message', 'abcd 01 87 00000003 01 0a'],
    ['a payload that ends inside a field', frame('87', '01')],
    ['varint marker FE', frame('87', 'fe 0a')],
    ['a u32 that does not fit', frame('8a', 'fd ffffffff01000000 0a 03')],
    ['bool 2', frame('05', '01 00 02 00')],
    ['a variant that does not exist', frame('86', '01 02 09 03')],
    ['text that is not UTF-8', frame('8b', '01 04 02 c328')],
    ['a list longer than its payload', frame('85', 'fc ffffff7f')],
    ['BATCH shorter than its fixed part', frame('84', '00'.repeat(32))],
    ['BATCH with more samples than bytes', frame('84', `00000000 ffffffff ${'00'.repeat(32)}`)],
  ];
  it.each(cases)('%s is reported and never thrown', (_name, text) => {
    const { messages, error } = decode(bytes(text));
    expect(messages).toEqual([]);
    expect(error?.name).toBe('MalformedError');
  });

  it('keeps the messages before it', () => {
    const { messages, error } = decode(bytes(frame('8a', '01 0a 03') + frame('87', '01')));
    expect(messages).toHaveLength(1);
    expect(error).not.toBeNull();
  });

  it('random bytes never throw', () => {
    let seed = 12345;
    const random = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed >>> 16;
    };
    for (let round = 0; round < 5_000; round += 1) {
      const length = random() % 120;
      const data = new Uint8Array(8 + length);
      data.set([0xab, 0xcd, 1, [5, 0x80, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d][random() % 13] as number, 0, 0, 0, length]);
      for (let index = 8; index < data.length; index += 1) data[index] = random() & 255;
      decode(data.buffer);
    }
  });
});

describe('messages of the viewer', () => {
  it('SUBSCRIBE', () => {
    const subscribe = encodeSubscribe({
      subscription: 7,
      devices: ['pump-7'],
      metrics: [],
      intervalMs: 250,
      aggregate: 'last',
      historyMs: 300_000,
      resume: { epoch: 1n << 40n, position: 65_536n },
    });
    expect(hex(subscribe)).toBe(
      'ab cd 01 81 00 00 00 24 07 01 06 70 75 6d 70 2d 37 00 fa 01 fc e0 93 04 00 01 fd 00 00 00 00 00 01 00 00 fc 00 00 01 00 00 00 00 00',
    );
  });

  it('SUBSCRIBE without resume', () => {
    const subscribe = encodeSubscribe({
      subscription: 251,
      devices: [],
      metrics: ['é'],
      intervalMs: 100,
      aggregate: 'every',
      historyMs: 0,
      resume: null,
    });
    expect(hex(subscribe)).toBe('ab cd 01 81 00 00 00 10 fb fb 00 00 01 02 c3 a9 64 00 00 00 00 00 00 00');
  });

  it('SUBSCRIBE by group and tags, folded per site', () => {
    const subscribe = encodeSubscribe({
      subscription: 1,
      devices: [],
      metrics: [],
      intervalMs: 100,
      aggregate: 'p95',
      historyMs: 0,
      resume: null,
      groups: ['n'],
      tags: [['site', '']],
      across: ['tag:site'],
    });
    expect(hex(subscribe)).toBe(
      'ab cd 01 81 00 00 00 1d 01 00 00 64 07 00 00 01 01 6e 00 01 04 73 69 74 65 00 01 01 08 74 61 67 3a 73 69 74 65',
    );
    expect(hex(encodeEventsResume(7n, 300n))).toBe('ab cd 01 8e 00 00 00 04 07 fb 2c 01');
  });

  it('SUBSCRIBE with the most devices it may name', () => {
    const devices = Array.from({ length: 1_024 }, (_, index) => `device-${index}`);
    const subscribe = encodeSubscribe({
      subscription: 1,
      devices,
      metrics: [],
      intervalMs: 1_000,
      aggregate: 'last',
      historyMs: 0,
      resume: null,
    });
    const read = new Reader(subscribe.buffer, 8, subscribe.length);
    expect(read.u32()).toBe(1);
    expect(read.list(() => read.string())).toEqual(devices);
    expect(new DataView(subscribe.buffer).getUint32(4)).toBe(subscribe.length - 8);
  });

  it('UNSUBSCRIBE, HEARTBEAT and CLOSE', () => {
    expect(hex(encodeUnsubscribe(3))).toBe('ab cd 01 82 00 00 00 01 03');
    expect(hex(encodeHeartbeat(1, true))).toBe('ab cd 01 87 00 00 00 05 fb d0 07 00 01');
    expect(hex(encodeHeartbeat(-1, false))).toBe('ab cd 01 87 00 00 00 05 fb cf 07 00 00');
    expect(hex(encodeClose(1000, ''))).toBe('ab cd 01 05 00 00 00 06 fb e8 03 00 00 00');
  });
});
