import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { commandFailure, run, start, type Command } from './spawn.ts';

const node = process.execPath;

/** A program written in JavaScript: real processes without depending on what the machine has. */
function script(code: string, rest: Partial<Command> = {}): Command {
  return { file: node, args: ['-e', code], ...rest };
}

async function failureOf(work: Promise<unknown>): Promise<DatamoverError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DatamoverError)) throw new Error(`not a DatamoverError: ${String(error)}`);
  return error;
}

/** Resolves when no process has this id any more. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('run', () => {
  test('gives stdout, stderr and the status', async () => {
    const out = await run(script('console.log("ä out"); console.error("err")'));
    expect(out).toEqual({ status: 0, stdout: 'ä out\n', stderr: 'err\n' });
  });

  test('passes arguments as they are, without a shell', async () => {
    const nasty = ['$(id)', 'a b', '*', '"\'', ';exit 3'];
    const out = await run({
      file: node,
      args: ['-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--', ...nasty],
    });
    expect(JSON.parse(out.stdout)).toEqual(nasty);
  });

  test('keeps passwords and keys of this process from the program, but for one that may have them', async () => {
    const secrets = ['RESTIC_PASSWORD', 'RESTIC_FROM_PASSWORD', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];
    const before = secrets.map((name) => [name, process.env[name]] as const);
    for (const name of secrets) process.env[name] = 'secret';
    try {
      const names = `console.log(${JSON.stringify(secrets)}.filter((name) => name in process.env).join())`;
      expect((await run(script(names))).stdout).toBe('\n');
      expect((await run(script(names, { env: { RESTIC_PASSWORD: 'given' } }))).stdout).toBe(
        'RESTIC_PASSWORD\n',
      );
      expect((await run(script(names, { inheritsSecrets: true }))).stdout).toBe(`${secrets.join()}\n`);
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = value;
      }
    }
  });

  test('lays env over the environment and takes names away', async () => {
    process.env['SPAWN_TEST_GONE'] = 'x';
    const out = await run(
      script('console.log(process.env.SPAWN_TEST_NEW, process.env.SPAWN_TEST_GONE, !!process.env.PATH)', {
        env: { SPAWN_TEST_NEW: 'new', SPAWN_TEST_GONE: undefined },
      }),
    );
    delete process.env['SPAWN_TEST_GONE'];
    expect(out.stdout).toBe('new undefined true\n');
  });

  test.each([
    ['text', 'hallo'],
    ['bytes', new TextEncoder().encode('hallo')],
    ['a stream', Readable.from([Buffer.from('hal'), Buffer.from('lo')])],
  ])('feeds %s to stdin', async (_, input) => {
    expect((await run(script('process.stdin.pipe(process.stdout)', { input }))).stdout).toBe('hallo');
  });

  test('without input stdin is empty', async () => {
    expect((await run(script('process.stdin.pipe(process.stdout)'))).stdout).toBe('');
  });

  test('a program that stops reading is judged by its exit status', async () => {
    const input = Buffer.alloc(4 << 20);
    expect((await run(script('process.exit(0)', { input }))).status).toBe(0);
  });

  test('a source that fails does not look like one that ended', async () => {
    const input = new PassThrough();
    input.write('half');
    setTimeout(() => input.destroy(new Error('the disk went away')), 20);
    const error = await failureOf(run(script('process.stdin.resume()', { input })));
    expect(error.message).toContain('the disk went away');
  });

  test('a failure says operation, subject, status and the last words of stderr', async () => {
    const command = script(
      'console.log("out"); console.error("one\\ntwo\\n\\nthe reason"); process.exit(7)',
      {
        operation: 'export image',
        subject: 'pool/a',
      },
    );
    const error = await failureOf(run(command));
    expect(error.message).toBe('export image pool/a: exit status 7: one; two; the reason');
    expect(commandFailure(error)).toMatchObject({ status: 7, signal: undefined, stdout: 'out\n' });
  });

  test('a status that the caller accepts is no failure', async () => {
    expect((await run(script('process.exit(3)', { accept: [0, 3] }))).status).toBe(3);
    expect(commandFailure(await failureOf(run(script('', { accept: [3] }))))?.status).toBe(0);
  });

  test('death by a signal is a failure', async () => {
    const error = await failureOf(run(script('process.kill(process.pid, "SIGKILL")')));
    expect(commandFailure(error)).toMatchObject({ status: undefined, signal: 'SIGKILL' });
    expect(error.message).toContain('ended by SIGKILL');
  });

  test('a missing program is named, with what to do', async () => {
    const error = await failureOf(run({ file: 'no-such-program', args: [] }));
    expect(error.message).toBe(
      'run no-such-program: no-such-program is not installed (install no-such-program or put it on the PATH)',
    );
  });

  test('output without end is cut off as a failure, not kept in memory', async () => {
    const error = await failureOf(
      run(script('const b = Buffer.alloc(1 << 20); const w = () => process.stdout.write(b, w); w()')),
    );
    expect(error.message).toMatch(/: node wrote more than 67108864 bytes$/);
  });

  test('the signal ends the program', async () => {
    const stopper = new AbortController();
    setTimeout(() => stopper.abort(), 200);
    const error = await failureOf(run(script('setInterval(() => {}, 1000)', { signal: stopper.signal })));
    expect(error.kind).toBe('cancelled');
    const late = await failureOf(run(script('', { signal: stopper.signal })));
    expect(late.kind).toBe('cancelled');
  });
});

describe('start', () => {
  test('streams stdout and tells the outcome after it', async () => {
    const running = await start(script('process.stdout.write(Buffer.alloc(3 << 20, 1))'));
    let size = 0;
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) size += chunk.length;
    expect(size).toBe(3 << 20);
    await expect(running.finished).resolves.toMatchObject({ status: 0 });
  });

  test('a descriptor of ours gets stdout itself, and the outcome is told', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'datamover-spawn-'));
    const file = await open(join(folder, 'out'), 'w+');
    try {
      const code = 'process.stdout.write("direct"); process.exitCode = 3';
      const running = await start(script(code, { stdoutTo: file.fd }));
      await expect(running.finished).rejects.toThrow(/exit status 3/);
      expect(await readFile(join(folder, 'out'), 'utf8')).toBe('direct');
      const stopper = new AbortController();
      const waiting = await start(
        script('setInterval(() => 0, 1000)', { stdoutTo: file.fd, signal: stopper.signal }),
      );
      stopper.abort();
      await expect(waiting.finished).rejects.toMatchObject({ kind: 'cancelled' });
    } finally {
      await file.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('output that was read in full still fails when the program does', async () => {
    const running = await start(script('process.stdout.write("header"); process.exitCode = 2'));
    let text = '';
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) text += chunk.toString();
    expect(text).toBe('header');
    expect(commandFailure(await failureOf(running.finished))?.status).toBe(2);
  });

  test('the reader of stdout is told of a stop', async () => {
    const stopper = new AbortController();
    const running = await start(
      script('setInterval(() => process.stdout.write("x"), 5)', { signal: stopper.signal }),
    );
    const read = (async () => {
      for await (const chunk of running.stdout as AsyncIterable<Buffer>)
        if (chunk.length > 0) stopper.abort();
    })();
    expect((await failureOf(read)).kind).toBe('cancelled');
    expect((await failureOf(running.finished)).kind).toBe('cancelled');
    await gone(running.pid);
  });

  test('stop ends a program that ignores SIGTERM', async () => {
    const running = await start(
      script('process.on("SIGTERM", () => {}); console.log("ready"); setInterval(() => {}, 1000)'),
    );
    await new Promise((resolve) => running.stdout.once('data', resolve));
    await running.stop();
    expect(commandFailure(await failureOf(running.finished))?.signal).toBe('SIGKILL');
  });

  test('a grandchild that keeps stderr open does not hold up the outcome', async () => {
    const code =
      'require("child_process").spawn(process.execPath, ["-e", "setTimeout(() => {}, 4000)"], ' +
      '{ detached: true, stdio: ["ignore", "ignore", "inherit"] }).unref()';
    const running = await start(script(code));
    running.stdout.resume();
    const began = Date.now();
    await running.finished;
    expect(Date.now() - began).toBeLessThan(3_500);
  });
});
