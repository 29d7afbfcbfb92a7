import { expect, test } from '@jest/globals';
import { CheckThreads } from './check-threads.ts';
import { newMasterKey } from './key-file.ts';

/** Thread doubles: a real one ends so only when the kernel or Node takes it away. */
const script = (code: string): URL =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'; ${code}`)}`,
  );

test.each([
  ['ends without a word', "parentPort.once('message', () => process.exit(0))", /ended with code 0/],
  ['ends before it is asked', 'process.exit(3)', /ended with code 3/],
  ['throws', "parentPort.once('message', () => { throw new Error('out of order') })", /out of order/],
])('a thread that %s fails the check instead of keeping it waiting', async (_, code, message) => {
  const threads = new CheckThreads(newMasterKey(), script(code));
  const pack = { id: 'a'.repeat(64), blobs: [] };
  await expect(threads.verify(pack, 100, async () => undefined)).rejects.toThrow(message);
  await threads.close();
});
