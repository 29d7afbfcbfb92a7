import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { followLease, tellLease, type LeaseTerm } from './lease-line.ts';

const HOUR = 3_600_000;

test('who follows a lease begins to end before it has run out, once, and is gone before its end', async () => {
  const line = new PassThrough();
  let term: LeaseTerm = { remainingMs: HOUR, reserveMs: 1000 };
  const untie = tellLease(line, () => term);
  const events: string[] = [];
  const ended = new Promise<void>((resolve) => {
    followLease(
      line,
      () => events.push('stop'),
      () => {
        events.push('end');
        resolve();
      },
    );
  });
  // Told again, an hour more counts.
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(events).toEqual([]);
  term = { remainingMs: 0, reserveMs: 1000 };
  await ended;
  expect(events).toEqual(['stop', 'end']);
  untie();
});

test('a line that lay in the pipe for a while is not taken for a new one; what is none says nothing', async () => {
  const line = new PassThrough();
  const now = process.hrtime.bigint();
  line.write(`soon\n${now - 2n} ${now + 10n ** 15n}\n-1 0\n`);
  const stopped = new Promise<string>((resolve) =>
    followLease(
      line,
      () => resolve('stop'),
      () => resolve('end'),
    ),
  );
  expect(await stopped).toBe('stop');
});
