import { expect, test } from '@jest/globals';
import fc from 'fast-check';

import { joinChunks, keepsConnection, parseHead } from './answer-head.ts';

const name = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,15}$/)
  .filter((text) => !/^(content|transfer)-/i.test(text));
const value = fc.stringMatching(/^[\x21-\x7e]([\x20-\x7e]{0,20}[\x21-\x7e])?$/);

test('every well-formed head is read, and every beginning of one is incomplete', () => {
  const heads = fc.record({
    status: fc.integer({ min: 200, max: 599 }),
    reason: fc.stringMatching(/^[A-Za-z ]{0,10}$/),
    fields: fc.uniqueArray(fc.tuple(name, value), { maxLength: 5, selector: ([key]) => key.toLowerCase() }),
    length: fc.integer({ min: 0, max: 2 ** 40 }),
    cut: fc.nat(),
  });
  fc.assert(
    fc.property(heads, ({ status, reason, fields, length, cut }) => {
      const lines = [...fields.map(([key, text]) => `${key}:  ${text} `), `Content-Length: ${length}`];
      const text = `HTTP/1.1 ${status} ${reason}\r\n${lines.join('\r\n')}\r\n\r\n`;
      const expected = Object.fromEntries(fields.map(([key, field]) => [key.toLowerCase(), field]));
      expect(parseHead(Buffer.from(`${text}body\r\n\r\n`))).toEqual({
        ...{ status, length: text.length, body: length },
        headers: { ...expected, 'content-length': String(length) },
      });
      expect(parseHead(Buffer.from(text.slice(0, cut % text.length)))).toBe('incomplete');
    }),
  );
});

test('bytes that are no head never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, prefixed) => {
      const start = prefixed ? 'HTTP/1.1 200 OK\r\n' : '';
      const parsed = parseHead(Buffer.concat([Buffer.from(start), bytes, Buffer.from('\r\n\r\n')]));
      expect(['odd', 'object']).toContain(typeof parsed === 'string' ? parsed : 'object');
    }),
  );
});

test('chunks are joined, whatever their sizes; without their end they are incomplete', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 })), fc.nat(), (chunks, cut) => {
      const coded = Buffer.concat([
        ...chunks.map((chunk) =>
          Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
        ),
        Buffer.from('0\r\n\r\n'),
      ]);
      expect(joinChunks(coded)?.equals(Buffer.concat(chunks))).toBe(true);
      expect(joinChunks(coded.subarray(0, cut % coded.length))).toBeUndefined();
    }),
  );
});

test('what are no chunks is an error', () => {
  expect(() => joinChunks(Buffer.from('hello\r\nworld\r\n'))).toThrow(/cannot be read/);
  expect(() => joinChunks(Buffer.from('fffffff0\r\n'))).toThrow(/cannot be read/);
});

test.each([
  ['', true],
  ['keep-alive', true],
  ['close', false],
  ['Keep-Alive, Close', false],
])('Connection: %s keeps it: %s', (connection, kept) => {
  expect(keepsConnection({ status: 200, headers: { connection }, length: 0, body: 0 })).toBe(kept);
});
