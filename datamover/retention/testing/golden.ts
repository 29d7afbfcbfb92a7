import { parseDuration } from '../duration.ts';
import type { KeepPolicy } from '../policy.ts';

/** Made in Berlin unless the offset says otherwise; the last one lies in the future. */
export const SNAPSHOTS: readonly { readonly time: string; readonly tags?: readonly string[] }[] = [
  { time: '2020-12-31T23:59:59.999999999+01:00', tags: ['keep'] },
  { time: '2021-01-03T12:00:00+01:00' },
  { time: '2021-01-04T00:00:00+01:00' },
  { time: '2023-02-28T10:00:00+01:00', tags: ['monthly', 'keep'] },
  { time: '2023-12-31T22:30:00Z', tags: ['utc'] },
  { time: '2024-01-01T00:10:00+01:00' },
  { time: '2024-02-29T10:00:00+01:00', tags: ['monthly'] },
  { time: '2024-03-30T12:00:00+01:00' },
  { time: '2024-03-31T01:59:59+01:00' },
  { time: '2024-03-31T03:00:01+02:00' },
  { time: '2024-03-31T03:30:00+02:00' },
  { time: '2024-03-31T12:00:00+02:00' },
  { time: '2024-03-31T03:30:00-06:00', tags: ['chicago'] },
  { time: '2999-01-01T00:00:00+01:00', tags: ['future'] },
];

export interface GoldenCase {
  readonly policy: KeepPolicy;
  /** The snapshots kept, newest first, each with its reasons. */
  readonly kept: Readonly<Record<string, readonly string[]>>;
}

const span = parseDuration;

