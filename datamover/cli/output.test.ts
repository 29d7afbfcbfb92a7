import { expect, test } from '@jest/globals';
import { reportFailure } from './failure.ts';
import { Output } from './output.ts';

test('names that would steer the terminal are shown as what they are, in results, notes and errors', () => {
  const written: string[] = [];
  const stream = { write: (text: string | Uint8Array) => written.push(String(text)) };
  const output = new Output({ json: false, verbosity: 1 }, stream, stream);
  const name = 'tank/\u001b[2Jfiles\r\u009b1m@grün';
  output.data(name, 'two\tcolumns');
  output.note(name);
  reportFailure(new Error(name), output);
  const shown = 'tank/\\x1b[2Jfiles\\x0d\\x9b1m@grün\n';
  expect(written).toEqual([shown, 'two\tcolumns\n', shown, `datamover: ${shown}`]);
});
