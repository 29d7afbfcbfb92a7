import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DatamoverError } from '../../errors.ts';
import { LibrbdError } from './librbd-error.ts';
import { MessageReader, toFailure, type Reply } from './session-protocol.ts';

const messages = fc.array(fc.record({ number: fc.nat(), answer: fc.jsonValue() }), { maxLength: 8 });

describe('the lines of a session', () => {
  test('are taken apart however they are cut', () => {
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (said, cuts) => {
        const lines = said.map((message) => JSON.stringify(message));
        const output = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const heard: Reply[] = [];
        const reader = new MessageReader<Reply>((reply) => heard.push(reply));
        for (let at = 0, i = 0; at < output.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1);
          reader.push(Buffer.from(output.subarray(at, end)));
          at = end;
        }
        expect(heard.map((reply) => JSON.stringify(reply))).toEqual(lines);
      }),
    );
  });

  test('that are no answer are an error', () => {
    const reader = new MessageReader(() => undefined);
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
