/**
 * Closes a jest run with a line that scripts can read, `N passed, N failed, N skipped`, after the reason of every skip. In CI a
 * skip is a failure: what a test needs must be there.
 */

/** The part of jest's AggregatedResult that is read here. */
interface RunResults {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** Test files that could not even be loaded. */
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly testResults: readonly { readonly status: string; readonly ancestorTitles: readonly string[] }[];
  }[];
}

export default class ClosingReporter {
  #skippedInCi = 0;

  onRunComplete(_contexts: unknown, results: RunResults): void {
    const skipped = results.numPendingTests + results.numTodoTests;
    const reasons = new Map<string, number>();
    for (const { status, ancestorTitles } of results.testResults.flatMap((file) => file.testResults)) {
      if (status !== 'pending' && status !== 'todo') continue;
      const reason = /\[(needs .*)\]/.exec(ancestorTitles.join(' '))?.[1] ?? 'no reason given';
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    for (const [reason, count] of reasons) console.log(`skipped ${count}: ${reason}`);
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const line = `${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped`;
    // Jest's own summary comes after all reporters; the closing line comes after that.
    process.once('exit', () => console.log(line));
    if (process.env['CI'] === 'true') this.#skippedInCi = skipped;
  }

  /** An error here makes jest end with status 1. */
  getLastError(): Error | undefined {
    return this.#skippedInCi > 0 ? new Error(`${this.#skippedInCi} tests were skipped in CI`) : undefined;
  }
}
