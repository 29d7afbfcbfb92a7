import { describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../process/spawn.ts';
import { ThreadGroup } from './threads.ts';
import { takeThread, warmThread } from './warm-threads.ts';

function script(code: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}

const WAITS = script(
  "import { parentPort } from 'node:worker_threads'; parentPort.once('message', () => {})",
);

describe('ThreadGroup', () => {
  test('has ended when every thread has, with all that they said', async () => {
    const group = new ThreadGroup(() => undefined);
    const heard: unknown[] = [];
    const says = (word: string): URL =>
      script(`import { parentPort } from 'node:worker_threads'; parentPort.postMessage({ kind: '${word}' })`);
    for (const word of ['one', 'two']) group.start(says(word), {}, ({ kind }) => heard.push(kind));
    await group.finished();
    expect(heard.sort()).toEqual(['one', 'two']);
  });

  test.each([
    ['ends without a word', 'process.exit(3)', /code 3/],
    ['throws', "throw new Error('out of order')", /out of order/],
  ])('fails, and stops the others, when a thread %s', async (_name, code, message) => {
    let stops = 0;
    const group = new ThreadGroup(() => stops++);
    group.start(WAITS, {}, () => undefined);
    group.start(script(code), {}, () => undefined);
    await expect(group.finished()).rejects.toThrow(message);
    expect(stops).toBeGreaterThan(0);
  });

  test.each([
    ['cannot be started', new URL('http://localhost/thread.js'), {}, /file/],
    ['does not get its job', WAITS, { job: () => undefined }, /could not be cloned/],
  ])('fails, and stops the others, when a thread %s', async (_name, other, start, message) => {
    let stops = 0;
    const group = new ThreadGroup(() => stops++);
    group.start(WAITS, {}, () => undefined);
    group.start(other, start, () => undefined);
    // It is no use to begin what comes behind.
    group.start(script('throw new Error("it was begun")'), {}, () => undefined);
    await expect(group.finished()).rejects.toThrow(message);
    expect(stops).toBeGreaterThan(0);
  });
});

describe('warmThread', () => {
  /** Tells its number with what it is sent. */
  const ECHOES = script(
    "import { parentPort, threadId } from 'node:worker_threads'; parentPort.once('message', (start) => parentPort.postMessage({ kind: 'echo', threadId, start }))",
  );

  test('starts the thread that is taken next, which gets its job then', async () => {
    warmThread(ECHOES);
    const group = new ThreadGroup(() => undefined);
    const heard: { threadId: number; start: unknown }[] = [];
    const hear = (message: { kind: 'echo'; threadId: number; start: unknown }): void =>
      void heard.push(message);
    for (const word of ['first', 'second']) group.start(ECHOES, { word }, hear);
    await group.finished();
    // The warm one was there before the other.
    heard.sort((a, b) => a.threadId - b.threadId);
    expect(heard).toMatchObject([{ start: { word: 'first' } }, { start: { word: 'second' } }]);
  });

  test('forgets a thread that ended before it was taken', async () => {
    const dies = script("process.exit(3) // unless it is the job's");
    warmThread(dies);
    // A thread that has ended has no number.
    await delay(1000);
    const thread = takeThread(dies);
    const code = await new Promise((resolve) => thread.once('exit', resolve));
    expect(code).toBe(3);
  });

  test('keeps no process alive', async () => {
    const module = new URL('./warm-threads.js', import.meta.url).href;
    const code = `const { warmThread } = await import(${JSON.stringify(module)}); warmThread(new URL(${JSON.stringify(WAITS.href)}));`;
    await run({ file: process.execPath, args: ['--input-type=module', '-e', code] });
  });
});
