/** What is typed into the form of commands. */

import { describe, expect, it } from 'vitest';
import type { ArgumentSpec } from '../../web/src/api/types';
import { newUlid } from '../../web/src/live/ulid';
import { readArgument, readArguments, readDuration, readJson, readName } from '../../web/src/pages/device/commands/form';
import { boxText } from '../../web/src/ui/typed';

const spec = (change: Partial<ArgumentSpec>): ArgumentSpec => ({ name: 'a', type: 'f64', required: true, min: null, max: null, unit: '', ...change });

describe('arguments of a command', () => {
  it.each([
    [spec({}), '-22.5', { value: -22.5 }],
    [spec({}), ' -22,5 ', { value: -22.5 }],
    [spec({}), '', { wrong: 'required' }],
    [spec({ required: false }), '', { value: undefined }],
    [spec({}), 'warm', { wrong: 'number' }],
    [spec({}), '1e999', { wrong: 'number' }],
    [spec({ min: -30, max: -10 }), '-31', { wrong: 'min', limit: '-30' }],
    [spec({ min: -30, max: -10 }), '-9.9', { wrong: 'max', limit: '-10' }],
    [spec({ min: -30, max: -10 }), '-30', { value: -30 }],
    [spec({ type: 'i64' }), '7', { value: 7 }],
    [spec({ type: 'i64' }), '7.5', { wrong: 'integer' }],
    [spec({ type: 'i64' }), '9007199254740993', { wrong: 'integer' }],
    [spec({ type: 'bool' }), 'false', { value: false }],
    [spec({ type: 'bool' }), '', { wrong: 'required' }],
    [spec({ type: 'text' }), ' as it is ', { value: ' as it is ' }],
    [spec({ type: 'text' }), 'é'.repeat(2_049), { wrong: 'long', limit: '4096' }],
  ])('%o of %o', (argument, text, expected) => {
    expect(readArgument(argument, text)).toEqual(expected);
  });

  it('all mistakes are told at once, and what is empty is left out', () => {
    const specs = [spec({ name: 'target' }), spec({ name: 'speed', type: 'i64' }), spec({ name: 'note', type: 'text', required: false })];
    expect(readArguments(specs, { target: '-20', speed: 'fast' })).toEqual({ values: { target: -20 }, wrong: { speed: { wrong: 'number' } } });
  });

  it.each([
    ['', { value: {} }],
    ['{"target": -22.5, "on": true}', { value: { target: -22.5, on: true } }],
    ['{"target": }', { wrong: 'json' }],
    ['[1]', { wrong: 'object' }],
    ['null', { wrong: 'object' }],
    ['{"a": {"b": 1}}', { wrong: 'value', limit: 'a' }],
  ])('JSON %s', (text, expected) => {
    expect(readJson(text)).toEqual(expected);
  });

  it('names and lengths of time', () => {
    expect(readName(' restart_compressor ')).toEqual({ value: 'restart_compressor' });
    expect(readName('no spaces')).toEqual({ wrong: 'name' });
    expect(readDuration('', 1, 10)).toEqual({ value: undefined });
    for (const [text, value] of [['30', '30s'], ['30 s', '30s'], ['5m', '300s'], ['5 min', '300s'], ['1,5 h', '5400s'], ['2d', '172800s']]) {
      expect(readDuration(text as string, 1, 30 * 86_400), text).toEqual({ value });
    }
    for (const text of ['0', '-1', '31d', 'soon', '1 week']) {
      expect(readDuration(text, 1, 30 * 86_400), text).toMatchObject({ wrong: 'duration' });
    }
  });

  it('ids of our own are ULIDs that sort by time and differ', () => {
    const one = newUlid(1_700_000_000_000);
    expect(one).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(newUlid(1_700_000_000_001) > one).toBe(true);
    expect(newUlid(1_700_000_000_000)).not.toBe(one);
  });
});

describe('a search box', () => {
  it('follows the filter in force, and loses nothing that is being typed', () => {
    // Another filter was chosen while someone types.
    expect(boxText('pum', '', '')).toBe('pum');
    // Its own text came into force: the blank at the end is the beginning of a next word.
    expect(boxText('pump ', '', 'pump')).toBe('pump ');
    // A link, the way back, or all filters cleared.
    expect(boxText('pump', 'pump', 'fan')).toBe('fan');
    expect(boxText('pump', 'pump', '')).toBe('');
  });
});
