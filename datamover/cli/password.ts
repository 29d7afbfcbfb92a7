import { DatamoverError } from '../errors.ts';
import { run } from '../process/spawn.ts';
import { splitCommand } from './command-line.ts';
import { type PasswordSources, readText, usage } from './settings.ts';

/** Asks on the terminal; `undefined` where there is none. */
export type Prompt = (question: string) => Promise<string>;

const HINT = 'use --password-file, --password-command, RESTIC_PASSWORD_FILE or RESTIC_PASSWORD';

/** Finds the password. A newline at the end of a file or of a command's output does not belong to it, as in restic. */
export async function readPassword(
  sources: PasswordSources,
  prompt: Prompt | undefined,
  signal: AbortSignal,
  question = 'password for the repository: ',
): Promise<string> {
  if (sources.none === true) return '';
  const password = await read(sources, prompt, signal, question);
  if (password === '') throw usage('read the password', 'it is empty', undefined, HINT);
  return password;
}

/** A new password: asked for twice, as nobody sees what was typed. */
export async function readNewPassword(
  sources: PasswordSources,
  prompt: Prompt | undefined,
  signal: AbortSignal,
): Promise<string> {
  const typed = Object.keys(sources).length === 0;
  const password = await readPassword(sources, prompt, signal, 'new password: ');
  if (typed && prompt !== undefined && (await prompt('the same again: ')) !== password) {
    throw usage('read the new password', 'the two entries differ');
  }
  return password;
}

async function read(
  sources: PasswordSources,
  prompt: Prompt | undefined,
  signal: AbortSignal,
  question: string,
): Promise<string> {
  if (sources.file !== undefined) {
    return lastNewlineOff(await readText(sources.file, 'read the password file'));
  }
  if (sources.command !== undefined) {
    const [file = '', ...args] = splitCommand(sources.command);
    const command = { file, args, signal, inheritsSecrets: true };
    const { stdout } = await run({ ...command, operation: 'read the password from' });
    return lastNewlineOff(stdout);
  }
  if (sources.text !== undefined) return sources.text;
  if (prompt === undefined) throw usage('read the password', 'none was given', undefined, HINT);
  return prompt(question);
}

function lastNewlineOff(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}

/** The terminal's prompt, if standard input is one; typed characters are not shown. */
export function terminalPrompt(
  input: NodeJS.ReadStream = process.stdin,
  output: NodeJS.WriteStream = process.stderr,
): Prompt | undefined {
  if (!input.isTTY) return undefined;
  return (question) =>
    new Promise((resolve, reject) => {
      // Echo goes off before the question shows: who types at once is not seen either.
      input.setRawMode(true);
      output.write(question);
      input.setEncoding('utf8');
      let typed = '';
      const finish = (settle: () => void): void => {
        input.off('data', onData);
        input.setRawMode(false);
        input.pause();
        output.write('\n');
        settle();
      };
      const stopped = (): void =>
        finish(() =>
          reject(new DatamoverError({ operation: 'read the password', cause: 'stopped', kind: 'cancelled' })),
        );
      const onData = (chunk: string): void => {
        for (const char of chunk) {
          if (char === '\r' || char === '\n') return finish(() => resolve(typed));
          // Raw mode hands Ctrl-C and Ctrl-D to us instead of sending a signal.
          if (char === '\u0003' || (char === '\u0004' && typed === '')) return stopped();
          if (char === '\u007f' || char === '\b') typed = typed.replace(/.$/su, '');
          else if (char === '\u0015') typed = '';
          else if (char >= ' ') typed += char;
        }
      };
      input.on('data', onData);
      input.resume();
    });
}
