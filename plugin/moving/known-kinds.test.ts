import { expect, test } from '@jest/globals';
import { seenAt, servedSince } from './known-kinds.ts';

const at = (time: string) => new Date(`2026-11-27T${time}Z`);

test('a kind from before Velero is known since Velero runs', () => {
  expect(seenAt(at('10:00:00'), at('10:00:05'))).toEqual(at('10:00:05'));
});

test('one from after it is known when Velero must have looked again; a second counts as after', () => {
  expect(seenAt(at('10:00:00'), at('09:00:00'))).toEqual(at('10:05:30'));
  expect(seenAt(at('10:00:00'), at('10:00:00.900'))).toEqual(at('10:05:30'));
});

test('it is served since it is established, not since it was made', () => {
  const metadata = { name: 'x', creationTimestamp: '2026-11-27T10:00:00Z' };
  expect(servedSince({ metadata })).toEqual(at('10:00:00'));
  const condition = { type: 'Established', lastTransitionTime: '2026-11-27T10:00:07Z' };
  const of = (status: string) => ({ metadata, status: { conditions: [{ ...condition, status }] } });
  expect(servedSince(of('True'))).toEqual(at('10:00:07'));
  expect(servedSince(of('False'))).toEqual(at('10:00:00'));
  expect(servedSince({ metadata: {} })).toBeUndefined();
});
