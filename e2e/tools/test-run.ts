/**
 * `npm test`: jest on all test files or on those of its arguments. It closes with a line that scripts can read, `N passed, N failed,
 * N skipped`, after the reason of every skip. In CI a skip is a failure: what a test needs must be there.
 */
// The first: it remembers how the standard streams were before anybody used them.
import { exitWhenWritten } from '../../datamover/process/exit.ts';
import { buildArgv, runCLI } from 'jest';

type RunResults = Awaited<ReturnType<typeof runCLI>>['results'];
type FileResult = RunResults['testResults'][number];

process.env['NODE_ENV'] ??= 'test';
const argv = await buildArgv(process.argv.slice(2));
let results = await runJest(argv);
const losses = globalThis.datamoverTestKeeper?.losses ?? [];
const failed = results.testResults.filter(hasFailed);
// That a server broke off says nothing of the tests that used it, and which did is not known: what they break themselves they break again.
if (losses.length > 0 && failed.length > 0) {
  console.error('Servers of the tests were lost. The files that failed run again:');
  const passed = results.testResults.filter((file) => !hasFailed(file));
  const again = await runJest({
    ...argv,
    _: failed.map((file) => file.testFilePath),
    runTestsByPath: true,
    testPathPatterns: [],
  });
  results = { ...again, testResults: [...passed, ...again.testResults] };
  for (const why of losses) console.error(`A server of the tests was lost: ${why}`);
}
await exitWhenWritten(close(results));

async function runJest(options: typeof argv): Promise<RunResults> {
  return (await runCLI(options, [process.cwd()])).results;
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
  const refused = process.env['CI'] === 'true' && skipped > 0;
  if (refused) console.error('Tests were skipped in CI, where what they need must be there.');
  console.log(`${passed} passed, ${failures} failed, ${skipped} skipped`);
  return success && !refused ? 0 : 1;
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
