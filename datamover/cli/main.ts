// The first: it remembers how the standard streams were before anybody used them.
import { exit, exitWhenWritten } from '../process/exit.ts';
import { Socket } from 'node:net';
import { separateProducer } from './command-line.ts';
import { reportFailure } from './failure.ts';
import { Interrupt } from './interrupt.ts';
import { Output, tolerateClosedPipe } from './output.ts';
import { runProgram } from './program.ts';

/** The `datamover` command: reads the command line, runs one verb, ends with restic's exit codes. */
async function main(argv: readonly string[]): Promise<number> {
  tolerateClosedPipe(process.stdout);
  tolerateClosedPipe(process.stderr);
  // Until the options are known; a command line that cannot be parsed is reported by this one.
  let output = new Output({ json: beforeDashes(argv).includes('--json'), verbosity: 1 });
  const interrupt = new Interrupt();
  interrupt.listen((text) => output.note(text));
  // Set by the agent for its children: after a SIGKILL of the agent nobody else would stop them.
  const parent = Number(process.env['DATAMOVER_FOLLOW_PARENT'] ?? '');
  if (parent > 0) interrupt.followParent(parent, (text) => output.note(text));
  const lease = process.env['DATAMOVER_FOLLOW_LEASE'];
  if (lease !== undefined) {
    interrupt.followLease(process.stdin, lease, (text) => output.note(text));
    // It keeps nobody from ending.
    if (process.stdin instanceof Socket) process.stdin.unref();
  }
  try {
    await runProgram(separateProducer(argv), {
      env: process.env,
      interrupt,
      stdout: process.stdout,
      stderr: process.stderr,
      onOutput: (chosen) => (output = chosen),
    });
    return 0;
  } catch (error) {
    return reportFailure(interrupt.explain(error), output);
  } finally {
    interrupt.over();
  }
}

function beforeDashes(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--');
  return end < 0 ? argv : argv.slice(0, end);
}

process.on('uncaughtException', (error) => {
  exit(reportFailure(error, new Output({ json: process.argv.includes('--json'), verbosity: 1 })));
});

// A job that waits for something that can never come would end here without a word and with Node's own exit code.
process.on('beforeExit', () => {
  const cause = new Error('the job waits for something that never comes: a defect of datamover');
  void exitWhenWritten(
    reportFailure(cause, new Output({ json: process.argv.includes('--json'), verbosity: 1 })),
  );
});

// Idle connections and timers end here.
await exitWhenWritten(await main(process.argv.slice(2)));
