import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, writeSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { widenPipe } from './pipe-capacity.ts';
import { run } from './spawn.ts';

test('a widened pipe takes a MiB before its writer has to wait; a file stays as it is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pipe-'));
  const path = join(folder, 'pipe');
  await run({ file: 'mkfifo', args: [path] });
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const file = openSync(join(folder, 'file'), 'w');
  try {
    expect(writeSync(fd, Buffer.alloc(1 << 20))).toBe(65536);
    widenPipe(fd);
    expect(writeSync(fd, Buffer.alloc(1 << 20))).toBe((1 << 20) - 65536);
    widenPipe(file);
  } finally {
    closeSync(fd);
    closeSync(file);
    await rm(folder, { recursive: true });
  }
});
