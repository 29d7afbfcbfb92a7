import { Option, type Command } from 'commander';
import { collectSetting, parseCompression, parseCount, parseSpan } from './arguments.ts';
import type { GlobalOptions } from './settings.ts';

const PLACE = 'Where and with which password:';
const OUTPUT = 'What you see:';
const TRANSPORT = 'How it talks to the store:';

/** The options of every verb. They may stand before or after it, as in restic. */
function globalOptions(): Option[] {
  return [
    option(
      PLACE,
      '-r, --repo <location>',
      'the repository: a path or s3:https://host/bucket/prefix [RESTIC_REPOSITORY]',
    ),
    option(PLACE, '--repository-file <file>', 'read the location from a file [RESTIC_REPOSITORY_FILE]'),
    option(PLACE, '-p, --password-file <file>', 'read the password from a file [RESTIC_PASSWORD_FILE]'),
    option(PLACE, '--password-command <command>', 'run a command that prints it [RESTIC_PASSWORD_COMMAND]'),
    option(
      PLACE,
      '--insecure-no-password',
      'the password is empty (anyone who reads the store reads the data)',
    ),
    option(OUTPUT, '--json', 'results as JSON, progress as JSON lines'),
    option(OUTPUT, '-q, --quiet', 'results and errors only'),
    option(OUTPUT, '-v, --verbose', 'more detail; -vv adds the stack to an error').argParser(
      (_: string, earlier: number | undefined) => (earlier ?? 0) + 1,
    ),
    option(TRANSPORT, '--retry-lock <span>', 'wait this long for a lock of somebody else (5m)').argParser(
      parseSpan,
    ),
    option(TRANSPORT, '--no-lock', 'take no lock where the verb only reads'),
    option(
      TRANSPORT,
      '--cacert <file>',
      'trust the certificate authorities in this PEM file [RESTIC_CACERT]',
    ),
    option(TRANSPORT, '--limit-upload <rate>', 'upload at most so many KiB a second').argParser(parseCount),
    option(TRANSPORT, '--limit-download <rate>', 'download at most so many KiB a second').argParser(
      parseCount,
    ),
    option(TRANSPORT, '--compression <mode>', 'auto, off, max or fastest [RESTIC_COMPRESSION]').argParser(
      parseCompression,
    ),
    option(
      TRANSPORT,
      '-o, --option <key=value>',
      'a setting of the store: s3.region, s3.bucket-lookup, ...',
    ).argParser(collectSetting),
  ];
}

function option(group: string, flags: string, description: string): Option {
  return new Option(flags, description).helpGroup(group);
}

export function helpOption(group = 'Options:'): Option {
  return option(group, '-h, --help', 'this text');
}

/** Adds the global options: shown on the program, hidden (yet understood, also in `-nq`) on its verbs. */
export function addGlobalOptions(command: Command, hidden: boolean): void {
  command.addHelpOption(helpOption(hidden ? 'Options:' : OUTPUT));
  for (const one of globalOptions()) command.addOption(hidden ? one.hideHelp() : one);
}

/** What was given on either side of the verb. A default never hides what somebody wrote. */
export function readGlobalOptions(leaf: Command): GlobalOptions {
  const found: Record<string, unknown> = {};
  for (let command: Command | null = leaf; command !== null; command = command.parent) {
    for (const [key, value] of Object.entries(command.opts())) {
      if (!(key in found) && command.getOptionValueSource(key) !== 'default') found[key] = value;
    }
  }
  return found;
}
