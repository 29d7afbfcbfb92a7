import { expect, test } from '@jest/globals';
import { parseQuantity } from './quantity.ts';

test.each([
  ['0', 0],
  ['10Gi', 10 * 2 ** 30],
  ['1.5G', 1.5e9],
  ['1e9', 1e9],
  ['1500m', 2],
  ['.5Ki', 512],
  ['20480', 20_480],
])('%s is %d bytes', (text, bytes) => expect(parseQuantity(text)).toBe(bytes));

test.each(['', '-1', '10GB', 'Gi', '1 Gi', '1e400', '9Ei9'])('%j is refused', (text) =>
  expect(() => parseQuantity(text)).toThrow('it is no number of bytes'),
);
