/**
 * `npm test`: jest on all test files or on those of its arguments. It closes with a line that scripts can read, `N passed, N failed,
 * N skipped`, after the reason of every skip. In CI a skip is a failure: what a test needs must be there.
 */
import { buildArgv, runCLI } from 'jest';
import { exitWhenWritten } from '../../datamover/process/exit.ts';

type RunResults = Awaited<ReturnType<typeof runCLI>>['results'];
type FileResult = RunResults['testResults'][number];

let results = await runJest(process.argv.slice(2));
const losses = globalThis.datamoverTestKeeper?.losses ?? [];
const failed = results.testResults.filter(hasFailed);
// What a server that broke off says of the tests that used it is nothing: another one answers. What they break themselves, they break again.
if (losses.length > 0 && failed.length > 0) {
  console.error(`Servers of the tests were lost. The files that failed run again:`);
  const passed = results.testResults.filter((file) => !hasFailed(file));
  const again = await runJest(['--runTestsByPath', ...failed.map((file) => file.testFilePath)]);
  results = { ...again, testResults: [...passed, ...again.testResults] };
  for (const why of losses) console.error(`A server of the tests was lost: ${why}`);
}
await exitWhenWritten(close(results));

async function runJest(args: string[]): Promise<RunResults> {
  return (await runCLI(await buildArgv(args), [process.cwd()])).results;
}

function hasFailed({ numFailingTests, testExecError }: FileResult): boolean {
  return numFailingTests > 0 || testExecError !== undefined;
}

/** The exit status. */
function close({ success, testResults }: RunResults): number {
  const count = (each: (file: FileResult) => number): number =>
    testResults.reduce((sum, file) => sum + each(file), 0);
  const passed = count((file) => file.numPassingTests);
  // A file that could not be run to its end counts as one.
  const failures = count((file) => file.numFailingTests + (file.testExecError === undefined ? 0 : 1));
  const skipped = count((file) => file.numPendingTests + file.numTodoTests);
  for (const [reason, times] of skipReasons(testResults)) console.log(`skipped ${times}: ${reason}`);
  console.log(`${passed} passed, ${failures} failed, ${skipped} skipped`);
  return success && (process.env['CI'] !== 'true' || skipped === 0) ? 0 : 1;
}

function skipReasons(files: readonly FileResult[]): Map<string, number> {
  const reasons = new Map<string, number>();
  for (const { status, ancestorTitles } of files.flatMap((file) => file.testResults)) {
    if (status !== 'pending' && status !== 'todo') continue;
    const reason = /\[(needs .*)\]/.exec(ancestorTitles.join(' '))?.[1] ?? 'no reason given';
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return reasons;
}
