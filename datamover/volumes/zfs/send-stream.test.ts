import { describe, expect, test } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { DatamoverError } from '../../errors.ts';
import { SCRATCH_BYTES } from './fletcher4.ts';
import type { SendRecord } from './record.ts';
import { Refusal } from '../refusal.ts';
import { SendStream } from './send-stream.ts';
import { StreamEncoder } from './testing/encoder.ts';
import { fixtureBytes, fixtures } from './testing/fixtures.ts';
import { readStream } from './testing/reading.ts';
import { sharedMemory } from '../../process/webassembly.ts';

/** Where each record of a good stream begins, and where its payload does. */
function placesOf(bytes: Uint8Array): { header: number; payload: number; end: number }[] {
  let at = 0;
  return readStream(bytes).map(({ payload }) => {
    const place = { header: at, payload: at + 312, end: at + 312 + payload.length };
    at = place.end;
    return place;
  });
}

/** Why a stream is refused, or undefined. */
function refusal(bytes: Uint8Array, chunks?: readonly number[]): string | undefined {
  try {
    readStream(bytes, chunks);
  } catch (error) {
    if (!(error instanceof DatamoverError)) throw error;
    return error.message;
  }
  return undefined;
}

/** Some of a list: the first, the last, and others evenly between. */
function sample<T>(list: readonly T[], most: number): T[] {
  const step = Math.max(1, (list.length - 1) / (most - 1));
  const picked = new Set<T>();
  for (let i = 0; i < list.length; i += step) picked.add(list[Math.floor(i)]!);
  return [...picked, list.at(-1)!];
}

describe.each(fixtures.map(({ id, args, ...rest }) => ({ id, args, ...rest })))(
  'the stream $id (zfs send $args)',
  ({ id, size, records, features }) => {
    const bytes = fixtureBytes(id);
    const places = placesOf(bytes);

    test('has the records and features that zstream dump counts', () => {
      const counted: Record<string, number> = {};
      const read = readStream(bytes);
      for (const { record } of read) {
        const name = `DRR_${record.type}`;
        if (record.type !== 'OBJECT_RANGE') counted[name] = (counted[name] ?? 0) + 1;
      }
      expect(counted).toEqual(records);
      const first = read[0]?.record;
      expect(first?.type === 'BEGIN' && first.featureFlags.toString(16)).toBe(features[0]);
      expect(places.at(-1)?.end).toBe(size);
    });

    test('is the same in chunks of any size', () => {
      const whole = readStream(bytes, [bytes.length]);
      for (const chunks of [[4096], [313, 311, 65536], [1, 2, 3, 100_000]]) {
        const cut = readStream(bytes, chunks);
        expect(cut.map(({ record }) => record)).toEqual(whole.map(({ record }) => record));
        expect(cut.findIndex(({ payload }, i) => Buffer.compare(payload, whole[i]!.payload) !== 0)).toBe(-1);
      }
    });

    test('is refused when it is cut, at and inside of every kind of place', () => {
      const cuts = sample(places, 12).flatMap(({ header, payload, end }) => [
        ...[header, header + 1, header + 280, payload - 1, payload],
        ...[payload + 1, Math.floor((payload + end) / 2), end - 1],
      ]);
      for (const cut of cuts) {
        if (cut >= bytes.length) continue;
        expect(refusal(bytes.subarray(0, cut))).toMatch(
          cut === 0 ? /it is empty/ : new RegExp(`it stops after ${cut} bytes, before its end`),
        );
      }
    });

    test('is refused with any one bit changed, in headers, payloads and checksums', () => {
      for (const [i, { header, payload, end }] of sample(places, 10).entries()) {
        // The type, the numbers, the last byte before the checksum, the checksum; the payload's first and last byte.
        for (const at of [header, header + 8 + 5 * i, header + 279, header + 280 + i, payload, end - 1]) {
          if (at >= end) continue;
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ (1 << (i % 8));
          expect(refusal(changed)).toMatch(/^read ZFS send stream record \d+/);
        }
      }
    });

    test('is refused with records swapped, left out or repeated', () => {
      const middle = sample(places.slice(0, -1), 8);
      for (const [i, a] of middle.entries()) {
        const b = middle[i + 1];
        const [first, second] = [
          bytes.subarray(a.header, a.end),
          b && bytes.subarray(a.end, places[places.indexOf(a) + 1]?.end),
        ];
        const rest = bytes.subarray(a.end);
        const variants = [
          Buffer.concat([bytes.subarray(0, a.header), rest]),
          Buffer.concat([bytes.subarray(0, a.end), first, rest]),
        ];
        if (second !== undefined && second.length > 0) {
          variants.push(
            Buffer.concat([
              bytes.subarray(0, a.header),
              second,
              first,
              bytes.subarray(a.end + second.length),
            ]),
          );
        }
        for (const variant of variants)
          expect(refusal(variant)).toMatch(/^read ZFS send stream record \d+.* at byte \d+: /);
      }
    });

    test('is refused with anything behind its end', () => {
      for (const more of [Buffer.alloc(1), Buffer.alloc(312), bytes]) {
        expect(refusal(Buffer.concat([bytes, more]))).toMatch(/bytes follow after the end of the stream/);
      }
    });
  },
);

