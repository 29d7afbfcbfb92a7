import { DatamoverError, describeCause } from '../errors.ts';
import { findStoreFailure } from '../store/failure.ts';
import { visible, type Output } from './output.ts';

/**
 * Tells why the command failed, once: a sentence on standard error, or restic's `exit_error` object with --json.
 * For programs that decide what to do about it: whether the same command may succeed later, what was being done, and what the store
 * said. Answers with the exit code. `-vv` adds the stack, for reports of defects.
 */
export function reportFailure(error: unknown, output: Output): number {
  const code = error instanceof DatamoverError ? error.exitCode : 1;
  const sentence = describeCause(error);
  output.errors.write(
    output.json
      ? `${JSON.stringify({ message_type: 'exit_error', code, message: sentence, ...particulars(error) })}\n`
      : `datamover: ${visible(sentence)}\n`,
  );
  if (output.verbosity > 2 && !output.json && error instanceof Error && error.stack !== undefined) {
    output.errors.write(`${error.stack}\n`);
  }
  return code;
}

function particulars(error: unknown): Record<string, unknown> {
  if (!(error instanceof DatamoverError)) return {};
  const store = findStoreFailure(error);
  const retryable = error.retryable || store?.retryable === true;
  return {
    operation: error.operation,
    // What the exit code does not tell.
    ...(error.kind.startsWith('target-') && { kind: error.kind }),
    ...(retryable && { retryable }),
    ...(store !== undefined && { store: store.reason }),
  };
}
