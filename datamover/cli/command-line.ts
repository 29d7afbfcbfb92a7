import { DatamoverError } from '../errors.ts';

const PRODUCER = '--stdin-command';

/**
 * `--stdin-command CMD -x y`: everything after the option is the producer's own command line, so that `-x` is not taken
 * for an option of ours. We mark its start with `--`, unless the user already did, or writes further options of ours first.
 */
export function separateProducer(argv: readonly string[]): string[] {
  const at = argv.indexOf(PRODUCER);
  const end = argv.indexOf('--');
  if (at < 0 || (end >= 0 && end < at)) return [...argv];
  const next = argv[at + 1];
  if (next === undefined || next.startsWith('-')) return [...argv];
  return [...argv.slice(0, at + 1), '--', ...argv.slice(at + 1)];
}

/**
 * Splits a command given in one string (`--password-command`) into words as a shell quotes them, without a shell: quotes
 * and backslashes group, nothing is expanded.
 */
export function splitCommand(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else if (char === '\\' && quote === '"' && i + 1 < text.length) word = (word ?? '') + text.charAt(++i);
      else word = (word ?? '') + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (char === '\\' && i + 1 < text.length) {
      word = (word ?? '') + text.charAt(++i);
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== undefined) throw unusable(`a quote (${quote}) is not closed`);
  if (word !== undefined) words.push(word);
  if (words.length === 0) throw unusable('it is empty');
  return words;
}

function unusable(cause: string): DatamoverError {
  return new DatamoverError({ operation: 'read the password command', cause, kind: 'usage' });
}
