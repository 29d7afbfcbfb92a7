import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { makePipe } from '../../process/pipe.ts';
import { after, PipeWriter } from './pipe-writer.ts';

test('what is left of parts is all but the bytes that were written', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 })), fc.nat(60), (parts, count) => {
      const all = Buffer.concat(parts);
      const written = Math.min(count, all.length);
      expect(Buffer.concat(after(parts, written)).equals(all.subarray(written))).toBe(true);
    }),
  );
});

test('more parts than one call takes, and more bytes than a pipe holds, come through it in order', async () => {
  const { read, write } = makePipe();
  const received = buffer(createReadStream('', { fd: read }));
  const writer = new PipeWriter(write);
  const parts = Array.from({ length: 3000 }, (_, i) => randomBytes(i % 7 === 0 ? 9000 : 17));
  for (const part of parts) {
    writer.add(part);
    await writer.drain();
  }
  const large = randomBytes(3 << 20);
  await writer.write(large);
  writer.close();
  writer.close();
  const expected = Buffer.concat([...parts, large]);
  expect((await received).equals(expected)).toBe(true);
});
