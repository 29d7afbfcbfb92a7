/**
 * `session-main.js CONNECTION` holds librbd open and answers what it is asked on stdin (session-protocol.ts), in a process of its own
 * since a failed assertion of Ceph's ends the whole process. It ends when stdin does: then whoever asked has ended, or died.
 */
import koffi from 'koffi';
import { describeCause } from '../../errors.ts';
import type { RbdConnection } from './command.ts';
import { SessionWork } from './session-work.ts';
import { MessageReader, toFailure, type Question, type Reply } from './session-protocol.ts';

/** How long it may take to let go at the end: nothing that hangs outlives its parent for longer. */
const END_MS = 4000;

const work = new SessionWork(JSON.parse(process.argv[2] ?? '') as RbdConnection);

async function answer(question: Question): Promise<void> {
  const { number } = question;
  try {
    reply({ number, answer: await work.answer(question) });
  } catch (error) {
    reply({ number, failure: toFailure(error) });
  }
}

function reply(said: Reply): void {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

/** At once: no destructor of Ceph's, and no thread that waits for the cluster, is waited for. */
function leave(): void {
  work.kill();
  (koffi.load(null).func('void _exit(int)') as (status: number) => void)(0);
}

// They go to everybody in a terminal, too: what is held is let go when the parent has ended its work.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
// The parent may be gone.
process.stdout.on('error', () => undefined);

const questions = new MessageReader<Question>((question) => void answer(question));
process.stdin
  .on('data', (chunk: Buffer) => questions.push(chunk))
  // It ends when it is broken, too.
  .on('error', () => undefined)
  .on('close', () => {
    setTimeout(leave, END_MS);
    work.end().then(leave, (error: unknown) => {
      process.stderr.write(`${describeCause(error)}\n`, leave);
    });
  });
