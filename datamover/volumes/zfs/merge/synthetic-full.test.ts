import { hash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../../../errors.ts';
import { seededRandom } from '../../../repository/testing/bytes.ts';
import { StreamEncoder } from '../testing/encoder.ts';
import { fixtureBytes, volumeSnapshot } from '../testing/fixtures.ts';
import { readStream } from '../testing/reading.ts';
import { DatasetModel } from './testing/dataset-model.ts';
import { GeneratedChain } from './testing/generated-chain.ts';
import { merged } from './testing/merging.ts';

const FILES = ['fs-full', 'fs-inc1', 'fs-inc2', 'fs-inc3', 'fs-inc4'];
const RANDOM_VOLUME = ['zvol-8k-full', 'zvol-8k-inc1', 'zvol-8k-inc2', 'zvol-8k-inc3'];
const VOLUME = ['zvol-ext4-full', ...[1, 2, 3, 4].map((i) => `zvol-ext4-inc${i}`)];

function contentOf(streams: readonly Buffer[]): unknown {
  return streams.reduce((model, stream) => model.receive(stream), new DatasetModel()).content();
}

async function refusal(streams: readonly Uint8Array[]): Promise<string> {
  try {
    await merged(streams);
  } catch (error) {
    if (error instanceof DatamoverError) return error.message;
    throw error;
  }
  throw new Error('it was merged');
}

describe.each([
  ['files', FILES],
  ['a volume of 8 KiB blocks', RANDOM_VOLUME],
  ['a volume that grows', VOLUME],
])('the chain of %s that zfs send wrote', (_, ids) => {
  const chain = ids.map(fixtureBytes);

  test('becomes one full stream of each of its snapshots, with what a receiver has after the chain', async () => {
    for (let length = 1; length <= chain.length; length++) {
      const streams = chain.slice(0, length);
      const one = await merged(streams);
      const model = new DatasetModel().receive(one);
      expect(model.content()).toEqual(contentOf(streams));
      const begin = readStream(one)[0]?.record;
      const last = readStream(streams.at(-1)!)[0]?.record;
      expect(begin).toEqual({ ...last, fromGuid: undefined });
      expect(model.begin.flags).toBe(12);
    }
  });

  test('is merged alike in chunks of any size, and a merged part with the rest of it', async () => {
    const one = await merged(chain);
    for (const chunkBytes of [997, 1 << 20]) expect((await merged(chain, chunkBytes)).equals(one)).toBe(true);
    const again = await merged([await merged(chain.slice(0, 2)), ...chain.slice(2)]);
    expect(again.equals(one)).toBe(true);
  });

  test('has every record in the order in which zfs send writes', async () => {
    let [object, offset] = [0, 0];
    for (const { record } of readStream(await merged(chain))) {
      if (record.type === 'OBJECT') {
        expect(record.object).toBeGreaterThan(object);
        [object, offset] = [record.object, 0];
      } else if (record.type === 'FREEOBJECTS') {
        expect(record.firstObject).toBeGreaterThan(object);
      } else if (record.type === 'WRITE') {
        expect(record.object).toBe(object);
        expect(record.offset).toBeGreaterThanOrEqual(offset);
        offset = record.offset + record.length;
      }
    }
  });
});

test.each([
  ['rnd8k', RANDOM_VOLUME],
  ['ext4', VOLUME],
])('the volume %s is, byte for byte, what it was at each snapshot', async (volume, ids) => {
  const chain = ids.map(fixtureBytes);
  for (let length = 2; length <= chain.length; length++) {
    const { volsize, sha256 } = volumeSnapshot(volume, `s${length - 1}`);
    const model = new DatasetModel().receive(await merged(chain.slice(0, length)));
    expect(hash('sha256', model.image(volsize))).toBe(sha256);
  }
});

test('a full stream that zfs send compressed and an increment that it did not go together', async () => {
  const streams = [
    fixtureBytes('zvol-ext4-full'),
    fixtureBytes('zvol-ext4-inc1-c'),
    fixtureBytes('zvol-ext4-inc2'),
  ];
  const one = await merged(streams);
  expect(new DatasetModel().receive(one).content()).toEqual(contentOf(streams));
  const begin = readStream(one)[0]?.record;
  expect(begin?.type === 'BEGIN' && [...begin.features]).toEqual(['lz4', 'compressed']);
});

test('a raw chain is merged: newest blocks of dnodes, keys of a full stream', async () => {
  const streams = [fixtureBytes('enc-vol-full-w'), fixtureBytes('enc-vol-inc1-w')];
  const one = await merged(streams);
  expect(new DatasetModel().receive(one).content()).toEqual(contentOf(streams));
  const types = readStream(one).map(({ record }) => record.type);
  expect(types.slice(0, 4)).toEqual(['BEGIN', 'OBJECT_RANGE', 'OBJECT', 'FREE']);
  const [before, after] = [readStream(streams[1]!)[0]!.payload, readStream(one)[0]!.payload];
  expect(after).toHaveLength(before.length);
  // The one guid that differs: of the set of initialization vectors that it would follow on.
  const changed = [...after.keys()].filter((i) => after[i] !== before[i]);
  expect(changed.length).toBeGreaterThan(4);
  expect(changed.at(-1)! - changed[0]!).toBeLessThan(8);
});

test('random chains: objects whose numbers are used again, holes, truncations, larger blocks, spill blocks', async () => {
  let grown = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const source = new GeneratedChain(seededRandom(seed));
    const chain: Buffer[] = [];
    for (let i = 0; i < 6; i++) {
      chain.push(source.next());
      const expected = contentOf([source.full()]);
      expect([seed, i, contentOf(chain)]).toEqual([seed, i, expected]);
      expect([seed, i, contentOf([await merged(chain, 5000)])]).toEqual([seed, i, expected]);
    }
    // A long chain is merged in rounds: the same bytes come out.
    let made = await merged(chain.slice(0, 2));
    for (const stream of chain.slice(2)) made = await merged([made, stream]);
    expect([seed, made.equals(await merged(chain))]).toEqual([seed, true]);
    grown += source.grown;
  }
  expect(grown).toBeGreaterThan(20);
});

