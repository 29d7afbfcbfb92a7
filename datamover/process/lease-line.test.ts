import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { followLease, leaseTimes, tellLease, type LeaseTerm } from './lease-line.ts';

const HOUR = 3_600_000;

test('who follows a lease begins to end before it has run out, once, and is gone before its end', async () => {
  const line = new PassThrough();
  // Over before the second line comes, if that did not count.
  let term: LeaseTerm = { remainingMs: 2400, reserveMs: 1000 };
  const first = leaseTimes(term);
  term = { remainingMs: HOUR, reserveMs: 1000 };
  const untie = tellLease(line, () => term);
  const events: string[] = [];
  const ended = new Promise<void>((resolve) => {
    followLease(
      line,
      first,
      () => events.push('stop'),
      () => {
        events.push('end');
        resolve();
      },
    );
  });
  await new Promise((resolve) => setTimeout(resolve, 2600));
  expect(events).toEqual([]);
  term = { remainingMs: 0, reserveMs: 1000 };
  await ended;
  expect(events).toEqual(['stop', 'end']);
  untie();
});

test('a line that lay in the pipe for a while is not taken for a new one; what is none says nothing', async () => {
  const line = new PassThrough();
  const now = process.hrtime.bigint();
  line.write(`soon\n${now - 2n} ${now + 10n ** 15n}\n-1 0\n0 0 0\n`);
  const stopped = new Promise<string>((resolve) =>
    followLease(
      line,
      '',
      () => resolve('stop'),
      () => resolve('end'),
    ),
  );
  expect(await stopped).toBe('stop');
});

test('who stood still reads what he was told meanwhile before he takes his time for over', async () => {
  const line = new PassThrough();
  const now = process.hrtime.bigint();
  const events: string[] = [];
  followLease(
    line,
    `${now + 500_000_000n} ${now + 10n ** 15n}`,
    () => events.push('stop'),
    () => events.push('end'),
  );
  // Nothing of this process runs for longer than it had.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  line.write(`${now + 10n ** 15n} ${now + 10n ** 15n}\n`);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(events).toEqual([]);
});
