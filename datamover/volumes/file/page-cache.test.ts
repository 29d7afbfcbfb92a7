import { afterEach, expect, test } from '@jest/globals';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { attachLoop, type Borrowed } from '../../../e2e/servers/kernel.ts';
import { FileTarget, planFileTarget } from './target.ts';

const BYTES = 1 << 20;

describePeer('kernel', 'reading a target back', () => {
  let device: Borrowed | undefined;
  let folder: string;
  afterEach(async () => {
    await device?.release();
    await rm(folder, { recursive: true, force: true });
  });

  test('asks the disk, not the memory: a disk that kept something else is found out', async () => {
    folder = await mkdtemp(join(tmpdir(), 'datamover-pages-'));
    const disk = join(folder, 'disk');
    await writeFile(disk, Buffer.alloc(BYTES));
    device = await attachLoop(disk);
    const target = await FileTarget.open(await planFileTarget(device.path, BYTES, false));
    await target.write(0, Buffer.alloc(BYTES, 'a'));
    await target.finish();
    // The disk under the device loses what it said it had.
    const under = await open(disk, 'r+');
    await under.write(Buffer.alloc(4096, 'x'), 0, 4096, 8192);
    await under.sync();
    await under.close();

    const reader = await open(device.path, 'r');
    const byte = async (): Promise<string> =>
      (await reader.read(Buffer.alloc(1), 0, 1, 8192)).buffer.toString();
    expect(await byte()).toBe('a');
    const chunks: Buffer[] = [];
    for await (const chunk of target.readBack()) chunks.push(Buffer.from(chunk));
    const found = Buffer.concat(chunks);
    expect([found.length, found.toString('latin1', 8191, 8194)]).toEqual([BYTES, 'axx']);
    expect(await byte()).toBe('x');
    await reader.close();
    await target.close();
  });
});
