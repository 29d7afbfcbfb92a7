import { closeSync, fstatSync, readFileSync, readSync, writeSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { makeSharedFile } from './shared-file.ts';
import { run } from './spawn.ts';

test('a program that is handed the file writes what we read; others do not get it', async () => {
  const fd = makeSharedFile('test');
  try {
    expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')).toMatch(/^flags:\s+0?2\d*2$/m);
    expect(fstatSync(fd).mode & 0o111).toBe(0);
    writeSync(fd, 'ours ', 0);
    await run({
      file: 'sh',
      args: ['-c', 'dd status=none bs=1 seek=5 conv=notrunc of=/dev/fd/3'],
      input: 'theirs',
      descriptors: [fd],
    });
    const room = Buffer.alloc(20);
    expect(readSync(fd, room, 0, 20, 0)).toBe(11);
    expect(room.toString('utf8', 0, 11)).toBe('ours theirs');
    const { status } = await run({ file: 'test', args: ['-e', `/proc/self/fd/${fd}`], accept: [0, 1] });
    expect(status).toBe(1);
  } finally {
    closeSync(fd);
  }
});
