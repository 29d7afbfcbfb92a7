import { describe, expect, test } from '@jest/globals';
import { ThreadGroup } from './threads.ts';

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
});
