import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Workbench } from '../cli/testing/command.ts';
import { DatamoverError } from '../errors.ts';
import { start } from '../process/spawn.ts';
import { runTransfer, type TransferProgress, type TransferRequest } from './transfer-process.ts';

const MIB = 1 << 20;
const VOLUME = ['--volume', 'shop/db'];
/** A volume that sends 4 MiB and then nothing for a long time. */
const STALLED = [
  ...['backup', ...VOLUME, '--as', 'image', '--stdin-command'],
  ...['sh', '-c', 'head -c 4194304 /dev/urandom; exec sleep 600'],
];

let bench: Workbench;

beforeAll(async () => {
  bench = await Workbench.create();
  await bench.json(['init']);
});
afterAll(() => bench.remove());

function request(args: readonly string[], more: Partial<TransferRequest> = {}): TransferRequest {
  return {
    ...{ operation: 'back up', subject: 'shop/db', args, memoryLimitBytes: 4096 * MIB },
    env: bench.environment({ RESTIC_PROGRESS_FPS: '20' }),
    ...more,
  };
}

async function failureOf(attempt: Promise<unknown>): Promise<DatamoverError> {
  const error: unknown = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof DatamoverError) return error;
  throw new Error(`no failure of ours: ${String(error)}`);
}

const locks = async (): Promise<string[]> => (await bench.json(['inspect', 'lock'])).flat().map(String);

test('gives the summary, and reports on the way', async () => {
  await bench.image('disk.img', 64);
  const seen: TransferProgress[] = [];
  const file = `file:${bench.path('disk.img')}`;
  // At full speed it may be over before it has anything to report.
  const slowly = ['--limit-upload', '32768'];
  const summary = await runTransfer(
    request(['backup', file, ...VOLUME, ...slowly], { onProgress: (progress) => seen.push(progress) }),
  );
  expect(summary).toMatchObject({ volume: 'shop/db', total_bytes_processed: 64 * MIB });
  expect(String(summary['snapshot_id'])).toMatch(/^[0-9a-f]{64}$/);
  expect(seen.at(-1)).toMatchObject({ totalBytes: 64 * MIB });
});

test("a failure has the command's own sentence and kind", async () => {
  const wrong = { env: bench.environment({ RESTIC_PASSWORD: 'not this one' }) };
  const failure = await failureOf(runTransfer(request(['snapshots'], wrong)));
  expect(failure.message).toMatch(/^back up shop\/db: open repository .*password/);
  expect([failure.kind, failure.retryable]).toEqual(['wrong-password', false]);
});

test('a stop ends it in order within seconds', async () => {
  const stop = new AbortController();
  const onProgress = ({ bytesDone }: TransferProgress): void => {
    if (bytesDone === 4 * MIB) stop.abort();
  };
  const failure = await failureOf(runTransfer(request(STALLED, { onProgress, signal: stop.signal })));
  expect(failure.kind).toBe('cancelled');
});

test('one that outgrows its memory is ended, with both figures', async () => {
  const failure = await failureOf(runTransfer(request(STALLED, { memoryLimitBytes: MIB })));
  expect(failure.message).toMatch(/took \d+ MiB of memory, its limit is 1 MiB/);
  expect(failure.retryable).toBe(true);
});

test('a child does not outlive the process that started it', async () => {
  const before = await locks();
  const module = new URL('./transfer-process.js', import.meta.url).href;
  const options = JSON.stringify({ ...request(STALLED), env: {} });
  const script = `import(${JSON.stringify(module)}).then(({ runTransfer }) =>
    runTransfer({ ...${options}, onProgress: ({ bytesDone }) => console.log(bytesDone) }))`;
  const parent = await start({
    ...{ file: process.execPath, args: ['-e', script], env: request([]).env },
  });
  for await (const line of createInterface({ input: parent.stdout })) {
    if (line === String(4 * MIB)) break;
  }
  process.kill(parent.pid, 'SIGKILL');
  await parent.finished.catch(() => undefined);
  // Its lock is the last thing that it takes away.
  while ((await locks()).some((lock) => !before.includes(lock))) await delay(200);
}, 120_000);