type Step = (encoder: StreamEncoder) => SendRecord;

const object = fc.integer({ min: 0, max: 2 ** 40 });
const offset = fc.nat(2 ** 50);
const words = fc.uint8Array({ minLength: 4, maxLength: 2000 }).map((b) => b.subarray(0, b.length & ~3));

/** Any record, and what reading it must give. */
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(object, fc.nat(60), fc.nat(100_000)).map(([object, objectType, blockBytes]): Step => (encoder) => {
    encoder.object(object, objectType, blockBytes);
    return { type: 'OBJECT', object, objectType, blockBytes, payloadBytes: 0 };
  }),
  fc.tuple(object, offset).map(([firstObject, count]): Step => (encoder) => {
    encoder.freeObjects(firstObject, count);
    return { type: 'FREEOBJECTS', firstObject, count, payloadBytes: 0 };
  }),
  fc.tuple(object, offset, words).map(([object, offset, payload]): Step => (encoder) => {
    encoder.write(object, offset, payload);
    const { length } = payload;
    return { type: 'WRITE', object, objectType: 0, offset, length, compression: 0, payloadBytes: length };
  }),
  fc.tuple(object, offset, words).map(([object, offset, payload]): Step => (encoder) => {
    encoder.write(object, offset, payload, { compression: 15, length: 8192 });
    const payloadBytes = payload.length;
    return { type: 'WRITE', object, objectType: 0, offset, length: 8192, compression: 15, payloadBytes };
  }),
  fc.tuple(object, offset, fc.boolean()).map(([object, offset, toEnd]): Step => (encoder) => {
    encoder.free(object, offset, toEnd ? 0xffffffffffffffffn : 77);
    return { type: 'FREE', object, offset, length: toEnd ? Infinity : 77, payloadBytes: 0 };
  }),
  fc
    .tuple(object, offset, fc.uint8Array({ minLength: 1, maxLength: 112 }))
    .map(([object, offset, stored]): Step => (encoder) => {
      encoder.embedded(object, offset, 512, stored, 512, 15);
      const payloadBytes = Math.ceil(stored.length / 8) * 8;
      const sizes = { length: 512, logicalBytes: 512, storedBytes: stored.length, payloadBytes };
      return { type: 'WRITE_EMBEDDED', object, offset, compression: 15, ...sizes };
    }),
  fc.tuple(object, words).map(([object, payload]): Step => (encoder) => {
    encoder.record({ type: 7, u64: { 8: object, 16: payload.length, 24: GUID }, payload });
    const { length } = payload;
    return { type: 'SPILL', object, length, compression: 0, payloadBytes: length };
  }),
  fc.tuple(object, offset).map(([firstObject, slots]): Step => (encoder) => {
    encoder.record({ type: 9, u64: { 8: firstObject, 16: slots, 24: GUID } });
    return { type: 'OBJECT_RANGE', firstObject, slots, payloadBytes: 0 };
  }),
  fc.tuple(object, offset).map(([object, offset]): Step => (encoder) => {
    encoder.record({ type: 10, u64: { 8: object, 16: offset, 24: 512, 32: GUID } });
    return { type: 'REDACT', object, offset, length: 512, payloadBytes: 0 };
  }),
);

