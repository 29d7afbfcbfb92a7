import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { PassThrough } from 'node:stream';
import { start } from '../process/spawn.ts';
import { DATAMOVER, Workbench } from './testing/command.ts';

/** Runs the command on a terminal of its own (util-linux's script), typing an answer once a question shows. */
async function onTerminal(
  bench: Workbench,
  command: string,
  options: {
    env?: Record<string, string | undefined>;
    answers?: readonly (readonly [question: RegExp, answer: string])[];
  } = {},
): Promise<{ status: number; screen: string }> {
  const keyboard = new PassThrough();
  const running = await start({
    file: 'script',
    args: ['--quiet', '--return', '--command', `stty cols 120; exec ${DATAMOVER} ${command}`, '/dev/null'],
    env: bench.environment(options.env),
    input: keyboard,
    accept: [0, 1, 12, 130],
  });
  const answers = [...(options.answers ?? [])];
  let screen = '';
  let asked = 0;
  for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
    screen += chunk.toString();
    const next = answers[0];
    if (next?.[0].test(screen.slice(asked)) === true) {
      asked = screen.length;
      answers.shift();
      keyboard.write(next[1]);
    }
  }
  keyboard.end();
  const { status } = await running.finished;
  return { status, screen };
}

describe('on a terminal', () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.image('disk.img', 6);
  });
  afterAll(() => bench.remove());

  test('a new password is asked for twice and never shown', async () => {
    const noPassword = { RESTIC_PASSWORD: undefined };
    const differs = await onTerminal(bench, 'init', {
      env: noPassword,
      answers: [
        [/new password: $/, 'secret one\r'],
        [/the same again: $/, 'secret two\r'],
      ],
    });
    expect(differs.screen).toContain('the two entries differ');
    expect(differs.status).toBe(1);
    const made = await onTerminal(bench, 'init', {
      env: noPassword,
      answers: [
        [/new password: $/, 'corectly\u007f\u007f\u007f\u007f\u007frect horse\r'],
        [/the same again: $/, 'correct horse\r'],
      ],
    });
    expect(made.screen).toContain('created repository');
    expect(made.screen).not.toMatch(/horse|secret/);
    expect(made.status).toBe(0);
    expect((await bench.run(['snapshots'])).status).toBe(0);
  });

  test('a password is asked for, and Ctrl-C there is a stop', async () => {
    const noPassword = { RESTIC_PASSWORD: undefined };
    const opened = await onTerminal(bench, 'snapshots', {
      env: noPassword,
      answers: [[/password for .*: $/, 'correct horse\r']],
    });
    expect(opened.screen).toContain('no snapshots');
    const wrong = await onTerminal(bench, 'snapshots', {
      env: noPassword,
      answers: [[/password for .*: $/, 'wrong\r']],
    });
    expect(wrong.status).toBe(12);
    const stopped = await onTerminal(bench, 'snapshots', {
      env: noPassword,
      answers: [[/password for .*: $/, '\u0003']],
    });
    expect(stopped.status).toBe(130);
  });

  test('progress is one line that moves, with percent, amounts, rate and the time left, and a clean summary follows', async () => {
    const { status, screen } = await onTerminal(
      bench,
      `backup file:${bench.path('disk.img')} --volume shop/db --limit-upload 3000`,
      { env: { RESTIC_PROGRESS_FPS: '30' } },
    );
    expect(status).toBe(0);
    const frames = screen.split('\r\u001b[K');
    expect(frames.length).toBeGreaterThan(5);
    // No frame but the last holds a line feed: nothing scrolls while the line moves.
    expect(frames.slice(0, -1).filter((frame) => frame.includes('\n'))).toEqual([]);
    expect(
      frames.some((frame) => /^\d+\.\d % {2}\d.* of 6\.0 MiB {2}.*new .* known .* zero /.test(frame)),
    ).toBe(true);
    expect(frames.at(-1)).toMatch(
      /^shop\/db: 6\.0 MiB backed up in .*\r\n {2}new 6\.0 MiB, .*\r\n.*\r\nsnapshot [0-9a-f]{8} saved\r\n$/,
    );
  });

  test('-q is quiet', async () => {
    const { screen } = await onTerminal(bench, `backup -q file:${bench.path('disk.img')} --volume shop/db`);
    expect(screen).toBe('');
  });

  test('a volume is not poured over the terminal', async () => {
    const { status, screen } = await onTerminal(bench, 'restore latest --volume shop/db --to -');
    expect(screen).toContain('standard output is a terminal');
    expect(status).toBe(1);
  });
});