/** What restic 0.19 answers for each policy in the zone of Berlin. */
export const GOLDEN: Readonly<Record<string, GoldenCase>> = {
  'the last two': {
    policy: { last: 2 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['last snapshot'],
      '2024-03-31T12:00:00+02:00': ['last snapshot'],
    },
  },
  all: {
    policy: { last: 'unlimited' },
    kept: {
      '2999-01-01T00:00:00+01:00': ['last snapshot'],
      '2024-03-31T12:00:00+02:00': ['last snapshot'],
      '2024-03-31T03:30:00-06:00': ['last snapshot'],
      '2024-03-31T03:30:00+02:00': ['last snapshot'],
      '2024-03-31T03:00:01+02:00': ['last snapshot'],
      '2024-03-31T01:59:59+01:00': ['last snapshot'],
      '2024-03-30T12:00:00+01:00': ['last snapshot'],
      '2024-02-29T10:00:00+01:00': ['last snapshot'],
      '2024-01-01T00:10:00+01:00': ['last snapshot'],
      '2023-12-31T22:30:00Z': ['last snapshot'],
      '2023-02-28T10:00:00+01:00': ['last snapshot'],
      '2021-01-04T00:00:00+01:00': ['last snapshot'],
      '2021-01-03T12:00:00+01:00': ['last snapshot'],
      '2020-12-31T23:59:59.999999999+01:00': ['last snapshot'],
    },
  },
  'hours go by the clock of the place': {
    policy: { hourly: 6 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['hourly snapshot'],
      '2024-03-31T12:00:00+02:00': ['hourly snapshot'],
      '2024-03-31T03:30:00-06:00': ['hourly snapshot'],
      '2024-03-31T01:59:59+01:00': ['hourly snapshot'],
      '2024-03-30T12:00:00+01:00': ['hourly snapshot'],
      '2024-02-29T10:00:00+01:00': ['hourly snapshot'],
    },
  },
  'days go by the clock of the place': {
    policy: { daily: 4 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['daily snapshot'],
      '2024-03-31T12:00:00+02:00': ['daily snapshot'],
      '2024-03-30T12:00:00+01:00': ['daily snapshot'],
      '2024-02-29T10:00:00+01:00': ['daily snapshot'],
    },
  },
  'weeks are ISO weeks: 3 January 2021 lies in week 53 of 2020': {
    policy: { weekly: 'unlimited' },
    kept: {
      '2999-01-01T00:00:00+01:00': ['weekly snapshot'],
      '2024-03-31T12:00:00+02:00': ['weekly snapshot'],
      '2024-02-29T10:00:00+01:00': ['weekly snapshot'],
      '2024-01-01T00:10:00+01:00': ['weekly snapshot'],
      '2023-12-31T22:30:00Z': ['weekly snapshot'],
      '2023-02-28T10:00:00+01:00': ['weekly snapshot'],
      '2021-01-04T00:00:00+01:00': ['weekly snapshot'],
      '2021-01-03T12:00:00+01:00': ['weekly snapshot'],
      '2020-12-31T23:59:59.999999999+01:00': ['oldest weekly snapshot'],
    },
  },
  'months, and the oldest while there are some left': {
    policy: { monthly: 20 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['monthly snapshot'],
      '2024-03-31T12:00:00+02:00': ['monthly snapshot'],
      '2024-02-29T10:00:00+01:00': ['monthly snapshot'],
      '2024-01-01T00:10:00+01:00': ['monthly snapshot'],
      '2023-12-31T22:30:00Z': ['monthly snapshot'],
      '2023-02-28T10:00:00+01:00': ['monthly snapshot'],
      '2021-01-04T00:00:00+01:00': ['monthly snapshot'],
      '2020-12-31T23:59:59.999999999+01:00': ['monthly snapshot'],
    },
  },
  years: {
    policy: { yearly: 3 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['yearly snapshot'],
      '2024-03-31T12:00:00+02:00': ['yearly snapshot'],
      '2023-12-31T22:30:00Z': ['yearly snapshot'],
    },
  },
  'more years than there are': {
    policy: { yearly: 50 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['yearly snapshot'],
      '2024-03-31T12:00:00+02:00': ['yearly snapshot'],
      '2023-12-31T22:30:00Z': ['yearly snapshot'],
      '2021-01-04T00:00:00+01:00': ['yearly snapshot'],
      '2020-12-31T23:59:59.999999999+01:00': ['yearly snapshot'],
    },
  },
  'rules are ORed': {
    policy: { last: 1, daily: 2, monthly: 2 },
    kept: {
      '2999-01-01T00:00:00+01:00': ['last snapshot', 'daily snapshot', 'monthly snapshot'],
      '2024-03-31T12:00:00+02:00': ['daily snapshot', 'monthly snapshot'],
    },
  },
  'a day back on the clock over the change to summer time': {
    policy: { within: span('1d') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['within 1d'],
      '2024-03-31T12:00:00+02:00': ['within 1d'],
      '2024-03-31T03:30:00-06:00': ['within 1d'],
      '2024-03-31T03:30:00+02:00': ['within 1d'],
      '2024-03-31T03:00:01+02:00': ['within 1d'],
      '2024-03-31T01:59:59+01:00': ['within 1d'],
    },
  },
  'twenty-four hours back': {
    policy: { within: span('24h') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['within 24h'],
      '2024-03-31T12:00:00+02:00': ['within 24h'],
      '2024-03-31T03:30:00-06:00': ['within 24h'],
      '2024-03-31T03:30:00+02:00': ['within 24h'],
      '2024-03-31T03:00:01+02:00': ['within 24h'],
      '2024-03-31T01:59:59+01:00': ['within 24h'],
      '2024-03-30T12:00:00+01:00': ['within 24h'],
    },
  },
  'a month before 31 March is 2 March in a leap year': {
    policy: { within: span('1m') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['within 1m'],
      '2024-03-31T12:00:00+02:00': ['within 1m'],
      '2024-03-31T03:30:00-06:00': ['within 1m'],
      '2024-03-31T03:30:00+02:00': ['within 1m'],
      '2024-03-31T03:00:01+02:00': ['within 1m'],
      '2024-03-31T01:59:59+01:00': ['within 1m'],
      '2024-03-30T12:00:00+01:00': ['within 1m'],
    },
  },
  'a year and three months': {
    policy: { within: span('1y3m') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['within 1y3m'],
      '2024-03-31T12:00:00+02:00': ['within 1y3m'],
      '2024-03-31T03:30:00-06:00': ['within 1y3m'],
      '2024-03-31T03:30:00+02:00': ['within 1y3m'],
      '2024-03-31T03:00:01+02:00': ['within 1y3m'],
      '2024-03-31T01:59:59+01:00': ['within 1y3m'],
      '2024-03-30T12:00:00+01:00': ['within 1y3m'],
      '2024-02-29T10:00:00+01:00': ['within 1y3m'],
      '2024-01-01T00:10:00+01:00': ['within 1y3m'],
      '2023-12-31T22:30:00Z': ['within 1y3m'],
      '2023-02-28T10:00:00+01:00': ['within 1y3m'],
    },
  },
  'within, by hours and days': {
    policy: { withinHourly: span('9h'), withinDaily: span('40d') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['hourly within 9h', 'daily within 40d'],
      '2024-03-31T12:00:00+02:00': ['hourly within 9h', 'daily within 40d'],
      '2024-03-31T03:30:00-06:00': ['hourly within 9h'],
      '2024-03-30T12:00:00+01:00': ['daily within 40d'],
      '2024-02-29T10:00:00+01:00': ['daily within 40d'],
    },
  },
  'within, by weeks, months and years': {
    policy: { withinWeekly: span('4m'), withinMonthly: span('2y'), withinYearly: span('10y') },
    kept: {
      '2999-01-01T00:00:00+01:00': ['weekly within 4m', 'monthly within 2y', 'yearly within 10y'],
      '2024-03-31T12:00:00+02:00': ['weekly within 4m', 'monthly within 2y', 'yearly within 10y'],
      '2024-02-29T10:00:00+01:00': ['weekly within 4m', 'monthly within 2y'],
      '2024-01-01T00:10:00+01:00': ['weekly within 4m', 'monthly within 2y'],
      '2023-12-31T22:30:00Z': ['weekly within 4m', 'monthly within 2y', 'yearly within 10y'],
      '2023-02-28T10:00:00+01:00': ['monthly within 2y'],
      '2021-01-04T00:00:00+01:00': ['yearly within 10y'],
      '2020-12-31T23:59:59.999999999+01:00': ['yearly within 10y'],
    },
  },
  'tags: all of a list, any of the lists': {
    policy: { tags: [['monthly', 'keep'], ['utc']] },
    kept: {
      '2023-12-31T22:30:00Z': ['has tags [utc]'],
      '2023-02-28T10:00:00+01:00': ['has tags [monthly, keep]'],
    },
  },
  'the empty tag: no tags at all': {
    policy: { tags: [['']] },
    kept: {
      '2024-03-31T12:00:00+02:00': ['has tags []'],
      '2024-03-31T03:30:00+02:00': ['has tags []'],
      '2024-03-31T03:00:01+02:00': ['has tags []'],
      '2024-03-31T01:59:59+01:00': ['has tags []'],
      '2024-03-30T12:00:00+01:00': ['has tags []'],
      '2024-01-01T00:10:00+01:00': ['has tags []'],
      '2021-01-04T00:00:00+01:00': ['has tags []'],
      '2021-01-03T12:00:00+01:00': ['has tags []'],
    },
  },
};
