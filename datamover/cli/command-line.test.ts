import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { separateProducer, splitCommand } from './command-line.ts';

describe('the producer of --stdin-command', () => {
  test.each([
    [
      'everything after it is its own',
      ['backup', '--stdin-command', 'zfs', 'send', '-w', 'p@s'],
      ['backup', '--stdin-command', '--', 'zfs', 'send', '-w', 'p@s'],
    ],
    [
      'an explicit -- stays the only one',
      ['backup', '--stdin-command', '--', 'zfs', '-w'],
      ['backup', '--stdin-command', '--', 'zfs', '-w'],
    ],
    [
      'our options may still follow the flag',
      ['backup', '--stdin-command', '--as', 'image', '--', 'cat', '-u'],
      ['backup', '--stdin-command', '--as', 'image', '--', 'cat', '-u'],
    ],
    [
      'a -- of the producer belongs to it',
      ['--stdin-command', 'sh', '--', 'x'],
      ['--stdin-command', '--', 'sh', '--', 'x'],
    ],
    [
      'after -- the flag is a word like any other',
      ['backup', '--', '--stdin-command', 'x'],
      ['backup', '--', '--stdin-command', 'x'],
    ],
    ['without it nothing changes', ['backup', 'file:x', '-v'], ['backup', 'file:x', '-v']],
  ])('%s', (_, argv, expected) => {
    expect(separateProducer(argv)).toEqual(expected);
  });
});

describe('a command in one string', () => {
  test.each([
    ['pass show repo', ['pass', 'show', 'repo']],
    [`sh -c 'echo "a b"'`, ['sh', '-c', 'echo "a b"']],
    ['"two words" a\\ b', ['two words', 'a b']],
    [`x '' ""`, ['x', '', '']],
    [`"a \\" b" '\\'`, ['a " b', '\\']],
    ['  $HOME/*  ', ['$HOME/*']],
  ])('%s', (text, words) => {
    expect(splitCommand(text)).toEqual(words);
  });

  test('any words survive being quoted', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1 }), (words) => {
        const quoted = words.map((word) => `'${word.replaceAll("'", `'"'"'`)}'`).join(' ');
        expect(splitCommand(quoted)).toEqual(words);
      }),
    );
  });

  test.each([
    ['', 'it is empty'],
    ['   ', 'it is empty'],
    [`a 'b`, `a quote (') is not closed`],
  ])('%j is refused', (text, cause) => {
    expect(() => splitCommand(text)).toThrow(cause);
  });
});
