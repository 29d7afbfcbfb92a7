import type { Command } from 'commander';
import type { Interrupt } from './interrupt.ts';
import type { Output } from './output.ts';
import type { GlobalOptions } from './settings.ts';

/** What every verb gets besides its own arguments. */
export interface Context {
  readonly options: GlobalOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly output: Output;
  readonly interrupt: Interrupt;
}

/** One verb of the command: it describes its arguments to commander, and runs. */
export interface Verb {
  configure(command: Command, run: Run): void;
}

/** Called by a verb's action with the context that the program has put together. */
export type Run = (job: (context: Context) => Promise<void>) => Promise<void>;
