import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, writeFile } from 'node:fs/promises';
import { Workbench } from './testing/command.ts';

interface BadInput {
  readonly why: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly code: number;
  readonly sentence: string;
}

const BACKUP = ['backup', 'file:image', '--volume', 'shop/db'];

/** Each with the exit code and (a part of) the sentence that a person reads. */
const BAD_INPUTS: readonly BadInput[] = [
  {
    why: 'an unknown verb',
    args: ['bakup'],
    code: 1,
    sentence: "unknown command 'bakup' (Did you mean backup?)",
  },
  {
    why: 'half a verb',
    args: ['key'],
    code: 1,
    sentence: "key wants to know what to do (see 'datamover key --help')",
  },
  {
    why: 'an unknown option',
    args: ['snapshots', '--lastest', '1'],
    code: 1,
    sentence: "unknown option '--lastest'",
  },
  {
    why: 'a number of backups that is none',
    args: ['snapshots', '--latest', 'two'],
    code: 1,
    sentence: 'Write a whole number',
  },
  { why: 'an argument too many', args: ['init', 'here'], code: 1, sentence: 'too many arguments' },
  {
    why: 'no repository named',
    args: ['snapshots'],
    env: { RESTIC_REPOSITORY: undefined },
    code: 1,
    sentence: 'find the repository: none was named (use -r LOCATION',
  },
  {
    why: 'two ways to name it',
    args: ['-r', 'a', '--repository-file', 'b', 'snapshots'],
    code: 1,
    sentence: 'exclude each other',
  },
  {
    why: 'a repository file that is not there',
    args: ['--repository-file', '/nowhere/file', 'snapshots'],
    code: 1,
    sentence: 'read the repository file /nowhere/file: ENOENT',
  },
  {
    why: 'a location of another kind',
    args: ['-r', 'sftp:host:/repo', 'snapshots'],
    code: 1,
    sentence: 'sftp',
  },
  {
    why: 'S3 without keys',
    args: ['-r', 's3:http://127.0.0.1:1/bucket', 'snapshots'],
    code: 1,
    sentence: 'AWS_ACCESS_KEY_ID is not set',
  },
  {
    why: 'no repository there',
    args: ['-r', '/nowhere/repo', 'snapshots'],
    code: 10,
    sentence: 'open repository /nowhere/repo: there is no repository here',
  },
  {
    why: 'a wrong password',
    args: ['snapshots'],
    env: { RESTIC_PASSWORD: 'wrong' },
    code: 12,
    sentence: 'wrong password',
  },
  {
    why: 'no password and no terminal',
    args: ['snapshots'],
    env: { RESTIC_PASSWORD: undefined },
    code: 1,
    sentence: 'read the password: none was given (use --password-file',
  },
  {
    why: 'an empty password file',
    args: ['snapshots', '-p', 'empty'],
    code: 1,
    sentence: 'read the password: it is empty',
  },
  {
    why: 'a password file that is not there',
    args: ['snapshots', '-p', 'missing'],
    code: 1,
    sentence: 'read the password file missing: ENOENT',
  },
  {
    why: 'a password command that fails',
    args: ['snapshots', '--password-command', 'false'],
    code: 1,
    sentence: 'false: exit status 1',
  },
  {
    why: 'a password command that is not there',
    args: ['snapshots', '--password-command', 'no-such-program -x'],
    code: 1,
    sentence: 'no-such-program is not installed',
  },
  {
    why: 'an unknown store setting',
    args: ['snapshots', '-o', 's3.colour=red'],
    code: 1,
    sentence: 's3.colour is not known',
  },
  {
    why: 'a limit that is no number',
    args: ['snapshots', '--limit-upload', 'fast'],
    code: 1,
    sentence: 'Write a whole number',
  },
  {
    why: 'a wrong compression',
    args: BACKUP,
    env: { RESTIC_COMPRESSION: 'zip' },
    code: 1,
    sentence: 'read RESTIC_COMPRESSION zip: Write auto, off, max or fastest',
  },
  { why: 'a second init', args: ['init'], code: 1, sentence: 'there is a repository already' },
  {
    why: 'a future repository version',
    args: ['init', '--repository-version', '3'],
    code: 1,
    sentence: 'there is no repository version 3',
  },
  {
    why: 'a backup of nothing',
    args: ['backup', '--volume', 'shop/db'],
    code: 1,
    sentence: 'there is nothing to back up',
  },
  {
    why: 'a backup without a name',
    args: ['backup', 'file:image'],
    code: 1,
    sentence: 'use --volume NAMESPACE/NAME',
  },
  {
    why: 'a volume without a namespace',
    args: ['backup', 'file:image', '--volume', 'db'],
    code: 1,
    sentence: 'it is not of the form NAMESPACE/NAME',
  },
  {
    why: 'a volume name that climbs',
    args: ['backup', 'file:image', '--volume', '../db'],
    code: 1,
    sentence: 'it is not of the form NAMESPACE/NAME',
  },
  {
    why: 'a source without file:',
    args: ['backup', 'image', '--volume', 'shop/db'],
    code: 1,
    sentence: 'a volume is written file:PATH',
  },
  { why: 'two sources', args: [...BACKUP, 'file:other'], code: 1, sentence: 'one volume at a time' },
  {
    why: 'a source that is not there',
    args: ['backup', 'file:/nowhere/image', '--volume', 'shop/db'],
    code: 1,
    sentence: '/nowhere/image',
  },
  {
    why: 'a folder as a source',
    args: ['backup', 'file:folder', '--volume', 'shop/db'],
    code: 1,
    sentence: 'folder',
  },
  {
    why: 'stdin without a format',
    args: ['backup', '--stdin', '--volume', 'shop/db'],
    code: 1,
    sentence: 'use --as image, zvol, zfs, rbd-diff or stream',
  },
  {
    why: 'stdin and a file',
    args: ['backup', '--stdin', '--as', 'image', 'file:image', '--volume', 'shop/db'],
    code: 1,
    sentence: 'does not go together with --stdin',
  },
  {
    why: 'a producer without a program',
    args: ['backup', '--volume', 'shop/db', '--as', 'stream', '--stdin-command'],
    code: 1,
    sentence: 'not followed by a program',
  },
  {
    why: 'a producer that fails',
    args: [
      'backup',
      '--volume',
      'shop/db',
      '--as',
      'stream',
      '--stdin-command',
      'sh',
      '-c',
      'echo half; echo broken >&2; exit 3',
    ],
    code: 1,
    sentence: 'exit status 3: broken',
  },
  {
    why: 'a producer that is not there',
    args: ['backup', '--volume', 'shop/db', '--as', 'stream', '--stdin-command', 'no-such-program'],
    code: 1,
    sentence: 'no-such-program is not installed',
  },
  { why: 'a time that is none', args: [...BACKUP, '--time', 'yesterday'], code: 1, sentence: 'Write a time' },
  {
    why: 'a parent that is not there',
    args: [...BACKUP, '--parent', '0123'],
    code: 1,
    sentence: 'find snapshot 0123: no such snapshot',
  },
  {
    why: 'a restore without a target',
    args: ['restore', 'latest'],
    code: 1,
    sentence: 'use --to file:PATH',
  },
  {
    why: 'a restore of nothing',
    args: ['restore', 'latest', '--volume', 'shop/none', '--to', 'file:out'],
    code: 1,
    sentence: 'there is no backup of shop/none',
  },
  {
    why: 'a restore over a file',
    args: ['restore', 'latest', '--volume', 'shop/db', '--to', 'file:image'],
    code: 1,
    sentence: 'use --force',
  },
  {
    why: 'a restore into a folder that is not there',
    args: ['restore', 'latest', '--volume', 'shop/db', '--to', 'file:/nowhere/out'],
    code: 1,
    sentence: 'restore to /nowhere/out: the folder does not exist',
  },
  {
    why: 'verifying a pipe',
    args: ['restore', 'latest', '--to', '-', '--verify'],
    code: 1,
    sentence: '--verify cannot read standard output back',
  },
  {
    why: 'an unknown snapshot',
    args: ['ls', 'ffff'],
    code: 1,
    sentence: 'find snapshot ffff: no such snapshot',
  },
  {
    why: 'an unknown kind of object',
    args: ['inspect', 'banana'],
    code: 1,
    sentence: 'the kinds are config, snapshot',
  },
  {
    why: 'a blob that is not there',
    args: ['inspect', 'blob', 'f'.repeat(64)],
    code: 1,
    sentence: 'no index file names it',
  },
  { why: 'a policy that says nothing', args: ['forget'], code: 1, sentence: 'the policy keeps nothing' },
  {
    why: 'a policy and names',
    args: ['forget', 'latest', '--keep-last', '1'],
    code: 1,
    sentence: 'use one of the two',
  },
  {
    why: 'a number to keep that is none',
    args: ['forget', '--keep-daily', 'some'],
    code: 1,
    sentence: 'Write a number of snapshots, or unlimited',
  },
  {
    why: 'a span that is none',
    args: ['forget', '--keep-within', '3w'],
    code: 1,
    sentence: 'is not a duration',
  },
  {
    why: 'a grouping that is none',
    args: ['forget', '--keep-last', '1', '--group-by', 'size'],
    code: 1,
    sentence: 'cannot group by "size"',
  },
  {
    why: 'an unused limit that is none',
    args: ['prune', '--max-unused', 'much'],
    code: 1,
    sentence: 'is no limit for unused data',
  },
  { why: 'the key in use', args: ['key', 'remove', ''], code: 1, sentence: 'there is no such key' },
];