test.each([
  [512, 4096],
  [66_560, 131_072],
  [131_072, 262_144],
])(
  'a file of one block of %d bytes grows to blocks of %d: nothing is left of the small one',
  async (small, large) => {
    const identity = { featureFlags: 0x80004, content: 2, flags: 12 };
    const file = (encoder: StreamEncoder, blockBytes: number, blocks: number) =>
      encoder.object(2, 19, blockBytes).free(2, blocks * blockBytes, (1n << 64n) - 1n);
    const first = new StreamEncoder({ ...identity, toGuid: 1n });
    file(first, small, 1).write(2, 0, Buffer.alloc(small, 1));
    const second = new StreamEncoder({ ...identity, toGuid: 2n, fromGuid: 1n });
    // Its first block is a hole now.
    file(second, large, 3).free(2, 0, large).write(2, large, Buffer.alloc(large, 2));
    const third = new StreamEncoder({ ...identity, toGuid: 3n, fromGuid: 2n });
    file(third, large, 3).write(2, 2 * large, Buffer.alloc(large, 3));
    const chain = [first.end(), second.end(), third.end()];
    const one = new DatasetModel().receive(await merged(chain));
    expect(one.content()).toEqual(contentOf(chain));
    expect([...(one.objects.get(2)?.blocks.keys() ?? [])]).toEqual([large, 2 * large]);
  },
);

