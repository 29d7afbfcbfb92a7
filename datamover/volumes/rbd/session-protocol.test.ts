import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DatamoverError } from '../../errors.ts';
import { LibrbdError } from './librbd-error.ts';
import { ReplyReader, toFailure, type Reply } from './session-protocol.ts';

const replies = fc.array(
  fc.record({
    number: fc.nat(),
    answer: fc.jsonValue(),
    bytes: fc.option(fc.uint8Array({ maxLength: 300 })),
  }),
  { maxLength: 8 },
);

describe('the output of a session', () => {
  test('is taken apart however it is cut', () => {
    fc.assert(
      fc.property(replies, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (said, cuts) => {
        const output = Buffer.concat(
          said.flatMap(({ number, answer, bytes }) => [
            Buffer.from(`${JSON.stringify({ number, answer, ...(bytes && { bytes: bytes.length }) })}\n`),
            ...(bytes === null ? [] : [Buffer.from(bytes)]),
          ]),
        );
        const heard: { reply: Reply; bytes: Buffer }[] = [];
        const reader = new ReplyReader((reply, bytes) => heard.push({ reply, bytes }));
        for (let at = 0, i = 0; at < output.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1);
          reader.push(Buffer.from(output.subarray(at, end)));
          at = end;
        }
        expect(heard.map(({ reply }) => reply.number)).toEqual(said.map(({ number }) => number));
        expect(heard.map(({ reply }) => JSON.stringify(reply.answer))).toEqual(
          said.map(({ answer }) => JSON.stringify(answer)),
        );
        for (const [i, { bytes }] of heard.entries())
          expect(bytes.equals(Buffer.from(said[i]?.bytes ?? []))).toBe(true);
      }),
    );
  });

  test('that is no answer is an error', () => {
    const reader = new ReplyReader(() => undefined);
    expect(() => reader.push(Buffer.from('2026-11-27 warning: a library speaks\n'))).toThrow(SyntaxError);
  });
});

test('an error keeps its errno, and what it says of itself, on its way between processes', () => {
  expect(toFailure(LibrbdError.of('opening image a', 2))).toMatchObject({ errno: 2 });
  const words = { operation: 'read', subject: 'rbd/a@b', hint: 'back up again' };
  const error = new DatamoverError({ ...words, cause: 'it went', kind: 'failed', retryable: true });
  expect(toFailure(error)).toEqual({ cause: 'it went', said: { ...words, kind: 'failed', retryable: true } });
  expect(toFailure(new TypeError('odd'))).toEqual({ cause: 'odd' });
});
