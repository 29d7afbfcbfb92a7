import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compareMoments, isoWeek, momentOf, parseMoment, subtract, wallClock, type Zone } from './moment.ts';

const none = { years: 0, months: 0, days: 0, hours: 0 };

describe('parseMoment', () => {
  test.each([
    ['1970-01-01T00:00:00Z', { seconds: 0, nanos: 0, offset: 0 }],
    ['2024-02-29T23:30:00.123456789+01:00', { seconds: 1709245800, nanos: 123456789, offset: 3600 }],
    ['2024-02-29T23:30:00.5-03:30', { seconds: 1709262000, nanos: 500000000, offset: -12600 }],
    ['0001-01-01T00:00:00Z', { seconds: -62135596800, nanos: 0, offset: 0 }],
  ])('reads %s', (text, moment) => {
    expect(parseMoment(text)).toEqual(moment);
  });

  test.each([
    '',
    'yesterday',
    '2024-02-30T00:00:00Z',
    '2024-13-01T00:00:00Z',
    '2024-01-01T24:00:00Z',
    '2024-01-01',
  ])('refuses "%s"', (text) => {
    expect(() => parseMoment(text)).toThrow(RangeError);
  });

  test('agrees with Date on instants', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') }), (date) => {
        expect(parseMoment(date.toISOString())).toEqual(momentOf(date));
      }),
    );
  });

  test('orders by nanoseconds, whatever the offset', () => {
    const early = parseMoment('2024-01-01T12:00:00.000000001+02:00');
    const late = parseMoment('2024-01-01T10:00:00.000000002Z');
    expect(compareMoments(early, late)).toBeLessThan(0);
    expect(compareMoments(early, early)).toBe(0);
  });
});

test('the wall clock is the one of the offset that the text carries', () => {
  expect(wallClock(parseMoment('2024-01-01T00:30:00+02:00'))).toEqual({
    year: 2024,
    month: 1,
    day: 1,
    hour: 0,
  });
});

describe('isoWeek', () => {
  test.each([
    ['2024-12-29', 2024, 52],
    ['2024-12-30', 2025, 1],
    ['2021-01-03', 2020, 53],
    ['2021-01-04', 2021, 1],
    ['2027-01-01', 2026, 53],
    ['1969-12-29', 1970, 1],
    ['1969-12-28', 1969, 52],
  ])('%s lies in week %d-%d', (day, year, week) => {
    expect(isoWeek(parseMoment(`${day}T12:00:00+14:00`))).toEqual({ year, week });
  });
});

describe('subtract', () => {
  const back = (from: string, span: Partial<typeof none>, zone: Zone): number =>
    subtract(parseMoment(from), { ...none, ...span }, zone).seconds;
  const at = (text: string): number => parseMoment(text).seconds;

  test('a day that the month lacks flows into the next month', () => {
    const utc: Zone = () => 0;
    expect(back('2023-03-31T10:00:00Z', { months: 1 }, utc)).toBe(at('2023-03-03T10:00:00Z'));
    expect(back('2024-03-31T10:00:00Z', { months: 1 }, utc)).toBe(at('2024-03-02T10:00:00Z'));
    expect(back('2024-02-29T10:00:00Z', { years: 1 }, utc)).toBe(at('2023-03-01T10:00:00Z'));
    expect(back('2024-01-15T10:00:00Z', { months: 13, days: 20, hours: 11 }, utc)).toBe(
      at('2022-11-24T23:00:00Z'),
    );
  });

  test('days follow the wall clock of the zone, hours the stopwatch', () => {
    const change = at('2024-03-31T01:00:00Z');
    const berlin: Zone = (seconds) => (seconds < change ? 3600 : 7200);
    expect(back('2024-03-31T12:00:00+02:00', { days: 1 }, berlin)).toBe(at('2024-03-30T12:00:00+01:00'));
    expect(back('2024-03-31T12:00:00+02:00', { hours: 24 }, berlin)).toBe(at('2024-03-30T11:00:00+01:00'));
  });

  test('negative spans go forward', () => {
    expect(back('2024-01-31T10:00:00Z', { days: -1, hours: -1 }, () => 0)).toBe(at('2024-02-01T11:00:00Z'));
  });
});
