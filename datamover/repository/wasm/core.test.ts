import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fingerprint } from '../chunker-plain.ts';
import { poly1305Plain } from '../crypto/poly1305-plain.ts';
import { randomPolynomial } from '../polynomial.ts';
import { noise } from '../testing/bytes.ts';
import { allocate, instantiate, RESERVED } from './core.ts';

const memory = allocate(1 << 20);
const core = instantiate(memory);
const bytes = Buffer.from(memory.buffer);

const KEY = RESERVED;
const TAG = RESERVED + 64;
// Between the tag and here is the room that poly1305 computes in.
const MESSAGE = RESERVED + 1024;

function tagOf(message: Uint8Array, key: Uint8Array, at = MESSAGE): string {
  bytes.set(key, KEY);
  bytes.set(message, at);
  core.poly1305(TAG, at, message.length, KEY);
  return bytes.subarray(TAG, TAG + 16).toString('hex');
}

function hex(text: string): Buffer {
  return Buffer.from(text.replace(/[^0-9a-f]/gi, ''), 'hex');
}

describe('poly1305', () => {
  // RFC 8439, section 2.5.2 and appendix A.3: key (r, s), message, tag.
  const ietf =
    'Any submission to the IETF intended by the Contributor for publication as all or part of an IETF Internet-Draft or RFC ' +
    'and any statement made within the context of an IETF activity is considered an "IETF Contribution". Such statements ' +
    'include oral statements in IETF sessions, as well as written and electronic communications made at any time or place, ' +
    'which are addressed to';
  const ones = 'ff'.repeat(16);
  const zeros = '00'.repeat(16);
  const jabberwocky = Buffer.from(
    "'Twas brillig, and the slithy toves\nDid gyre and gimble in the wabe:\nAll mimsy were the borogoves,\nAnd the mome raths outgrabe.",
  );
  test.each([
    [
      'section 2.5.2',
      hex('85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b'),
      Buffer.from('Cryptographic Forum Research Group'),
      'a8061dc1305136c6c22b8baf0c0127a9',
    ],
    ['A.3 #1', hex(zeros + zeros), Buffer.alloc(64), zeros],
    [
      'A.3 #2',
      hex(`${zeros}36e5f6b5c5e06070f0efca96227a863e`),
      Buffer.from(ietf),
      '36e5f6b5c5e06070f0efca96227a863e',
    ],
    [
      'A.3 #3',
      hex(`36e5f6b5c5e06070f0efca96227a863e${zeros}`),
      Buffer.from(ietf),
      'f3477e7cd95417af89a6b8794c310cf0',
    ],
    [
      'A.3 #4',
      hex('1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0'),
      jabberwocky,
      '4541669a7eaaee61e708dc7cbcc5eb62',
    ],
    ['A.3 #5', hex(`02${'00'.repeat(15)}${zeros}`), hex(ones), `03${'00'.repeat(15)}`],
    ['A.3 #6', hex(`02${'00'.repeat(15)}${ones}`), hex(`02${'00'.repeat(15)}`), `03${'00'.repeat(15)}`],
    [
      'A.3 #7',
      hex(`01${'00'.repeat(15)}${zeros}`),
      hex(`${ones}f0${'ff'.repeat(15)}11${'00'.repeat(15)}`),
      `05${'00'.repeat(15)}`,
    ],
    [
      'A.3 #8',
      hex(`01${'00'.repeat(15)}${zeros}`),
      hex(`${ones}fb${'fe'.repeat(15)}${'01'.repeat(16)}`),
      zeros,
    ],
    ['A.3 #9', hex(`02${'00'.repeat(15)}${zeros}`), hex(`fd${'ff'.repeat(15)}`), `fa${'ff'.repeat(15)}`],
    [
      'A.3 #10',
      hex(`0100000000000000 0400000000000000 ${zeros}`),
      hex(
        `e33594d7505e43b9 0000000000000000 3394d7505e4379cd 0100000000000000 ${zeros} 01000000000000000000000000000000`,
      ),
      '14000000000000005500000000000000',
    ],
    [
      'A.3 #11',
      hex(`0100000000000000 0400000000000000 ${zeros}`),
      hex(`e33594d7505e43b9 0000000000000000 3394d7505e4379cd 0100000000000000 ${zeros}`),
      `13${'00'.repeat(15)}`,
    ],
  ])('gives the tag of RFC 8439, %s', (_, key, message, tag) => {
    expect(tagOf(message, key)).toBe(tag);
    expect(Buffer.from(poly1305Plain(message, key)).toString('hex')).toBe(tag);
  });

  test('equals its plain twin for every length up to 600 bytes', () => {
    const key = noise('key', 32);
    const message = noise('message', 600);
    const wrong: number[] = [];
    for (let length = 0; length <= message.length; length++) {
      const part = message.subarray(0, length);
      if (tagOf(part, key) !== Buffer.from(poly1305Plain(part, key)).toString('hex')) wrong.push(length);
    }
    expect(wrong).toEqual([]);
  });

  test('equals its plain twin for any key, message and alignment', () => {
    // Runs of ff and 00 are where carries go wrong.
    const runs = fc.array(
      fc.oneof(
        fc.record({ byte: fc.constantFrom(0, 0xff, 0xfe, 1), count: fc.nat(80) }),
        fc.record({ byte: fc.nat(255), count: fc.nat(3) }),
      ),
      { maxLength: 30 },
    );
    const keys = fc.oneof(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.constant(new Uint8Array(32).fill(255)),
    );
    fc.assert(
      fc.property(runs, keys, fc.nat(70), (parts, key, shift) => {
        const message = Buffer.concat(parts.map(({ byte, count }) => Buffer.alloc(count, byte)));
        expect(tagOf(message, key, MESSAGE + shift)).toBe(
          Buffer.from(poly1305Plain(message, key)).toString('hex'),
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe('poly1305 of long messages', () => {
  // Sums of products are largest where all bits are set: what is computed in floating point must still be exact there.
  test.each([
    ['all bits of the message and the key set', Buffer.alloc(70_003, 255), Buffer.alloc(32, 255)],
    ['noise under the largest r', noise('long', 65_536), Buffer.alloc(32, 255)],
    ['zeros', Buffer.alloc(50_000), noise('key', 32)],
    ['all bits of the message set', Buffer.alloc(49_999, 255), noise('key', 32)],
    ['noise', noise('long', 100_001), noise('other key', 32)],
  ])('equals its plain twin: %s', (_, message, key) => {
    expect(tagOf(message, key)).toBe(Buffer.from(poly1305Plain(message, key)).toString('hex'));
  });
});

describe('zeroPrefix', () => {
  test('knows whole blocks of 64 zero bytes up to the first other byte', () => {
    fc.assert(
      fc.property(fc.nat(700), fc.nat(700), fc.nat(63), (length, first, shift) => {
        const at = MESSAGE + shift;
        bytes.fill(255, MESSAGE, MESSAGE + 1000);
        bytes.fill(0, at, at + length);
        if (first < length) bytes[at + first] = 1;
        const zeros = Math.min(first, length);
        expect(core.zeroPrefix(at, length)).toBe(zeros & ~63);
      }),
    );
  });
});

describe('equal', () => {
  test('sees one different bit anywhere', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.nat(399), fc.nat(7), (length, place, bit) => {
        const [a, b] = [MESSAGE + 3, MESSAGE + 1000];
        const content = noise(length, length);
        bytes.set(content, a);
        bytes.set(content, b);
        // What lies around must not matter.
        bytes[a + length] = 1;
        bytes[b + length] = 2;
        expect(core.equal(a, b, length)).toBe(1);
        const at = b + (place % length);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        expect(core.equal(a, b, length)).toBe(0);
      }),
    );
  });
});

describe('rabinFind', () => {
  const LENGTH = 50_000;

  /** The definition: the first place whose last 64 bytes have a fingerprint without a bit of the mask. */
  function find(text: Uint8Array, from: number, to: number, polynomial: bigint, mask: bigint): number {
    for (let at = from + 1; at <= to; at++) {
      if ((fingerprint(text.subarray(at - 64, at), polynomial) & mask) === 0n) return at;
    }
    return 0;
  }

  test('finds the cut that the definition finds, wherever a scan begins and ends', () => {
    const text = noise('text', LENGTH);
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: LENGTH - 1 }),
        fc.nat(2500),
        fc.constantFrom(5n, 8n, 10n),
        (from, length, bits) => {
          const polynomial = randomPolynomial();
          const mask = (1n << bits) - 1n;
          const to = Math.min(from + length, LENGTH);
          bytes.set(text, MESSAGE);
          core.rabinInit(polynomial);
          const found = core.rabinFind(MESSAGE + from, MESSAGE + to, mask) >>> 0;
          expect(found === 0 ? 0 : found - MESSAGE).toBe(find(text, from, to, polynomial, mask));
        },
      ),
      { numRuns: 25 },
    );
  });

  test('gives the first cut of all lanes, not the first that a lane meets', () => {
    // Long enough for three lanes side by side, a mask so wide that there is a cut or none.
    const polynomial = 0x3da3358b4dc173n;
    core.rabinInit(polynomial);
    for (let seed = 0; seed < 4; seed++) {
      const text = noise(`lanes ${seed}`, LENGTH);
      bytes.set(text, MESSAGE);
      const mask = (1n << 13n) - 1n;
      const found = core.rabinFind(MESSAGE + 64, MESSAGE + LENGTH, mask) >>> 0;
      expect(found === 0 ? 0 : found - MESSAGE).toBe(find(text, 64, LENGTH, polynomial, mask));
    }
  });
});
