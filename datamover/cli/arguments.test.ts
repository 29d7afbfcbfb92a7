import { describe, expect, test } from '@jest/globals';
import {
  collectSetting,
  collectTagLists,
  collectTags,
  parseKeep,
  parseSize,
  parseSpan,
  parseTime,
} from './arguments.ts';

describe('arguments that make sense', () => {
  test('sizes', () => {
    expect([parseSize('500M'), parseSize('1.5g'), parseSize('7'), parseSize('2KiB')]).toEqual([
      500 * 2 ** 20,
      1.5 * 2 ** 30,
      7,
      2048,
    ]);
  });
  test('spans', () => {
    expect([parseSpan('30s'), parseSpan('1h30m'), parseSpan('2d')]).toEqual([30_000, 5_400_000, 172_800_000]);
  });
  test('times in both spellings', () => {
    expect(parseTime('2026-11-20T12:00:00+01:00').toISOString()).toBe('2026-11-20T11:00:00.000Z');
    expect(parseTime('2026-11-20 12:00:00').getHours()).toBe(12);
    expect(parseTime('2026-11-20').getHours()).toBe(0);
  });
  test('tags, tag lists and settings add up', () => {
    expect(collectTags('c', collectTags('a,b'))).toEqual(['a', 'b', 'c']);
    expect(collectTagLists('c', collectTagLists('a,b'))).toEqual([['a', 'b'], ['c']]);
    expect(collectSetting('s3.region=eu', collectSetting('s3.bucket-lookup=dns'))).toEqual({
      's3.bucket-lookup': 'dns',
      's3.region': 'eu',
    });
  });
  test('how many to keep', () => {
    expect([parseKeep('7'), parseKeep('unlimited'), parseKeep('-1')]).toEqual([7, 'unlimited', 'unlimited']);
  });
});

describe('arguments that do not', () => {
  test.each(['', 'M', '-1', '1.5.5G', '5X'])('size %j', (text) => {
    expect(() => parseSize(text)).toThrow('Write a size');
  });
  test.each(['', '5', 'm', '5m x', '-5m'])('span %j', (text) => {
    expect(() => parseSpan(text)).toThrow('Write a time span');
  });
  test.each(['', 'yesterday', '2026-13-01', '2026-11-20T12:00:00', '20.11.2026', '1'])('time %j', (text) => {
    expect(() => parseTime(text)).toThrow('Write a time');
  });
  test.each(['', '-2', '1.5', 'all'])('keep %j', (text) => {
    expect(() => parseKeep(text)).toThrow('Write a number');
  });
  test.each(['', 'region=x', 's3.region', 's3=x'])('setting %j', (text) => {
    expect(() => collectSetting(text)).toThrow('KEY=VALUE');
  });
});
