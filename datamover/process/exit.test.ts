import { once } from 'node:events';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { run, start } from './spawn.ts';

const MODULE = new URL('exit.js', import.meta.url).href;
const KOFFI = createRequire(import.meta.url).resolve('koffi');

const script = (body: string): readonly string[] => [
  '--input-type=module',
  '-e',
  `import { exit, exitWhenWritten } from ${JSON.stringify(MODULE)};\n${body}`,
];
/** For a shell. */
const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

test('a thread in a call that does not return keeps nobody from ending, with its status and after its listeners', async () => {
  const asleep = `
    const sleep = require(${JSON.stringify(KOFFI)}).load(null).func('int sleep(int seconds)');
    require('node:worker_threads').parentPort.postMessage('asleep now');
    sleep(3000);`;
  const { status, stdout } = await run({
    file: process.execPath,
    args: script(`
      import { Worker } from 'node:worker_threads';
      process.on('exit', (status) => console.log('a listener', status));
      new Worker(${JSON.stringify(asleep)}, { eval: true, execArgv: [] }).on('message', () => exit(3));`),
    accept: [3],
  });
  expect([status, stdout]).toEqual([3, 'a listener 3\n']);
});

test('what was written to a pipe before is there, however slow its reader', async () => {
  const running = await start({
    file: process.execPath,
    args: script(
      `for (let i = 0; i < 50; i++) process.stdout.write('x'.repeat(100_000)); await exitWhenWritten(0);`,
    ),
  });
  await delay(500);
  expect(await text(running.stdout)).toHaveLength(5_000_000);
  await running.finished;
});

test('files that it shares with others are left as blocking as they were', async () => {
  const body = `process.stdin.resume(); process.stdout.write('x'); exit(0);`;
  const command = [process.execPath, ...script(body)].map(quote).join(' ');
  const flags = 'grep flags: /proc/self/fdinfo/0 /proc/self/fdinfo/1 >&2';
  const running = await start({ file: 'sh', args: ['-c', `${flags}; ${command}; ${flags}`] });
  const [said] = await Promise.all([text(running.stdout), once(running.stdout, 'end')]);
  const { stderr } = await running.finished;
  const lines = stderr.trim().split('\n');
  expect([said, lines.length]).toEqual(['x', 4]);
  expect(lines.slice(2)).toEqual(lines.slice(0, 2));
});

test('a terminal echoes again', async () => {
  const quoted = [process.execPath, ...script('process.stdin.setRawMode(true); exit(1);')]
    .map(quote)
    .join(' ');
  const command = `stty -a; ${quoted}; echo ended with $?; stty -a`;
  const keyboard = new PassThrough();
  const running = await start({
    file: 'script',
    args: ['--quiet', '--return', '--command', command, '/dev/null'],
    input: keyboard,
  });
  const [before, after] = (await text(running.stdout)).split(/ended with 1\s+/);
  keyboard.end();
  await running.finished;
  expect(before).toContain(' echo ');
  expect(after).toBe(before);
});

test('a stream that cannot be written keeps its peace where nothing was said', async () => {
  const ends = async (body: string): Promise<number> => {
    const node = [process.execPath, ...script(body)];
    const args = ['-c', 'exec "$@" > /dev/full', 'sh', ...node];
    return (await run({ file: 'sh', args, accept: [0, 1] })).status;
  };
  expect(await ends('await exitWhenWritten(0);')).toBe(0);
  expect(await ends(`process.stdout.write('x'); await exitWhenWritten(0);`)).toBe(1);
});
