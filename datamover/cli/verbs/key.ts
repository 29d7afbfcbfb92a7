import type { Command } from 'commander';
import {
  addKey,
  changePassword,
  executeKeyRemoval,
  listKeys,
  planKeyRemoval,
  type KeyEntry,
  type KeyOwner,
} from '../../repository/keys.ts';
import { readNewPassword, terminalPrompt } from '../password.ts';
import { withRepository } from '../session.ts';
import { passwordSources } from '../settings.ts';
import { formatTable } from '../table.ts';
import { formatTime } from '../units.ts';
import type { Context, Run, Verb } from '../verb.ts';

interface NewPasswordOptions {
  readonly newPasswordFile?: string;
  readonly newPasswordCommand?: string;
  readonly newInsecureNoPassword?: boolean;
  readonly user?: string;
  readonly host?: string;
}

const EXAMPLES = `
Examples:
  datamover key list
  datamover key add --new-password-file colleague.txt --user colleague
  datamover key passwd
  datamover key remove 3f2a81c0

Each key opens the whole repository with a password of its own. The key in use cannot be removed: open the repository with
another password for that. Who has copied a removed key file and knows its password can still read the data.`;

export const verb: Verb = {
  configure(command, run) {
    command.description('Manages the passwords that open the repository.').addHelpText('after', EXAMPLES);
    configureList(command, run);
    configureAdd(command, run);
    configurePasswd(command, run);
    configureRemove(command, run);
  },
};

function configureList(command: Command, run: Run): void {
  command
    .command('list')
    .description('Lists the keys; the one in use is marked with *. JSON: an array, as from restic.')
    .action(() =>
      run((context) =>
        withRepository(context, { lock: 'read' }, async (repository) => {
          const keys = await listKeys(repository);
          context.output.record(keys.map(describeKey));
          context.output.data(...formatKeys(keys));
        }),
      ),
    );
}

function configureAdd(command: Command, run: Run): void {
  newPasswordOptions(command.command('add'))
    .description('Adds a key with a new password, which is asked for on the terminal if it is not given.')
    .action((options: NewPasswordOptions) =>
      run((context) =>
        withRepository(context, { lock: 'shared' }, async (repository) => {
          const id = await addKey(repository, await newPassword(context, options), owner(options));
          context.output.say(`added key ${id.slice(0, 8)}`);
          context.output.record({ message_type: 'summary', action: 'added', id });
        }),
      ),
    );
}

function configurePasswd(command: Command, run: Run): void {
  newPasswordOptions(command.command('passwd'))
    .description('Replaces the password in use: the new key is there before the old one goes.')
    .action((options: NewPasswordOptions) =>
      run((context) =>
        withRepository(context, { lock: 'exclusive' }, async (repository) => {
          const id = await changePassword(repository, await newPassword(context, options), owner(options));
          context.output.say(`changed the password; the key is now ${id.slice(0, 8)}`);
          context.output.record({ message_type: 'summary', action: 'changed', id });
        }),
      ),
    );
}

function configureRemove(command: Command, run: Run): void {
  command
    .command('remove')
    .argument('<id>', 'the key, or the beginning of its id')
    .description('Removes a key: its password no longer opens the repository.')
    .action((id: string) =>
      run((context) =>
        withRepository(context, { lock: 'exclusive' }, async (repository) => {
          const plan = await planKeyRemoval(repository, id);
          await executeKeyRemoval(repository, plan);
          context.output.say(`removed key ${plan.id.slice(0, 8)}`);
          context.output.record({ message_type: 'summary', action: 'removed', id: plan.id });
        }),
      ),
    );
}

function newPasswordOptions(command: Command): Command {
  return command
    .option('--new-password-file <file>', 'read the new password from a file')
    .option('--new-password-command <command>', 'run a command that prints it')
    .option('--new-insecure-no-password', 'the new password is empty')
    .option('--user <name>', 'the name shown by key list')
    .option('--host <name>', 'the host shown by key list');
}

function newPassword(context: Context, options: NewPasswordOptions): Promise<string> {
  const { newPasswordFile: passwordFile, newPasswordCommand: passwordCommand } = options;
  const sources = passwordSources(
    {
      ...(passwordFile === undefined ? {} : { passwordFile }),
      ...(passwordCommand === undefined ? {} : { passwordCommand }),
      ...(options.newInsecureNoPassword === true ? { insecureNoPassword: true } : {}),
    },
    {},
  );
  return readNewPassword(sources, terminalPrompt(), context.interrupt.signal);
}

function owner({ user, host }: NewPasswordOptions): KeyOwner {
  return {
    ...(user === undefined ? {} : { username: user }),
    ...(host === undefined ? {} : { hostname: host }),
  };
}

function describeKey({ id, current, file }: KeyEntry): Record<string, unknown> {
  return {
    current,
    id,
    short_id: id.slice(0, 8),
    userName: file.username,
    hostName: file.hostname,
    created: file.created,
  };
}

function formatKeys(keys: readonly KeyEntry[]): string[] {
  return formatTable(
    [{ heading: ' ID' }, { heading: 'User' }, { heading: 'Host' }, { heading: 'Created' }],
    keys.map(({ id, current, file }) => [
      `${current ? '*' : ' '}${id.slice(0, 8)}`,
      file.username,
      file.hostname,
      formatTime(file.created),
    ]),
  );
}
