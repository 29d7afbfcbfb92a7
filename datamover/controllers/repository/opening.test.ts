import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Workbench } from '../../cli/testing/command.ts';
import { REASONS } from '../../../api/names.ts';
import { TransferFailure } from '../failure.ts';
import { runOnRepository } from './opening.ts';

const PASSWORD = 'secret of the tests';
const MIB = 2 ** 20;
/** A child that stays as it is for a long time. */
const STALLED = ['backup', '--volume', 'shop/db', '--as', 'image', '--stdin-command', 'sleep', '600'];

let bench: Workbench;

beforeAll(async () => {
  bench = await Workbench.create();
});
afterAll(() => bench.remove());

const runIt = (args: readonly string[], memoryBytes: number) =>
  runOnRepository({ repository: bench.repository, password: PASSWORD }, 'forget snapshot of', args, {
    ...{ memoryBytes, signal: AbortSignal.timeout(300_000) },
  });

test('a child on a repository that outgrows its memory is ended, with both figures and what to do', async () => {
  await runIt(['init'], 512 * MIB);
  const failure = await runIt(STALLED, MIB).catch((error: unknown) => error);
  if (!(failure instanceof TransferFailure)) throw failure;
  expect(failure.message).toMatch(
    /^forget snapshot of \S+: it took \d+ MiB of memory, its limit is 1 MiB \(raise --child-memory of the controller/,
  );
  expect([failure.reason, failure.retryable]).toEqual([REASONS.transferFailed, true]);
}, 120_000);
