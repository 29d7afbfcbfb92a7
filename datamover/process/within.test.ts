import { expect, test } from '@jest/globals';
import { within } from './within.ts';

test('is what the promise comes to in time, good or bad', async () => {
  expect(await within(600_000, Promise.resolve(3), 'late')).toBe(3);
  await expect(within(600_000, Promise.reject(new Error('no')), 'late')).rejects.toThrow('no');
});

test('waits no longer than it should; a later failure is nobody’s', async () => {
  let fail: (error: Error) => void = () => undefined;
  const never = new Promise<never>((_, reject) => (fail = reject));
  expect(await within(1, never, 'late')).toBe('late');
  fail(new Error('too late to tell'));
  await expect(never).rejects.toThrow('too late');
});
