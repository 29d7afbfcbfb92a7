import { DatamoverError, describeCause } from '../errors.ts';
import type { Output } from './output.ts';

/**
 * Tells why the command failed, once: a sentence on standard error, or restic's `exit_error` object with --json.
 * Answers with the exit code. `-vv` adds the stack, for reports of defects.
 */
export function reportFailure(error: unknown, output: Output): number {
  const code = error instanceof DatamoverError ? error.exitCode : 1;
  const sentence = describeCause(error);
  output.errors.write(
    output.json
      ? `${JSON.stringify({ message_type: 'exit_error', code, message: sentence })}\n`
      : `datamover: ${sentence}\n`,
  );
  if (output.verbosity > 2 && !output.json && error instanceof Error && error.stack !== undefined) {
    output.errors.write(`${error.stack}\n`);
  }
  return code;
}
