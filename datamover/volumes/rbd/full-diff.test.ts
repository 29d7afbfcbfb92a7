import { describe, expect, test } from '@jest/globals';
import { FullDiff } from './full-diff.ts';
import { DiffStream } from './diff-stream.ts';
import { Recorder } from './testing/diffs.ts';

const IMAGE_BYTES = 1 << 20;

async function diffOf(...chunks: readonly Uint8Array[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  const diff = new FullDiff(IMAGE_BYTES, async (bytes) => void parts.push(Buffer.from(bytes)));
  for (const chunk of chunks) await diff.write(chunk);
  await diff.end();
  return Buffer.concat(parts);
}

describe('a full diff', () => {
  test('of the whole image is a diff', async () => {
    const half = IMAGE_BYTES / 2;
    const recorder = new Recorder();
    const stream = new DiffStream(recorder);
    stream.push(await diffOf(Buffer.alloc(half, 1), Buffer.alloc(half)));
    stream.end();
    expect(recorder.diff.header.bytes).toBe(IMAGE_BYTES);
    expect(recorder.diff.extents.at(-1)).toEqual({ offset: half, length: half });
  });

  test.each([0, 65_536, IMAGE_BYTES - 1])(
    'of %i bytes of a larger image is refused, for the rest would be zeros',
    async (bytes) => {
      await expect(diffOf(Buffer.alloc(bytes, 1))).rejects.toThrow(`it ended after ${bytes} bytes`);
    },
  );
});
