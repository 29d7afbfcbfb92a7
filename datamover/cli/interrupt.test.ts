import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { access, open, readdir, readFile, readlink } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { commandFailure, run, start, type Running } from '../process/spawn.ts';
import { DATAMOVER, Workbench } from './testing/command.ts';

/** Waits until the command has said something that matches. */
async function said(stream: NodeJS.ReadableStream, pattern: RegExp): Promise<string> {
  let text = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    text += chunk.toString();
    if (pattern.test(text)) return text;
  }
  throw new Error(`the command ended after saying only: ${text}`);
}

/** What ended it; a shell shows SIGINT as 130. */
async function signalOf({ finished }: Running): Promise<NodeJS.Signals | undefined> {
  const failure: unknown = await finished.then(
    () => undefined,
    (error: unknown) => error,
  );
  return commandFailure(failure)?.signal;
}

describe('stopping', () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.json(['init']);
  });
  afterAll(() => bench.remove());

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends a backup with 130, says how to go on, and leaves no lock; the same command then completes',
    async (signal) => {
      const content = await bench.image('disk.img', 4);
      const endless = new PassThrough();
      const args = ['--json', 'backup', '--stdin', '--as', 'image', '--volume', 'shop/db'];
      const running = await bench.start(args, { input: endless, env: { RESTIC_PROGRESS_FPS: '20' } });
      endless.write(content);
      await said(running.stdout, /"bytes_done":4194304/);
      process.kill(running.pid, signal);
      const { status, stderr } = await running.finished;
      endless.destroy();
      expect(status).toBe(130);
      const failure = JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as { code: number; message: string };
      expect(failure).toMatchObject({ message_type: 'exit_error', code: 130 });
      expect(failure.message).toContain(`backup of shop/db: stopped by ${signal}`);
      expect(failure.message).toContain('run the same command again');
      expect(await bench.json(['inspect', 'lock'])).toEqual([[]]);
      expect(await bench.json(['snapshots'])).toEqual([[]]);
      const lines = await bench.json([
        'backup',
        `file:${bench.path('disk.img')}`,
        '--volume',
        'shop/db',
        '--dry-run',
      ]);
      expect(lines.at(-1)).toMatchObject({ message_type: 'summary' });
    },
  );

  test('a child whose agent is gone before it has begun ends, too', async () => {
    const endless = new PassThrough();
    const args = ['--json', 'backup', '--stdin', '--as', 'image', '--volume', 'shop/db'];
    const env = { DATAMOVER_FOLLOW_PARENT: '999999999' };
    const running = await bench.start(args, { input: endless, env });
    const { status, stderr } = await running.finished;
    endless.destroy();
    expect(status).toBe(130);
    expect(stderr).toContain('stopped by the end of the process that started it');
  });

  test('a second signal ends the command at once', async () => {
    // A producer that ignores SIGTERM keeps the orderly end waiting.
    const stubborn = ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'];
    const args = [
      '--json',
      'backup',
      '--as',
      'stream',
      '--volume',
      'shop/files',
      '--stdin-command',
      ...stubborn,
    ];
    const running = await bench.start(args, { env: { RESTIC_PROGRESS_FPS: '20' } });
    await said(running.stdout, /"bytes_done":[1-9]/);
    const stoppedAt = performance.now();
    process.kill(running.pid, 'SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.kill(running.pid, 'SIGINT');
    expect(await signalOf(running)).toBe('SIGINT');
    expect(performance.now() - stoppedAt).toBeLessThan(3000);
  });

  test('a second signal ends the command though a thread of it is in a call that does not return', async () => {
    const path = bench.path('password');
    await run({ file: 'mkfifo', args: [path] });
    // Nobody writes to it: whoever reads it waits, as for a server of files that does not answer.
    const silent = await open(path, 'r+');
    const running = await bench.start(['snapshots', '--password-file', path]);
    const isOpen = async (): Promise<boolean> => {
      const folder = `/proc/${running.pid}/fd`;
      const links = (await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => ''));
      return (await Promise.all(links)).includes(path);
    };
    while (!(await isOpen())) await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(running.pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.kill(running.pid, 'SIGTERM');
    expect(await signalOf(running)).toBe('SIGINT');
    await silent.close();
  });

  test('one signal ends a command that waits for its reader alone', async () => {
    const path = bench.path('unread');
    await run({ file: 'mkfifo', args: [path] });
    const full = await open(path, 'r+');
    await full.write(Buffer.alloc(65_536));
    const intoIt = ['-c', 'exec "$0" --help > "$1"', DATAMOVER, path];
    const running = await start({ file: 'sh', args: intoIt });
    const clock = async (): Promise<string> => {
      const fields = (await readFile(`/proc/${running.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return fields.slice(11, 13).join('+');
    };
    // It takes time of the processor until it has said all.
    for (let last = ''; last !== (last = await clock());)
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    process.kill(running.pid, 'SIGTERM');
    expect(await signalOf(running)).toBe('SIGINT');
    await full.close();
  });

  test('a reader that goes away does not end a backup', async () => {
    await bench.image('disk.img', 2);
    const running = await bench.start(
      ['--json', 'backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db'],
      {
        env: { RESTIC_PROGRESS_FPS: '60' },
      },
    );
    running.stdout.destroy();
    expect((await running.finished).status).toBe(0);
    const [list] = await bench.json(['snapshots', '--volume', 'shop/db']);
    expect(list).toHaveLength(1);
  });

  test('a stopped restore leaves no half file behind', async () => {
    const out = bench.path('half.img');
    const args = [
      '--json',
      'restore',
      'latest',
      '--volume',
      'shop/db',
      '--to',
      `file:${out}`,
      '--limit-download',
      '64',
    ];
    const running = await bench.start(args, { env: { RESTIC_PROGRESS_FPS: '20' } });
    await said(running.stdout, /"message_type":"status"/);
    process.kill(running.pid, 'SIGINT');
    const { status, stderr } = await running.finished;
    expect(status).toBe(130);
    expect(stderr).toContain('what was new was taken away');
    await expect(access(out)).rejects.toThrow('ENOENT');
  });

  test('a failure of the reader of a restore is one', async () => {
    const running = await bench.start(['restore', 'latest', '--volume', 'shop/db', '--to', '-']);
    running.stdout.destroy();
    const failure: unknown = await running.finished.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(commandFailure(failure)?.status).toBe(1);
    expect(commandFailure(failure)?.stderr).toMatch(/^datamover: [^\n]*its reader has gone[^\n]*\n$/m);
  });
});
