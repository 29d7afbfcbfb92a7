import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { SendStream } from './send-stream.ts';
import { Changes } from '../testing/applying.ts';
import { encodeLz4 } from './testing/compressors.ts';
import { StreamEncoder, type StreamIdentity } from './testing/encoder.ts';
import { fixtureBytes, volumeSnapshot } from './testing/fixtures.ts';
import { ZvolImage, type ZvolBase, type ZvolFacts } from './zvol-image.ts';

const MIB = 1 << 20;

interface Applied {
  readonly image: Buffer;
  readonly facts: ZvolFacts;
  readonly changes: Changes;
}

function applyStream(stream: Uint8Array, before?: Applied, cellBytes = MIB, chunkBytes = 70_001): Applied {
  const changes = new Changes(cellBytes);
  const base: ZvolBase | undefined = before && {
    guid: before.facts.guid,
    bytes: before.image.length,
    name: 'backup 1a2b3c4d',
  };
  const image = new ZvolImage({ cellBytes, sink: changes, ...(base && { base }) });
  const reader = new SendStream(image);
  for (let at = 0; at < stream.length; at += chunkBytes) reader.push(stream.subarray(at, at + chunkBytes));
  reader.end();
  const facts = image.facts();
  return { image: changes.apply(before?.image ?? Buffer.alloc(0), facts.bytes), facts, changes };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The properties of a volume as ZFS stores them. */
function properties(bytes: number, bigEndian = false): Buffer {
  const block = Buffer.alloc(512);
  const view = new DataView(block.buffer, block.byteOffset);
  view.setBigUint64(0, 0x8000000000000003n, !bigEndian);
  view.setBigUint64(64, BigInt(bytes), !bigEndian);
  block.write('size', 78);
  return block;
}

function small(identity: StreamIdentity = {}, bigEndian = false): StreamEncoder {
  return new StreamEncoder(identity, bigEndian).object(1, 23, 4096).free(1, 0, 0xffffffffffffffffn);
}

function ended(encoder: StreamEncoder, bytes = 8192, bigEndian = false): Buffer {
  return encoder.object(2, 24, 512).write(2, 0, properties(bytes, bigEndian)).end();
}

describe('ZvolImage', () => {
  test.each([
    [
      'ext4',
      [
        ['zvol-ext4-full', 's0', 16384],
        ['zvol-ext4-inc1', 's1', 16384],
        ['zvol-ext4-inc2', 's2', 16384],
        ['zvol-ext4-inc3', 's3', 16384],
        ['zvol-ext4-inc4', 's4', undefined],
      ],
    ],
    [
      'ext4',
      [
        ['zvol-ext4-full', 's0', 16384],
        ['zvol-ext4-inc1-c', 's1', 16384],
      ],
    ],
    [
      'rnd8k',
      [
        ['zvol-8k-full', 's0', 8192],
        ['zvol-8k-inc1', 's1', 8192],
        ['zvol-8k-inc2', 's2', 8192],
        ['zvol-8k-inc3', 's3', 8192],
      ],
    ],
  ] as const)('the streams of %s make the volume that was sent', (volume, chain) => {
    for (const cellBytes of [MIB, 24_576]) {
      let before: Applied | undefined;
      for (const [id, snapshot, blockBytes] of chain) {
        const expected = volumeSnapshot(volume, snapshot);
        const after = applyStream(fixtureBytes(id), before, cellBytes);
        expect(sha256(after.image)).toBe(expected.sha256);
        expect(after.facts).toEqual({
          guid: expected.guid,
          fromGuid: before?.facts.guid,
          snapshot: `tank/src/${volume}@${snapshot}`,
          bytes: expected.volsize,
          blockBytes,
        });
        before = after;
      }
    }
  });

  test('an increment touches few cells and none at all where nothing changed', () => {
    const facts = { guid: volumeSnapshot('ext4', 's3').guid, fromGuid: undefined, snapshot: '', bytes: 0 };
    const before = {
      image: Buffer.alloc(80 * MIB),
      changes: new Changes(MIB),
      facts: { ...facts, blockBytes: 0 },
    };
    expect(applyStream(fixtureBytes('zvol-ext4-inc4'), before).changes.list).toEqual([]);
    const guid = volumeSnapshot('rnd8k', 's0').guid;
    const random = { ...before, image: Buffer.alloc(8 * MIB), facts: { ...before.facts, guid } };
    const { list } = applyStream(fixtureBytes('zvol-8k-inc1'), random).changes;
    expect(list.filter(({ cell }) => cell !== undefined).length).toBeLessThanOrEqual(8);
  });

  test('packed, embedded and large blocks, and either byte order', () => {
    const lz4 = encodeLz4(Buffer.alloc(4096, 'packed '));
    const tiny = encodeLz4(Buffer.alloc(512, 'tiny'));
    for (const bigEndian of [false, true]) {
      const encoder = new StreamEncoder({ featureFlags: 0x4b0000 }, bigEndian)
        .object(1, 23, 4096)
        .write(1, 0, lz4, { compression: 15, length: 4096 })
        .embedded(1, 4096, 4096, tiny, 512, 15)
        .embedded(1, 8192, 4096, Buffer.from('as it is'), 8, 2)
        .write(1, 16384, Buffer.alloc(3 * 4096, 'large'));
      // The properties may be of another machine than the one that sends.
      const stream = ended(encoder, 28672, !bigEndian);
      const expected = Buffer.alloc(28672);
      expected.fill('packed ', 0, 4096);
      expected.fill('tiny', 4096, 4096 + 512);
      expected.write('as it is', 8192);
      expected.fill('large', 16384);
      for (const [cell, chunk] of [
        [4096, 100],
        [10_000, 5000],
        [MIB, MIB],
      ]) {
        expect(Buffer.compare(applyStream(stream, undefined, cell, chunk).image, expected)).toBe(0);
      }
    }
  });

  test('a volume that shrinks loses its end, one that grows gains zeros', () => {
    const full = small({ toGuid: 1n }).write(1, 0, Buffer.alloc(12288, 'x'));
    const before = applyStream(ended(full, 12288), undefined, 8192);
    const shrink = new StreamEncoder({ toGuid: 2n, fromGuid: 1n })
      .object(1, 23, 4096)
      .free(1, 4096, 0xffffffffffffffffn);
    const shrunk = applyStream(ended(shrink, 4096), before, 8192);
    expect(Buffer.compare(shrunk.image, Buffer.alloc(4096, 'x'))).toBe(0);
    const grow = new StreamEncoder({ toGuid: 3n, fromGuid: 2n }).object(1, 23, 4096);
    const grown = applyStream(ended(grow, 20480), shrunk, 8192);
    expect(Buffer.compare(grown.image, Buffer.concat([Buffer.alloc(4096, 'x'), Buffer.alloc(16384)]))).toBe(
      0,
    );
  });

  test('an increment onto another snapshot is refused with both guids', () => {
    const before = applyStream(fixtureBytes('zvol-8k-full'));
    expect(() => applyStream(fixtureBytes('zvol-8k-inc2'), before)).toThrow(
      'read ZFS send stream record 1 (BEGIN) at byte 0: it holds what changed since the snapshot with guid ' +
        '415137559570543205, but backup 1a2b3c4d is of the one with guid 8630424881063117644 ' +
        '(send from the snapshot that was backed up last (zfs send -i), or a full stream)',
    );
    expect(() => applyStream(fixtureBytes('zvol-8k-inc1'))).toThrow(/and the volume has no backup yet/);
    const image = new ZvolImage({
      cellBytes: MIB,
      sink: new Changes(MIB),
      base: { guid: undefined, bytes: 8 * MIB, name: 'backup 1a2b3c4d' },
    });
    expect(() => new SendStream(image).push(fixtureBytes('zvol-8k-inc1'))).toThrow(
      /backup 1a2b3c4d does not know of which snapshot it is/,
    );
  });

  test.each([
    ['fs-inc4', /the stream of a filesystem, not of a volume \(keep it as it is: --as zfs\)/],
    ['enc-vol-inc1-w', /it is a raw stream \(zfs send -w\): its blocks are encrypted/],
  ])('the stream %s is refused as an image', (id, message) => {
    expect(() => applyStream(fixtureBytes(id))).toThrow(message);
  });

  test.each<[string, Buffer, RegExp]>([
    ['a redacted stream', ended(small({ featureFlags: 1 << 21 })), /it is redacted/],
    ['the volume removed', ended(small().freeObjects(1, 5)), /it removes the volume itself/],
    ['a third object', ended(small().object(3, 19, 512)), /object 3 is no part of a volume/],
    ['data of another type', ended(small().object(1, 19, 512)), /object 1 of type 19 is no volume's/],
    ['a write elsewhere', ended(small().write(7, 0, Buffer.alloc(512))), /object 7 is no part/],
    ['a misplaced block', ended(small().embedded(1, 2n ** 64n - 512n, 512, tinyBlock(), 512, 2)), /no place/],
    ['a block beyond the end', ended(small().write(1, 8192, Buffer.alloc(4096))), /beyond the volume's 8192/],
    ['no size', small().end(), /it does not tell the size/],
    ['the size removed', small().free(2, 0, 512).end(), /removes the size/],
    ['other properties', small().write(2, 0, Buffer.alloc(512, 7)).end(), /in a form that is unknown/],
    ['a size of 0', ended(small(), 0), /a volume of 0 bytes is impossible/],
    [
      'broken lz4',
      ended(small().write(1, 0, Buffer.alloc(512, 1), { compression: 15, length: 4096 })),
      /lz4 data/,
    ],
    [
      'compression 77',
      ended(small().write(1, 0, Buffer.alloc(512), { compression: 77, length: 4096 })),
      /compression 77/,
    ],
  ])('%s is refused', (_, stream, message) => {
    expect(() => applyStream(stream)).toThrow(message);
  });
});

function tinyBlock(): Buffer {
  return Buffer.alloc(64, 1);
}
