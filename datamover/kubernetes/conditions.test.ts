import { expect, test } from '@jest/globals';
import { findCondition, isConditionTrue, withCondition, type Condition } from './conditions.ts';

const FIRST = new Date('2026-01-01T10:00:00.123Z');
const LATER = new Date('2026-01-01T11:00:00Z');
const ready = { type: 'Ready', status: 'True', reason: 'AllWell', message: 'all is well' } as const;

test('a condition keeps its transition time while its status stays, and moves it with the status', () => {
  const first = withCondition(undefined, ready, FIRST);
  expect(first).toEqual([{ ...ready, lastTransitionTime: '2026-01-01T10:00:00Z' }]);
  const reworded = withCondition(first, { ...ready, message: 'still well' }, LATER);
  expect(reworded).toEqual([{ ...ready, message: 'still well', lastTransitionTime: '2026-01-01T10:00:00Z' }]);
  const failed = withCondition(reworded, { ...ready, status: 'False' }, LATER);
  expect(failed[0]?.lastTransitionTime).toBe('2026-01-01T11:00:00Z');
});

test('the very same array comes back when nothing is different', () => {
  const conditions = withCondition(undefined, { ...ready, observedGeneration: 1 }, FIRST);
  expect(withCondition(conditions, { ...ready, observedGeneration: 1 }, LATER)).toBe(conditions);
  expect(withCondition(conditions, { ...ready, observedGeneration: 2 }, LATER)).not.toBe(conditions);
});

test('other conditions keep their places', () => {
  const other: Condition = { ...ready, type: 'Other', lastTransitionTime: '2025-01-01T00:00:00Z' };
  const both = withCondition([other], ready, FIRST);
  expect(both.map(({ type }) => type)).toEqual(['Other', 'Ready']);
  const changed = withCondition(both, { ...ready, type: 'Other', status: 'Unknown' }, LATER);
  expect(changed.map(({ type, status }) => `${type} ${status}`)).toEqual(['Other Unknown', 'Ready True']);
  expect(findCondition(changed, 'Ready')?.reason).toBe('AllWell');
  expect([isConditionTrue(changed, 'Ready'), isConditionTrue(changed, 'Other')]).toEqual([true, false]);
  expect(isConditionTrue(changed, 'Unheard')).toBe(false);
});
