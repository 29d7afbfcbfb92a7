import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DatamoverError } from '../../errors.ts';
import type { DiffHandler } from './diff-format.ts';
import { ImageEncoder } from './image-encoder.ts';
import type { ImageHandler, ImageHeader } from './image-format.ts';
import { ImageStream } from './image-stream.ts';
import { cut, diffs, play, Recorder, type Diff } from './testing/diffs.ts';

interface Image {
  readonly header: ImageHeader;
  readonly diffs: readonly Diff[];
}

class ImageRecorder implements ImageHandler {
  header: ImageHeader | undefined;
  readonly diffs: Recorder[] = [];
  ended = false;

  begin(header: ImageHeader): void {
    this.header = header;
  }

  diff(index: number): DiffHandler {
    if (index !== this.diffs.length) throw new Error(`diff ${index} after ${this.diffs.length}`);
    const recorder = new Recorder();
    this.diffs.push(recorder);
    return recorder;
  }

  end(): void {
    this.ended = true;
  }

  get image(): Image {
    if (this.header === undefined || !this.ended) throw new Error('the image is not complete');
    return { header: this.header, diffs: this.diffs.map(({ diff }) => diff) };
  }
}

/** Any image: its diffs are made a chain of snaps with the head at its end. */
const images: fc.Arbitrary<Image> = fc
  .record({
    order: fc.integer({ min: 12, max: 25 }),
    features: fc.nat(1023),
    striping: fc.option(fc.record({ stripeUnit: fc.nat(), stripeCount: fc.nat() })),
    metadata: fc.dictionary(fc.string(), fc.string({ unit: 'grapheme' }), { maxKeys: 3 }),
    parts: fc.array(diffs(fc.constant(2)), { minLength: 1, maxLength: 4 }),
  })
  .map(({ order, features, striping, metadata, parts }) => ({
    header: {
      order,
      features,
      ...striping,
      metadata: new Map(Object.entries(metadata)),
      diffs: parts.length,
    },
    diffs: parts.map(({ header: { bytes, protected: isProtected }, extents }, i) => ({
      header: {
        version: 2 as const,
        bytes,
        ...(i > 0 ? { fromSnap: `snap-${i - 1}` } : {}),
        ...(i < parts.length - 1 ? { toSnap: `snap-${i}` } : {}),
        ...(i < parts.length - 1 && isProtected !== undefined ? { protected: isProtected } : {}),
      },
      extents,
    })),
  }));

function encode(image: Image): Buffer {
  const parts: Uint8Array[] = [];
  const encoder = new ImageEncoder((bytes) => parts.push(bytes));
  encoder.begin(image.header);
  image.diffs.forEach((diff, i) => play(diff, encoder.diff(i)));
  encoder.end();
  return Buffer.concat(parts);
}

function parse(chunks: readonly Uint8Array[]): Image {
  const recorder = new ImageRecorder();
  const stream = new ImageStream(recorder);
  for (const chunk of chunks) stream.push(chunk);
  stream.end();
  return recorder.image;
}

const plain: Image = {
  header: { order: 22, features: 61, metadata: new Map([['k', 'v']]), diffs: 2 },
  diffs: [
    {
      header: { version: 2, toSnap: 'a', bytes: 100 },
      extents: [{ offset: 0, length: 3, data: Buffer.from('abc') }],
    },
    { header: { version: 2, fromSnap: 'a', bytes: 50 }, extents: [{ offset: 1, length: 1 }] },
  ],
};

describe('an export of format 2', () => {
  test('comes out as it went in, however the stream is divided', () => {
    fc.assert(
      fc.property(images, fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (image, sizes) => {
        const stream = encode(image);
        expect(parse([stream])).toEqual(image);
        expect(parse(cut(stream, sizes))).toEqual(image);
        expect(parse(cut(stream, [1]))).toEqual(image);
      }),
      { numRuns: 100 },
    );
  });

  test('that ends at any byte but its last is not complete', () => {
    const stream = encode(plain);
    for (let length = 0; length < stream.length; length++) {
      const recorder = new ImageRecorder();
      const reader = new ImageStream(recorder);
      reader.push(stream.subarray(0, length));
      expect(() => reader.end()).toThrow(/the stream (is empty|ends in it, after \d+ bytes)/);
      expect(recorder.ended).toBe(false);
    }
  });

  test('with a flipped bit outside of payloads is refused or says something else', () => {
    const stream = encode(plain);
    const payload = stream.indexOf('abc');
    let refused = 0;
    for (let bit = 0; bit < stream.length * 8; bit++) {
      const at = bit >> 3;
      if (at >= payload && at < payload + 3) continue;
      const flipped = Buffer.from(stream);
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (bit & 7)), at);
      try {
        expect(parse([flipped])).not.toEqual(plain);
      } catch (error) {
        if (!(error instanceof DatamoverError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(stream.length * 4);
  });
});

describe('refused', () => {
  const stream = encode(plain).toString('latin1');
  const swap = (from: string, to: string): Buffer => {
    expect(stream).toContain(from);
    return Buffer.from(stream.replace(from, to), 'latin1');
  };
  test.each([
    ['a diff alone', () => Buffer.from('rbd diff v1\ne...'), /the banner at byte 0: this is no stream of/],
    ['an unknown record', () => swap('M', 'X'), /record 3 of the image at byte 47: unknown record "X"/],
    ['a record twice', () => swap('T', 'O'), /record 2 of the image at byte 30: it comes twice/],
    ['no order', () => swap(stream.slice(13, 30), ''), /the order or the features of the image are missing/],
    ['no diffs', () => swap('rbd image diffs', 'rbd other diffs'), /the diffs of the image do not follow/],
    ['a broken pair', () => swap('\x01\0\0\0k', '\x02\0\0\0k'), /image-meta key and value do not fill/],
    [
      'a gap in the chain',
      () => swap('f\x05\0\0\0\0\0\0\0\x01\0\0\0a', 'f\x05\0\0\0\0\0\0\0\x01\0\0\0b'),
      /diff 2 of 2, record 3 at byte \d+: it starts from "b", not from "a"/,
    ],
    ['a diff of version 1', () => swap('rbd diff v2', 'rbd diff v1'), /diff 1 of 2, record \d+ at byte/],
    ['more after the end', () => Buffer.from(`${stream}e`, 'latin1'), /data follows the end of the stream/],
  ])('%s', (_, bytes, sentence) => {
    expect(() => parse([bytes()])).toThrow(sentence);
  });

  test('by the encoder: diffs that are no chain, or too few', () => {
    const encoder = new ImageEncoder(() => undefined);
    encoder.begin(plain.header);
    expect(() => encoder.diff(1)).toThrow(/diff 2 when 0 of 2 are written/);
    const diff = encoder.diff(0);
    expect(() => diff.begin({ version: 2, fromSnap: 'z', toSnap: 'a', bytes: 1 })).toThrow(
      /it starts from "z", not from nothing/,
    );
    expect(() => diff.begin({ version: 1, toSnap: 'a', bytes: 1 })).toThrow(/a diff of version 1/);
    expect(() => diff.begin({ version: 2, bytes: 1 })).toThrow(/it leads to no snap/);
    expect(() => encoder.end()).toThrow(/only 0 of 2 diffs are written/);
  });
});