/** The encoder's own. */
const GUID = 0xfedcba9876543210n;

describe('SendStream', () => {
  test('reads any stream in either byte order and in any chunks', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 12 }),
        fc.boolean(),
        fc.option(words),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 6 }),
        (steps, bigEndian, nvlist, chunks) => {
          const encoder = new StreamEncoder({ fromGuid: 5n, ...(nvlist && { nvlist }) }, bigEndian);
          const expected = steps.map((step) => step(encoder));
          const read = readStream(encoder.end(), chunks);
          expect(read[0]?.record).toMatchObject({ type: 'BEGIN', bigEndian, content: 'zvol', fromGuid: '5' });
          expect(Buffer.compare(read[0]!.payload, Buffer.from(nvlist ?? []))).toBe(0);
          expect(read.slice(1, -1).map(({ record }) => record)).toEqual(expected);
          expect(read.at(-1)?.record.type).toBe('END');
          for (const { record, payload } of read) expect(payload.length).toBe(record.payloadBytes);
        },
      ),
    );
  });

  test('a random change anywhere is found', () => {
    const base = new StreamEncoder();
    base.object(1, 23, 8192).write(1, 0, Buffer.alloc(8192, 'abcd')).free(1, 8192, 8192);
    const good = base.end();
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(good);
        bytes[at] = (bytes[at] ?? 0) ^ change;
        expect(refusal(bytes)).toMatch(/^read ZFS send stream record \d/);
      }),
      { numRuns: 500 },
    );
  });

  test('chunks that lie in the memory given are summed there', () => {
    const bytes = fixtureBytes('zvol-8k-inc1');
    const memory = sharedMemory(SCRATCH_BYTES + bytes.length);
    const inside = new Uint8Array(memory.buffer, SCRATCH_BYTES, bytes.length);
    inside.set(bytes);
    let records = 0;
    let payloads = 0;
    const stream = new SendStream(
      {
        record: () => records++,
        payload: (_, part) => {
          expect(part.buffer).toBe(memory.buffer);
          payloads += part.length;
        },
      },
      { memory, scratch: 0 },
    );
    for (let at = 0; at < bytes.length; at += 10_001) stream.push(inside.subarray(at, at + 10_001));
    stream.end();
    expect(stream.records).toBe(records);
    expect(stream.bytes).toBe(bytes.length);
    expect(payloads).toBe(bytes.length - 312 * records);
  });

  test.each([
    ['deduplicated by its flags', { featureFlags: 1 }, /deduplicated \(zfs send -D\) \(send it without -D/],
    ['a package', { kind: 2 }, /package of several streams \(zfs send -R, -I or -p\)/],
    ['of an unknown kind', { kind: 3 }, /a stream of kind 3 is unknown/],
    ['resumed', { featureFlags: 1 << 20 }, /the rest of an interrupted send \(zfs send -t\)/],
    [
      'with unknown features',
      { featureFlags: (1 << 18) | (1 << 5) },
      /unknown to this version \(flags 5, 18\)/,
    ],
    ['of a pool’s own data', { content: 1 }, /an object set of type 1 is neither/],
  ])('a stream that is %s is refused at once', (_, identity, message) => {
    expect(refusal(new StreamEncoder(identity).bytes())).toMatch(message);
  });

  test.each<[string, (encoder: StreamEncoder) => StreamEncoder, RegExp]>([
    [
      'WRITE_BYREF',
      (e) => e.record({ type: 6, u64: { 32: GUID } }),
      /record 2 \(WRITE_BYREF\) .*deduplicated/,
    ],
    ['an unknown type', (e) => e.record({ type: 11 }), /record 2 \(type 11\) .*type 11 is unknown/],
    ['another guid', (e) => e.record({ type: 2, u64: { 24: 1n } }), /belongs to another snapshot/],
    [
      'a second BEGIN',
      (e) => e.record({ type: 0, u64: { 8: 0x2f5bacbacn, 16: 1, 40: GUID }, u32: { 32: 3 } }),
      /it begins again/,
    ],
    ['a block of no length', (e) => e.write(1, 0, Buffer.alloc(0)), /a length of 0 bytes is impossible/],
    [
      'a block of 32 MiB',
      (e) => e.record({ type: 3, u64: { 8: 1, 32: 32 << 20, 40: GUID } }),
      /a length of 33554432 bytes is impossible/,
    ],
    [
      'two lengths that differ',
      (e) => e.record({ type: 4, u64: { 8: 1, 32: GUID }, u32: { 4: 8 } }),
      /announces 8 bytes where its kind has 0/,
    ],
    [
      'embedded data of another kind',
      (e) => e.record({ type: 8, u64: { 8: 1, 24: 512, 32: GUID }, u8: { 41: 2 } }),
      /embedded data of kind 2/,
    ],
  ])('%s is refused with its checksum right', (_, add, message) => {
    expect(refusal(add(new StreamEncoder()).end())).toMatch(message);
  });

  test('an embedded spill block of OpenZFS’ mistake is told apart', () => {
    const read = readStream(fixtureBytes('bug-spill-full-ec'));
    const misplaced = read.filter(
      ({ record }) => record.type === 'WRITE_EMBEDDED' && record.offset === undefined,
    );
    expect(misplaced).toHaveLength(1);
    const right = readStream(fixtureBytes('bug-spill-full-c'));
    expect(right.filter(({ record }) => record.type === 'SPILL')).toHaveLength(1);
  });

  test.each([
    ['text', Buffer.alloc(1000, 'not a stream ')],
    ['a compressed stream', gzipSync(fixtureBytes('zvol-8k-inc1'))],
    ['zeros', Buffer.alloc(1000)],
  ])('%s is no send stream', (_, bytes) => {
    expect(refusal(bytes)).toMatch(
      /record 1 at byte 0: it does not begin as a send stream does \(give the output of zfs send as it is/,
    );
  });

  test('says where it stopped, and goes on saying it', () => {
    const bytes = fixtureBytes('zvol-8k-inc1');
    const { header, payload } = placesOf(bytes)[5]!;
    expect(refusal(bytes.subarray(0, header))).toMatch(new RegExp(`record 6 at byte ${header}: it stops`));
    expect(refusal(bytes.subarray(0, header + 3))).toMatch(
      new RegExp(`record 6 at byte ${header}: it stops`),
    );
    expect(refusal(bytes.subarray(0, payload + 3))).toMatch(
      new RegExp(`record 6 \\(WRITE\\) at byte ${header}: it stops after ${payload + 3} bytes`),
    );
    const stream = new SendStream({ record: () => undefined, payload: () => undefined });
    stream.push(bytes.subarray(0, payload));
    expect(() => stream.end()).toThrow(/it stops/);
    expect(() => stream.push(bytes.subarray(payload))).toThrow(/it stops/);
  });

  test('a refusal of the handler names the record too; its other errors pass through', () => {
    const refusing = (error: Error): SendStream =>
      new SendStream({
        record(record) {
          if (record.type === 'FREE') throw error;
        },
        payload: () => undefined,
      });
    const bytes = fixtureBytes('zvol-8k-inc1');
    expect(() => refusing(new Refusal('not here', 'elsewhere')).push(bytes)).toThrow(
      'read ZFS send stream record 3 (FREE) at byte 624: not here (elsewhere)',
    );
    const own = new Error('mine');
    expect(() => refusing(own).push(bytes)).toThrow(own);
  });
});