describe('no stream comes of', () => {
  const chain = FILES.map(fixtureBytes);
  const [full, first, second] = chain as [Buffer, Buffer, Buffer];

  test('a chain that is cut, in any of its streams', async () => {
    for (const number of [0, 1, 2]) {
      const stream = chain[number]!;
      for (const length of [0, 100, 312, 5000, stream.length - 312, stream.length - 1]) {
        const cut = chain.slice(0, 3).with(number, stream.subarray(0, length));
        expect(await refusal(cut)).toMatch(
          new RegExp(
            `merge ZFS send streams stream ${number + 1} of 3.*(it is empty|it stops after ${length} bytes)`,
          ),
        );
      }
    }
  });

  test('one with a bit changed', async () => {
    for (const at of [8, 400, 40_000, first.length - 300, first.length - 1]) {
      const changed = Buffer.from(first);
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(await refusal([full, changed, second])).toMatch(
        /stream 2 of 3.*read ZFS send stream record \d+/,
      );
    }
  });

  test('streams in another order, of other chains, or without the first', async () => {
    expect(await refusal([full, second, first])).toMatch(
      /stream 2 of 3 \(tank\/src\/files@s2\): it builds on the snapshot/,
    );
    expect(await refusal([first, second])).toMatch(
      /stream 1 of 2.*it holds what changed since .*begins with a full/,
    );
    expect(await refusal([full, fixtureBytes('zvol-8k-inc1')])).toMatch(
      /stream 2 of 2.*it builds on the snapshot/,
    );
    expect(await refusal([full, full])).toMatch(/it is a full stream, and others come before it/);
  });

  test('raw streams and others in one chain', async () => {
    const [raw, more] = [fixtureBytes('enc-vol-full-w'), fixtureBytes('enc-vol-inc1-w')];
    expect(await refusal([more])).toMatch(/stream 1 of 1 .*it holds what changed since/);
    const [begin] = readStream(raw);
    const toGuid = begin?.record.type === 'BEGIN' ? BigInt(begin.record.toGuid) : 0n;
    const plain = new StreamEncoder({ toGuid: 1n, fromGuid: toGuid, flags: 12 }).object(1, 23, 16384).end();
    expect(await refusal([raw, plain])).toMatch(/stream 2 of 2.*it is not raw, and the one before it is/);
  });

  test('one that has large blocks only in its increment, where a file has kept its small ones', async () => {
    expect(await refusal([full, fixtureBytes('fs-inc1-Lec')])).toMatch(
      /object \d+ has blocks of 1048576 bytes, and of 131072 in the streams before: large blocks were turned on/,
    );
  });

  test('one with attributes that OpenZFS sent as data', async () => {
    expect(await refusal([fixtureBytes('bug-spill-full-ec')])).toMatch(
      /attributes of object \d+ are lost.*18239/,
    );
  });

  test('records out of order, blocks off the grid, or what no zfs send writes', async () => {
    const identity = { featureFlags: 4, content: 2, flags: 12 };
    const of = (...records: ((encoder: StreamEncoder) => StreamEncoder)[]): Buffer => {
      const encoder = new StreamEncoder(identity);
      for (const write of records) write(encoder);
      return encoder.end();
    };
    const block = Buffer.alloc(512);
    const object = (number: number) => (encoder: StreamEncoder) => encoder.object(number, 19, 512);
    const write = (number: number, offset: number) => (encoder: StreamEncoder) =>
      encoder.write(number, offset, block);
    const cases: [RegExp, Buffer][] = [
      [/object 3 is not in the order/, of(object(4), object(3))],
      [/free objects from 2 on is not in the order/, of(object(4), (e) => e.freeObjects(2, 1))],
      [/a part of object 4 at 512 is not in the order/, of(object(4), write(4, 512), write(4, 512))],
      [/a part of object 5 does not follow its object/, of(object(4), write(5, 0))],
      [
        /a part of object 4 does not follow its object/,
        of(object(4), (e) => e.freeObjects(9, 1), write(4, 0)),
      ],
      [/512 bytes at 100, is not on the grid of its 512/, of(object(4), write(4, 100))],
      [/1024 bytes at 0, is not on the grid/, of(object(4), (e) => e.write(4, 0, Buffer.alloc(1024)))],
      [
        /spill block, which no stream of the chain has/,
        of((e) =>
          e.record({
            type: 1,
            u64: { 8: 4, 40: 0xfedcba9876543210n },
            u32: { 16: 19, 24: 512 },
            u8: { 35: 4 },
          }),
        ),
      ],
      [
        /parts of it are redacted/,
        of(object(4), (e) => e.record({ type: 10, u64: { 8: 4, 32: 0xfedcba9876543210n } })),
      ],
      [/older than OpenZFS 0.8/, new StreamEncoder({ ...identity, flags: 4 }).object(1, 19, 512).end()],
    ];
    for (const [expected, stream] of cases) expect(await refusal([stream])).toMatch(expected);
  });

  test('blocks that a later stream frees in part', async () => {
    const first = new StreamEncoder({ toGuid: 1n, flags: 12 })
      .object(1, 23, 1024)
      .write(1, 1024, Buffer.alloc(1024))
      .end();
    for (const [from, length] of [
      [1536, 512],
      [1024, 512],
      [0, 1536],
      [1536, 1n << 63n],
    ] as const) {
      const second = new StreamEncoder({ toGuid: 2n, fromGuid: 1n, flags: 12 }).object(1, 23, 1024);
      const chain = [first, second.free(1, from, length).end()];
      expect(await refusal(chain)).toMatch(/object 1: a part of it at \d+ overlaps one of another stream/);
    }
  });

  test('byte orders that differ', async () => {
    const little = new StreamEncoder({ toGuid: 1n, flags: 12 }).object(1, 23, 512).end();
    const big = new StreamEncoder({ toGuid: 2n, fromGuid: 1n, flags: 12 }, true).object(1, 23, 512).end();
    expect(await refusal([little, big])).toMatch(/stream 2 of 2.*another byte order/);
  });
});

test('a chain of a big-endian machine is merged in its own order', async () => {
  const block = (fill: number): Buffer => Buffer.alloc(512, fill);
  const first = new StreamEncoder({ toGuid: 1n, flags: 12 }, true);
  first.object(1, 23, 512).write(1, 0, block(1)).write(1, 512, block(2));
  const second = new StreamEncoder({ toGuid: 2n, fromGuid: 1n, flags: 12 }, true);
  second.object(1, 23, 512).write(1, 512, block(3));
  const records = readStream(await merged([first.end(), second.end()]));
  expect(records[0]?.record).toMatchObject({ bigEndian: true, toGuid: '2', fromGuid: undefined });
  expect(records.flatMap(({ record, payload }) => (record.type === 'WRITE' ? [payload[0]] : []))).toEqual([
    1, 3,
  ]);
});
