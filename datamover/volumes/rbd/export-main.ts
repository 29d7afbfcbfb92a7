/**
 * `export-main.js JOB` prints the diff of an ExportJob and ends with status 0 only when it counts: `rbd` ended well, and the
 * snaps were the planned ones to the end. rbd writes a good header before it fails, a killed program leaves a good beginning,
 * and what is under a snap that is being deleted cannot be trusted.
 */
import { describeCause } from '../../errors.ts';
import { startRbd } from './command.ts';
import { DiffEncoder } from './diff-encoder.ts';
import type { ExportJob } from './export-job.ts';
import { FullDiff } from './full-diff.ts';
import { checkImageName, nameOptions } from './image-name.ts';
import { verifySnaps } from './verify.ts';
import { writeAll } from './write-all.ts';

const STDOUT = 1;
const OPERATION = 'read rbd image';

async function main(job: ExportJob, signal: AbortSignal): Promise<void> {
  const { reading, source } = job;
  switch (reading.kind) {
    case 'allocated':
      await exportDiff(job, [], signal);
      return verifySnaps(job.connection, [source], signal);
    case 'unchanged':
      sayUnchanged(job, reading.bytes);
      return verifySnaps(job.connection, [source], signal);
    case 'changes':
      await exportDiff(job, ['--from-snap', checkImageName(reading.base.name).snap ?? ''], signal);
      return verifySnaps(job.connection, [source, reading.base], signal);
    case 'everything':
      await exportAll(job, reading.bytes, signal);
      return verifySnaps(job.connection, [source], signal);
  }
}

function sayUnchanged({ source }: ExportJob, bytes: number): void {
  const diff = new DiffEncoder((part) => writeAll(STDOUT, part));
  diff.begin({ version: 1, fromSnap: source.name.snap, toSnap: source.name.snap, bytes });
  diff.end();
}

/** rbd writes to our own stdout: nothing is copied on the way. */
async function exportDiff(
  { connection, source }: ExportJob,
  from: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const name = checkImageName(source.name);
  const running = await startRbd(connection, {
    operation: OPERATION,
    name,
    args: ['export-diff', '--no-progress', ...nameOptions(name), ...from, '--path', '-'],
    stdoutTo: STDOUT,
    signal,
  });
  await running.finished;
}

async function exportAll(
  { connection, source }: ExportJob,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  const name = checkImageName(source.name);
  const running = await startRbd(connection, {
    operation: OPERATION,
    name,
    args: ['export', '--no-progress', ...nameOptions(name), '--path', '-'],
    signal,
  });
  const diff = new FullDiff(bytes, async (part) => writeAll(STDOUT, part), source.name.snap);
  try {
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) await diff.write(chunk);
  } catch (error) {
    await running.stop();
    throw error;
  }
  await running.finished;
  await diff.end();
}

const stopper = new AbortController();
process.once('SIGTERM', () => stopper.abort());
try {
  await main(JSON.parse(process.argv[2] ?? '') as ExportJob, stopper.signal);
} catch (error) {
  process.stderr.write(`${describeCause(error)}\n`);
  process.exitCode = 1;
}
