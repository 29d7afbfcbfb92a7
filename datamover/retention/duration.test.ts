import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, isZero, parseDuration } from './duration.ts';

describe('parseDuration', () => {
  test.each([
    ['1y5m7d2h', { years: 1, months: 5, days: 7, hours: 2 }],
    ['2h7d', { years: 0, months: 0, days: 7, hours: 2 }],
    ['1d1d', { years: 0, months: 0, days: 1, hours: 0 }],
    ['1d-1h', { years: 0, months: 0, days: 1, hours: -1 }],
    ['', { years: 0, months: 0, days: 0, hours: 0 }],
  ])('reads "%s"', (text, span) => {
    expect(parseDuration(text)).toEqual(span);
  });

  test.each(['5', '1w', 'd', '1 d', '1.5d', '1d x', '--1d'])('refuses "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(RangeError);
  });
});

test('what is written can be read', () => {
  const part = fc.integer({ min: -1000, max: 1000 });
  fc.assert(
    fc.property(fc.record({ years: part, months: part, days: part, hours: part }), (span) => {
      expect(parseDuration(formatDuration(span))).toEqual(span);
      expect(isZero(span)).toBe(formatDuration(span) === '');
    }),
  );
});
