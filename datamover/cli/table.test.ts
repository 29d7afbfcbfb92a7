import { describe, expect, test } from '@jest/globals';
import { formatFields, formatTable } from './table.ts';

describe('tables', () => {
  test('columns are as wide as their widest cell, numbers flush right, empty columns left out', () => {
    const columns = [{ heading: 'ID' }, { heading: 'Driver' }, { heading: 'Size', right: true }];
    expect(
      formatTable(columns, [
        ['3f2a81c0', '', '1.0 GiB'],
        ['ä', '', '12 B'],
      ]),
    ).toEqual(['ID           Size', '-----------------', '3f2a81c0  1.0 GiB', 'ä            12 B']);
  });

  test('a table without rows still has its headings', () => {
    expect(formatTable([{ heading: 'ID' }, { heading: 'Time' }], [])).toEqual(['ID  Time', '--------']);
  });

  test('fields stand under each other', () => {
    expect(
      formatFields([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toEqual(['a:    1', 'long: 2']);
  });
});