describe('bad input is answered with one sentence and the right exit code', () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.image('image', 1);
    await writeFile(bench.path('empty'), '\n');
    await mkdir(bench.path('folder'));
    await bench.json(['init']);
    await bench.json(['backup', `file:${bench.path('image')}`, '--volume', 'shop/db']);
  });
  afterAll(() => bench.remove());

  test.each(BAD_INPUTS)('$why', async ({ args, env, code, sentence }) => {
    const places = ['image', 'other', 'folder', 'out'].map(
      (name) => [`file:${name}`, `file:${bench.path(name)}`] as const,
    );
    const full = args.map(
      (arg) => places.find(([short]) => short === arg)?.[1] ?? (arg === 'empty' ? bench.path('empty') : arg),
    );
    const { status, stdout, stderr } = await bench.run(full, { ...(env === undefined ? {} : { env }) });
    expect(stderr).toContain(sentence);
    expect(stderr).toMatch(/^datamover: [^\n]+\n$/);
    expect(stdout).toBe('');
    expect(status).toBe(code);
  });

  test.each(BAD_INPUTS.filter(({ code }) => code !== 1))(
    '$why, with --json',
    async ({ args, env, code, sentence }) => {
      const { status, stdout, stderr } = await bench.run([...args, '--json'], {
        ...(env === undefined ? {} : { env }),
      });
      const failure = JSON.parse(stderr) as { message_type: string; code: number; message: string };
      expect(failure).toMatchObject({ message_type: 'exit_error', code });
      expect(failure.message).toContain(sentence);
      expect(stdout).toBe('');
      expect(status).toBe(code);
    },
  );

  test('a failed command leaves neither a snapshot nor a lock behind', async () => {
    const [snapshots] = await bench.json(['snapshots']);
    expect(snapshots).toHaveLength(1);
    expect(await bench.json(['inspect', 'lock'])).toEqual([[]]);
  });

  test('a secret in a location is not repeated', async () => {
    const { stderr } = await bench.run(['-r', 's3:http://key:secret@127.0.0.1:1/bucket', 'snapshots']);
    expect(stderr).toContain('it holds credentials');
    expect(stderr).not.toContain('secret');
  });
});
