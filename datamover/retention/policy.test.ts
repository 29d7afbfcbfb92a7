import { describe, expect, test } from '@jest/globals';
import { momentOf } from './moment.ts';
import { applyPolicy, isEmptyPolicy, type KeepPolicy } from './policy.ts';
import { GOLDEN, SNAPSHOTS } from './testing/golden.ts';
import { berlin } from './testing/zone.ts';

const now = momentOf(new Date('2024-06-01T00:00:00Z'));
const snapshots = SNAPSHOTS.map((snapshot, i) => ({ ...snapshot, id: String(i) }));

describe('keeps what restic keeps, for the same reasons', () => {
  test.each(Object.entries(GOLDEN))('%s', (_name, { policy, kept }) => {
    const { keep, remove } = applyPolicy(snapshots, policy, { now, zone: berlin });
    expect(Object.fromEntries(keep.map(({ snapshot, reasons }) => [snapshot.time, reasons]))).toEqual(kept);
    expect(keep.length + remove.length).toBe(snapshots.length);
  });
});

describe('what is no policy', () => {
  test.each<KeepPolicy>([
    {},
    { last: 0 },
    { tags: [] },
    { within: { years: 0, months: 0, days: 0, hours: 0 } },
  ])('%j says nothing', (policy) => {
    expect(isEmptyPolicy(policy)).toBe(true);
  });

  test.each<KeepPolicy>([{ last: 1 }, { yearly: 'unlimited' }, { tags: [['']] }])(
    '%j says something',
    (policy) => {
      expect(isEmptyPolicy(policy)).toBe(false);
    },
  );

  test.each([-1, 1.5, NaN])('a count of %d is refused', (last) => {
    expect(() => applyPolicy(snapshots, { last }, { now })).toThrow(RangeError);
  });
});

test('a negative time is refused', () => {
  const withinDaily = { years: 0, months: 0, days: 1, hours: -1 };
  expect(() => applyPolicy(snapshots, { withinDaily }, { now })).toThrow('daily within 1d-1h');
});

test('an unreadable time stops everything: nothing is removed on a guess', () => {
  expect(() => applyPolicy([{ id: 'a', time: 'noon' }], { last: 1 }, { now })).toThrow(/"noon"/);
});

test('of snapshots with the same time the id decides, whatever order they come in', () => {
  const twins = ['c', 'a', 'b'].map((id) => ({ id, time: '2024-01-01T00:00:00Z' }));
  for (const order of [twins, twins.toReversed()]) {
    const { keep } = applyPolicy(order, { last: 1 }, { now });
    expect(keep.map(({ snapshot }) => snapshot.id)).toEqual(['a']);
  }
});

test('F-59 of snapshots with the same time the one that was made last is the newest', () => {
  const at = (id: string, backup_end: string) => ({
    id,
    time: '2024-01-01T00:00:00Z',
    summary: { backup_end },
  });
  const twins = [at('b', '2024-01-03T00:00:00Z'), at('a', '2024-01-01T01:00:00Z')];
  for (const order of [twins, twins.toReversed()]) {
    const { keep } = applyPolicy(order, { last: 1 }, { now });
    expect(keep.map(({ snapshot }) => snapshot.id)).toEqual(['b']);
  }
});

test('when all snapshots lie in the future, all are within any time', () => {
  const { remove } = applyPolicy(
    snapshots,
    { within: { years: 0, months: 0, days: 0, hours: 1 } },
    {
      now: momentOf(new Date('2000-01-01T00:00:00Z')),
    },
  );
  expect(remove).toEqual([]);
});

test('snapshots made by the caller are handed back as they are, without change to the input', () => {
  const input = Object.freeze(snapshots.map((snapshot) => Object.freeze({ ...snapshot })));
  const { keep, remove } = applyPolicy(input, { last: 3 }, { now });
  expect(new Set([...keep.map((kept) => kept.snapshot), ...remove])).toEqual(new Set(input));
});
