import { describe, expect, test } from '@jest/globals';
import { count, formatBytes, formatClock, formatPercent, formatSeconds } from './units.ts';

describe('numbers for people', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [2 ** 20 - 1, '1.0 MiB'],
    [268_435_456, '256.0 MiB'],
    [2 ** 40, '1.0 TiB'],
    [2 ** 60, '1024.0 PiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each([
    [0, '0:00'],
    [59.6, '1:00'],
    [754, '12:34'],
    [11_109, '3:05:09'],
  ])('%d seconds on the clock are %s', (seconds, text) => {
    expect(formatClock(seconds)).toBe(text);
  });

  test.each([
    [0.4211, '0.42 s'],
    [17.34, '17.3 s'],
    [125, '2:05'],
  ])('%d seconds of work are %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  test('nothing is 100 % before its end', () => {
    expect(formatPercent(0.99999)).toBe('99.9 %');
    expect(formatPercent(1)).toBe('100.0 %');
    expect(formatPercent(1.2)).toBe('100.0 %');
    expect(formatPercent(-1)).toBe('0.0 %');
  });

  test('a count has the right noun', () => {
    expect(count(1, 'snapshot')).toBe('1 snapshot');
    expect(count(0, 'snapshot')).toBe('0 snapshots');
    expect(count(2, 'index', 'indexes')).toBe('2 indexes');
  });
});
