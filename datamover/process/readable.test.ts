import { describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitReadable } from './readable.ts';

describe('waitReadable', () => {
  test('waits for the bytes of a pipe, and knows its end', () => {
    const folder = mkdtempSync(join(tmpdir(), 'datamover-readable-'));
    const path = join(folder, 'pipe');
    spawnSync('mkfifo', [path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path, constants.O_WRONLY);
    const begin = performance.now();
    expect(waitReadable(reader, 50)).toBe(false);
    expect(performance.now() - begin).toBeGreaterThan(40);
    writeSync(writer, 'x');
    expect(waitReadable(reader, 60_000)).toBe(true);
    closeSync(writer);
    expect(waitReadable(reader, 60_000)).toBe(true);
    closeSync(reader);
    rmSync(folder, { recursive: true });
  });

  test('does not wait for a file', () => {
    const fd = openSync('/dev/null', 'r');
    expect(waitReadable(fd, 60_000)).toBe(true);
    closeSync(fd);
  });
});
