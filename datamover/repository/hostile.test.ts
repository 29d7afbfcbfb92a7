import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DatamoverError } from '../errors.ts';
import { decodeConfig } from './config.ts';
import { decodeIndexFile } from './index-file.ts';
import { decodeKeyFile } from './key-file.ts';
import { decodeLock } from './lock.ts';
import { decodeSnapshot } from './snapshot.ts';
import { decodeTree } from './tree.ts';

/** Whatever a file holds, its reader gives an answer or names the file: nothing else is thrown, nothing hangs. */

const DECODERS = {
  config: decodeConfig,
  key: decodeKeyFile,
  snapshot: decodeSnapshot,
  lock: decodeLock,
  tree: decodeTree,
  index: decodeIndexFile,
};

const FIELDS = [
  ...[
    'version',
    'id',
    'chunker_polynomial',
    'kdf',
    'N',
    'r',
    'p',
    'salt',
    'data',
    'created',
    'time',
    'tree',
    'paths',
  ],
  ...[
    'tags',
    'parent',
    'original',
    'hostname',
    'pid',
    'exclusive',
    'program',
    'nodes',
    'name',
    'type',
    'content',
  ],
  ...[
    'subtree',
    'size',
    'mode',
    'packs',
    'packs_to_delete',
    'supersedes',
    'blobs',
    'offset',
    'length',
    '__proto__',
  ],
];

/** JSON of the right words in the wrong places, with values that are right now and then. */
const { value: documents } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom(
      'ab'.repeat(32),
      'scrypt',
      'data',
      'dir',
      'file',
      '2026-11-20T12:00:00Z',
      '25b468838dcb75',
      'AAAA',
      '',
    ),
    fc.constantFrom(0, 1, 2, 8, 1024, -1, 0.5, 2 ** 53, 1e300, null, true),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...FIELDS), tie('value'), { maxKeys: 12 }),
  ),
}));

function outcome(
  decode: (bytes: Uint8Array, subject: string) => unknown,
  bytes: Uint8Array,
): 'answer' | 'refusal' {
  try {
    decode(bytes, 'file 1a2b3c4d');
    return 'answer';
  } catch (error) {
    expect(error).toBeInstanceOf(DatamoverError);
    expect(String(error)).toContain('file 1a2b3c4d: ');
    return 'refusal';
  }
}

describe.each(Object.entries(DECODERS))('the reader of a %s', (_name, decode) => {
  test('F-33 answers or names the file, for any JSON', () => {
    fc.assert(
      fc.property(documents, (value) => {
        expect(['answer', 'refusal']).toContain(outcome(decode, Buffer.from(JSON.stringify(value))));
      }),
      { numRuns: 300 },
    );
  });

  test('F-33 answers or names the file, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(['answer', 'refusal']).toContain(outcome(decode, bytes));
      }),
    );
    expect(outcome(decode, new Uint8Array(0))).toBe('refusal');
    expect(outcome(decode, Buffer.from('['.repeat(200_000)))).toBe('refusal');
  });
});

test('a field named __proto__ changes no prototype', () => {
  const json =
    '{"time":"2026-11-20T12:00:00Z","tree":"' +
    'ab'.repeat(32) +
    '","paths":[],"__proto__":{"polluted":true}}';
  const snapshot = decodeSnapshot(Buffer.from(json), 'x');
  expect('polluted' in { ...snapshot }).toBe(false);
  expect('polluted' in {}).toBe(false);
});
