import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { noise } from '../../repository/testing/bytes.ts';
import { joinedStream } from './joined-stream.ts';
import { partOf, PayloadRule } from './payload-rule.ts';
import type { SendRecord } from './record.ts';
import { SendStream } from './send-stream.ts';
import { StreamEncoder } from './testing/encoder.ts';
import { fixtureBytes, fixtures } from './testing/fixtures.ts';

interface Apart {
  readonly records: Buffer;
  readonly blocks: Buffer;
}

/** Takes a stream apart as a backup does, and sees for each header whether the rule says of its payload what the decoder says. */
function takeApart(stream: Buffer): Apart {
  const rule = new PayloadRule();
  const parts = { records: [] as Buffer[], blocks: [] as Buffer[] };
  const reader = new SendStream(
    {
      record: (record: SendRecord) => {
        const header = Buffer.from(reader.header());
        parts.records.push(header);
        expect([record.type, rule.next(new DataView(header.buffer, header.byteOffset), 0)]).toEqual([
          record.type,
          { part: partOf(record), bytes: record.payloadBytes },
        ]);
      },
      payload: (record, bytes) => void parts[partOf(record)].push(Buffer.from(bytes)),
    },
    undefined,
    'pass',
  );
  reader.push(stream);
  reader.end();
  return { records: Buffer.concat(parts.records), blocks: Buffer.concat(parts.blocks) };
}

async function* pieces(bytes: Uint8Array, ...lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length] ?? bytes.length;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

async function joined({ records, blocks }: Apart, lengths: readonly number[] = []): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of joinedStream(pieces(records, ...lengths), pieces(blocks, ...lengths)))
    parts.push(part);
  return Buffer.concat(parts);
}

/** All kinds of records whose payloads differ, some with what no version knows. */
function small(bigEndian: boolean): Buffer {
  return (
    new StreamEncoder({ featureFlags: 1 << 5, nvlist: noise('nvlist', 24) }, bigEndian)
      .record({ type: 1, u64: { 40: 0xfedcba9876543210n }, u32: { 28: 13 }, payload: noise('bonus', 16) })
      .record({
        type: 1,
        u64: { 40: 0xfedcba9876543210n },
        u32: { 28: 13, 36: 32 },
        payload: noise('raw', 32),
      })
      .write(1, 0, noise('block', 5000))
      .write(1, 8192, noise('compressed', 512), { compression: 15, length: 8192 })
      .embedded(1, 16384, 512, noise('embedded', 13), 512, 15)
      .record({ type: 7, u64: { 16: 512, 24: 0xfedcba9876543210n }, payload: noise('spill', 512) })
      .record({ type: 7, u64: { 16: 512, 24: 0xfedcba9876543210n, 40: 64 }, payload: noise('small', 64) })
      .record({ type: 42, u32: { 4: 64 }, payload: noise('unknown', 64) })
      // A block whose length an unknown feature declares.
      .record({
        type: 3,
        u64: { 24: 32768, 32: 8192, 40: 0xfedcba9876543210n },
        u32: { 4: 128 },
        payload: noise('declared', 128),
      })
      .free(1, 0, 100)
      .freeObjects(2, 5)
      .end()
  );
}

test.each(fixtures.map(({ id }) => id))('F-56 %s: the rule tells each payload by its header', async (id) => {
  const stream = fixtureBytes(id);
  const apart = takeApart(stream);
  expect(apart.records.length + apart.blocks.length).toBe(stream.length);
  expect((await joined(apart, [1 << 20, 65_536, 100])).equals(stream)).toBe(true);
});

test.each([false, true])(
  'F-56 both files make the stream however they come (big-endian: %s)',
  async (big) => {
    const stream = small(big);
    const apart = takeApart(stream);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 5 }), async (lengths) => {
        expect((await joined(apart, lengths)).equals(stream)).toBe(true);
      }),
      { numRuns: 30 },
    );
  },
);

test('F-56 files that do not fit each other give no end of a stream', async () => {
  const stream = small(false);
  const { records, blocks } = takeApart(stream);
  const cut = (bytes: Buffer, count: number): Buffer => bytes.subarray(0, bytes.length - count);
  for (const [apart, reason] of [
    [{ records, blocks: cut(blocks, 1) }, /its file blocks ends before the last record/],
    [{ records, blocks: Buffer.concat([blocks, Buffer.alloc(1)]) }, /its file blocks has more/],
    [{ records: cut(records, 312), blocks: Buffer.concat([blocks, Buffer.alloc(1)]) }, /blocks has more/],
    [{ records: cut(records, 100), blocks }, /its file records ends before the last record/],
    [{ records: Buffer.alloc(400), blocks }, /does not begin as a send stream does/],
  ] as const) {
    await expect(joined(apart)).rejects.toThrow(reason);
  }
});

test('a reader that stops stops both files', async () => {
  const ended: string[] = [];
  async function* watched(name: string, bytes: Buffer): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield* pieces(bytes);
    } finally {
      ended.push(name);
    }
  }
  const { records } = takeApart(small(false));
  // Blocks without end.
  const endless = Buffer.from(records.subarray(0, 312));
  const write = new StreamEncoder()
    .write(1, 0, Buffer.alloc(8 << 20))
    .bytes()
    .subarray(312, 624);
  const stream = joinedStream(
    watched('records', Buffer.concat([endless.fill(0, 4, 8), write])),
    watched('blocks', Buffer.alloc(1 << 20)),
  );
  expect((await stream.next()).value).toHaveLength(1 << 20);
  await stream.return(undefined);
  expect(ended.sort()).toEqual(['blocks', 'records']);
});
