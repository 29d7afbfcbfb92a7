import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DatamoverError } from '../../errors.ts';
import { DiffEncoder } from './diff-encoder.ts';
import type { DiffVersion } from './diff-format.ts';
import { DiffStream } from './diff-stream.ts';
import { cut, diffs, encode, play, Recorder, type Diff } from './testing/diffs.ts';
import { Twin } from './testing/twin.ts';

function parse(chunks: readonly Uint8Array[]): Diff {
  const recorder = new Recorder();
  const stream = new DiffStream(recorder);
  for (const chunk of chunks) stream.push(chunk);
  stream.end();
  return recorder.diff;
}

/** What is refused, as the sentence that people see. */
function refusal(...parts: (string | Uint8Array)[]): string {
  const bytes = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
  );
  try {
    parse([bytes]);
  } catch (error) {
    if (error instanceof DatamoverError) return error.message;
    throw error;
  }
  return 'accepted';
}

function u64(...values: (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, i) => bytes.writeBigUInt64LE(BigInt(value), 8 * i));
  return bytes;
}

function name(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const V1 = 'rbd diff v1\n';
const V2 = 'rbd diff v2\n';
const small: Diff = {
  header: { version: 1, fromSnap: 's3', toSnap: 's4', bytes: 1 << 20 },
  extents: [
    { offset: 3, length: 2, data: Buffer.from('hi') },
    { offset: 4096, length: 8192 },
  ],
};
const asVersion = (version: DiffVersion): Diff => ({ ...small, header: { ...small.header, version } });

describe('a diff', () => {
  test('comes out as it went in, however the stream is divided', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 300 })), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(diffs(), sizes, (diff, chunkSizes) => {
        const { stream } = encode(diff);
        expect(parse([stream])).toEqual(diff);
        expect(parse(cut(stream, chunkSizes))).toEqual(diff);
        expect(parse(cut(stream, [1]))).toEqual(diff);
      }),
      { numRuns: 300 },
    );
  });

  test('that ends at any byte but its last is not complete, and its handler is never told of an end', () => {
    fc.assert(
      fc.property(diffs(), (diff) => {
        const { stream } = encode(diff);
        for (let length = 0; length < stream.length; length++) {
          const twin = new Recorder();
          const reader = new DiffStream(twin);
          reader.push(stream.subarray(0, length));
          expect(() => reader.end()).toThrow(/the stream (is empty|ends in it, after \d+ bytes)/);
          expect(twin.ended).toBe(false);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('with a flipped bit outside of payloads is refused or says something else, inside of the image', () => {
    fc.assert(
      fc.property(diffs(), (diff) => {
        const { stream, payload } = encode(diff);
        for (let bit = 0; bit < stream.length * 8; bit++) {
          const at = bit >> 3;
          if (payload[at] === true) continue;
          const flipped = Buffer.from(stream);
          flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (bit & 7)), at);
          let got: Diff;
          try {
            got = parse([flipped]);
          } catch (error) {
            expect(error).toBeInstanceOf(DatamoverError);
            continue;
          }
          expect(got).not.toEqual(diff);
          let end = 0;
          for (const { offset, length } of got.extents) {
            expect(offset).toBeGreaterThanOrEqual(end);
            end = offset + length;
          }
          expect(end).toBeLessThanOrEqual(got.header.bytes);
        }
      }),
      { numRuns: 15 },
    );
  });

  test('of version 2 says the same as of version 1', () => {
    expect(parse([encode(asVersion(2)).stream])).toEqual(asVersion(2));
    expect(encode(asVersion(2)).stream.length - encode(asVersion(1)).stream.length).toBe(5 * 8);
  });

  test('has the bytes that Ceph writes', () => {
    const smallest: Diff = {
      header: { version: 1, fromSnap: 's3', toSnap: 's4', bytes: 80 << 20 },
      extents: [],
    };
    const expected = Buffer.concat([
      Buffer.from(`${V1}f\x02\0\0\0s3t\x02\0\0\0s4s`),
      u64(80 << 20),
      Buffer.from('e'),
    ]);
    expect(expected.length).toBe(36);
    expect(encode(smallest).stream.toString('hex')).toBe(expected.toString('hex'));
  });

  test('hands payloads on as views of what was pushed', () => {
    const stream = encode(small).stream;
    const views: Uint8Array[] = [];
    const ignore = (): void => undefined;
    const data = (_offset: number, bytes: Uint8Array): number => views.push(bytes);
    const reader = new DiffStream({ begin: ignore, write: ignore, data, zero: ignore, end: ignore });
    reader.push(stream);
    reader.end();
    expect(views.map((view) => Buffer.from(view).toString())).toEqual(['hi']);
    expect(views[0]?.buffer).toBe(stream.buffer);
    expect(views[0]?.byteOffset).toBe(stream.byteOffset + stream.indexOf('hi'));
  });

  test('cuts and lengthens the image that it is applied to', () => {
    const twin = new Twin();
    twin.bytes = Buffer.alloc(100, 1);
    play({ header: { version: 1, bytes: 10 }, extents: [{ offset: 2, length: 3 }] }, twin);
    play({ header: { version: 1, bytes: 12 }, extents: [] }, twin);
    expect([...twin.bytes]).toEqual([1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]);
  });
});

describe('the quirk of 16.2.15', () => {
  test.each([
    [8, 1, true],
    [1, 1, true],
    [8, 0, false],
  ])('p says %i bytes and has one', (told, value, expected) => {
    const stream = [V2, 't', u64(5), name('a'), 'p', u64(told), Buffer.from([value]), 's', u64(8, 0), 'e'];
    const bytes = Buffer.concat(
      stream.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
    );
    expect(parse(cut(bytes, [1])).header).toEqual({
      version: 2,
      toSnap: 'a',
      protected: expected,
      bytes: 0,
    });
  });
});

describe('refused with the record, its offset and the cause', () => {
  const size = (bytes: number | bigint): Buffer => Buffer.concat([Buffer.from('s'), u64(bytes)]);
  const head = [V1, size(100)];
  test.each<[string, (string | Uint8Array)[], string]>([
    ['something else', ['#!/bin/sh\nexit 0\n'], 'the banner at byte 0: this is no stream of rbd export-diff'],
    ['an unknown record', [...head, 'y'], 'record 2 at byte 21: unknown record "y"'],
    ['a record of version 2 in version 1', [V1, 'p'], 'record 1 at byte 12: a record of version 2'],
    ['no size', [V1, 'e'], 'record 1 at byte 12: no size of the image came before it'],
    ['extents before the size', [V1, 'z', u64(0, 1)], 'record 1 at byte 12: no size of the image came'],
    ['two sizes', [...head, size(100)], 'record 2 at byte 21: it comes twice'],
    [
      'a late name',
      [...head, 'z', u64(0, 1), 't', name('a')],
      'record 3 at byte 38: it comes after the first',
    ],
    ['an empty name', [V1, 't', name('')], 'record 1 at byte 12: the name of a snap of 0 bytes'],
    ['an endless name', [V1, 't', Buffer.alloc(4, 255)], 'the name of a snap of 4294967295 bytes'],
    ['a name of other bytes', [V1, 't', Buffer.from([1, 0, 0, 0, 255])], 'the name of a snap is not UTF-8'],
    ['a size beyond 2^53', [V1, size(2n ** 53n)], 'record 1 at byte 12: an image size beyond 2^53'],
    [
      'an extent beyond the image',
      [...head, 'z', u64(90, 11)],
      'record 2 at byte 21: the extent of 11 bytes at 90 ends beyond the image’s 100 bytes',
    ],
    ['a sum beyond 2^64', [...head, 'z', u64(1, 2n ** 64n - 1n)], 'an offset or length beyond 2^53'],
    [
      'an overlap',
      [...head, 'z', u64(10, 10), 'z', u64(19, 10)],
      'record 3 at byte 38: the extent at 19 begins before 20, where the last one ended',
    ],
    [
      'a descent',
      [...head, 'z', u64(50, 5), 'w', u64(5, 1), 'x'],
      'record 3 at byte 38: the extent at 5 begins',
    ],
    ['bytes after the end', [...head, 'e!'], 'byte 22: data follows the end of the stream'],
    ['a cut', [...head, 'w', u64(5, 9), 'ab'], 'record 2 at byte 21: the stream ends in it, after 40 bytes'],
    ['lengths that disagree', [V2, 's', u64(9, 5)], 'the record says that it has 9 bytes, it needs 8'],
    ['a short write record', [V2, 's', u64(8, 100), 'w', u64(17, 0, 2)], 'that it has 17 bytes, it needs 18'],
    ['a strange p', [V2, 'p', u64(2), '\x01'], 'the record says that it has 2 bytes, it needs 1'],
    ['p that is neither', [V2, 'p', u64(8), '\x02'], 'a snap is protected (1) or not (0), not 2'],
    ['p without t', [V2, 'p', u64(1), '\x01', 's', u64(8, 0), 'e'], 'protection of a snap came without'],
  ])('%s', (_, parts, sentence) => {
    const said = refusal(...parts);
    expect(said).toContain(sentence.replace('’', "'"));
    expect(said).toMatch(/^read rbd diff /);
  });

  test('and stays refused', () => {
    const reader = new DiffStream(new Recorder());
    expect(() => reader.push(Buffer.from(`${V1}y`))).toThrow(/unknown record/);
    expect(() => reader.push(Buffer.from('e'))).toThrow(/unknown record/);
    expect(() => reader.end()).toThrow(/unknown record/);
  });

  test('what a handler throws ends the reading too', () => {
    const recorder = new Recorder();
    recorder.begin = () => {
      throw new Error('the target is full');
    };
    const reader = new DiffStream(recorder);
    expect(() => reader.push(encode(small).stream)).toThrow('the target is full');
    expect(() => reader.end()).toThrow('the target is full');
  });
});

describe('the encoder refuses what is no diff', () => {
  const begun = (bytes = 100): DiffEncoder => {
    const encoder = new DiffEncoder(() => undefined);
    encoder.begin({ version: 1, bytes });
    return encoder;
  };
  test.each<[string, () => void, RegExp]>([
    ['no header', () => new DiffEncoder(() => undefined).end(), /no header yet/],
    ['two headers', () => begun().begin({ version: 1, bytes: 1 }), /a second header/],
    ['a size that is none', () => begun(-1), /an image of -1 bytes/],
    ['an extent beyond the image', () => begun().zero(99, 2), /ends beyond the image's 100 bytes/],
    ['a fraction', () => begun().zero(0.5, 2), /an extent of 2 bytes at 0.5/],
    ['data without an extent', () => begun().data(0, new Uint8Array(1)), /not in the extent/],
    [
      'too much data',
      () => {
        const encoder = begun();
        encoder.write(5, 1);
        encoder.data(5, new Uint8Array(2));
      },
      /2 bytes of data at 5, not in the extent/,
    ],
    [
      'too little data',
      () => {
        const encoder = begun();
        encoder.write(5, 3);
        encoder.data(5, new Uint8Array(2));
        encoder.end();
      },
      /1 bytes of the last extent are missing/,
    ],
    [
      'a protected snap in version 1',
      () => new DiffEncoder(() => undefined).begin({ version: 1, toSnap: 'a', protected: true, bytes: 0 }),
      /a protected snap in version 1/,
    ],
    [
      'more after the end',
      () => {
        const encoder = begun();
        encoder.end();
        encoder.zero(0, 1);
      },
      /the diff has ended/,
    ],
  ])('%s', (_, work, sentence) => {
    expect(work).toThrow(sentence);
  });
});
