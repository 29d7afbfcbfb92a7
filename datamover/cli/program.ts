import { Command, CommanderError, Help } from 'commander';
import { DatamoverError } from '../errors.ts';
import { addGlobalOptions, helpOption, readGlobalOptions } from './global-options.ts';
import type { Interrupt } from './interrupt.ts';
import { Output, type Stream } from './output.ts';
import type { Verb } from './verb.ts';

/** The verbs in the order of help. Each is loaded only when it is called: start-up stays quick. */
const VERBS: readonly (readonly [name: string, summary: string, load: () => Promise<{ verb: Verb }>])[] = [
  ['init', 'make a new repository', () => import('./verbs/init.ts')],
  ['backup', 'carry a volume into the repository', () => import('./verbs/backup.ts')],
  ['restore', 'bring a volume back', () => import('./verbs/restore.ts')],
  ['snapshots', 'list the backups', () => import('./verbs/snapshots.ts')],
  ['ls', 'list the files of a backup', () => import('./verbs/ls.ts')],
  ['forget', 'remove backups, by a policy or by name', () => import('./verbs/forget.ts')],
  ['prune', 'free the space that no backup uses', () => import('./verbs/prune.ts')],
  ['consolidate', 'merge the send streams of a backup into one', () => import('./verbs/consolidate.ts')],
  ['check', 'look for damage', () => import('./verbs/check.ts')],
  ['copy', 'copy backups from another repository', () => import('./verbs/copy.ts')],
  ['key', 'manage the passwords', () => import('./verbs/key.ts')],
  ['stats', 'count what is stored', () => import('./verbs/stats.ts')],
  ['inspect', 'show any object of the repository as it is', () => import('./verbs/inspect.ts')],
  ['cleanup', 'take away what killed transfers left on a storage', () => import('./verbs/cleanup.ts')],
  ['repair', 'rebuild a lost or damaged index', () => import('./verbs/repair.ts')],
  ['unlock', 'remove locks that nobody holds any more', () => import('./verbs/unlock.ts')],
  ['controller', 'lead transfers of a Kubernetes cluster', () => import('./verbs/controller.ts')],
  ['agent', 'carry transfers on a Kubernetes node', () => import('./verbs/agent.ts')],
  ['version', 'print the version', () => import('./verbs/version.ts')],
];

const VERBS_HEADING = 'Verbs:';

const INTRODUCTION = `Carries volumes into a restic repository and back.

Every backup is whole, only what is new is stored, and restic itself can read all of it.`;

const EXAMPLES = `
A first round trip:
  export RESTIC_REPOSITORY=/srv/repo RESTIC_PASSWORD_FILE=~/.repo-password
  datamover init
  datamover backup file:disk.img --volume shop/db
  datamover snapshots
  datamover restore latest --volume shop/db --to file:disk-again.img

Exit codes, as restic's: 0 done, 1 failed, 3 incomplete, 10 no repository, 11 locked, 12 wrong password, 130 stopped.
'datamover VERB --help' explains a verb with examples.`;

export interface ProgramOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly interrupt: Interrupt;
  readonly stdout: Stream;
  readonly stderr: Stream;
  /** Told of the output as soon as the options are known, so that a failure is reported in the right form. */
  readonly onOutput: (output: Output) => void;
}

/** Runs one command line to its end. Throws what the verb throws, and a DatamoverError of kind `usage` for bad arguments. */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<void> {
  const program = new Command('datamover')
    .description(`${INTRODUCTION}\n\n${VERBS_HEADING}\n${listVerbs()}`)
    .usage('VERB [arguments] [options]')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .helpCommand(false)
    .commandsGroup(VERBS_HEADING)
    .configureHelp({
      helpWidth: 100,
      // The verbs are part of the program's description: they come before the long list of options.
      formatItemList: (heading, items, helper) =>
        heading === VERBS_HEADING ? [] : Help.prototype.formatItemList.call(helper, heading, items, helper),
    })
    .configureOutput({
      writeOut: (text) => options.stdout.write(text),
      // Usage errors come back as exceptions and are reported like all others.
      writeErr: () => undefined,
    });
  addGlobalOptions(program, false);
  for (const [name, summary] of VERBS) program.command(name).summary(summary);
  program.hook('preSubcommand', async (_, command) => {
    const load = VERBS.find(([name]) => name === command.name())?.[2];
    if (load !== undefined) prepare(command, (await load()).verb, options);
  });
  try {
    await program.parseAsync(spellOut(argv), { from: 'user' });
  } catch (error) {
    if (!isCommanderError(error)) throw error;
    if (error.exitCode !== 0) throw asUsageError(error, argv);
  }
}

function prepare(command: Command, verb: Verb, options: ProgramOptions): void {
  verb.configure(command, async (job) => {
    const chosen = readGlobalOptions(running ?? command);
    const output = new Output(
      { json: chosen.json === true, verbosity: chosen.quiet === true ? 0 : 1 + (chosen.verbose ?? 0) },
      options.stdout,
      options.stderr,
    );
    options.onOutput(output);
    await job({ options: chosen, env: options.env, output, interrupt: options.interrupt });
  });
  let running: Command | undefined;
  command.hook('preAction', (_, leaf) => {
    running = leaf;
  });
  command.helpCommand(false).addHelpOption(helpOption());
  for (const leaf of command.commands.length > 0 ? command.commands : [command]) {
    addGlobalOptions(leaf, true);
    leaf.addHelpText(
      'after',
      "\nRepository, password and output options are the same everywhere: 'datamover --help'.",
    );
  }
}

/** What people try before they know better: nothing at all, `help VERB`, `--version`. */
function spellOut(argv: readonly string[]): string[] {
  const [first, ...rest] = argv;
  if (first === undefined) return ['--help'];
  if (first === 'help') return [...rest, '--help'];
  return first === '--version' && rest.length === 0 ? ['version'] : [...argv];
}

function listVerbs(): string {
  return VERBS.map(([name, summary]) => `  ${name.padEnd(11)} ${summary}`).join('\n');
}

function isCommanderError(error: unknown): error is CommanderError {
  return error instanceof CommanderError;
}

function asUsageError(error: CommanderError, argv: readonly string[]): DatamoverError {
  const verb = VERBS.find(([name]) => argv.includes(name))?.[0];
  const [cause = '', advice] =
    // A verb with verbs of its own, and none of them named.
    error.code === 'commander.help'
      ? [`${verb ?? 'it'} wants to know what to do`]
      : error.message.replace(/^error: /, '').split('\n');
  return new DatamoverError({
    operation: 'understand the command line',
    cause: cause.replace(/\.$/, ''),
    hint: advice?.replace(/^\(|\)$/g, '') ?? `see 'datamover ${verb === undefined ? '' : `${verb} `}--help'`,
    kind: 'usage',
  });
}
