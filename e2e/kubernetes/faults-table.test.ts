import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

/** The checkout, seen from the sources as well as from the compiled tree. */
const CHECKOUT =
  ['../../', '../../../']
    .map((folder) => fileURLToPath(new URL(folder, import.meta.url)))
    .find((folder) => existsSync(`${folder}docs/faults.md`)) ?? '';

/** The rows of the tables: the fault, and the tests as `FILE`: TITLE. */
const ROWS = readFileSync(`${CHECKOUT}docs/faults.md`, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| fault'))
  .map((line) => {
    const [fault = '', , tests = ''] = line.slice(2, -2).split(' | ');
    return [fault, tests.split('<br>')] as const;
  });

describe('docs/faults.md', () => {
  test('has the faults of both lists', () => {
    expect(ROWS.length).toBeGreaterThan(40);
  });

  test.each(ROWS)('%s', (_, tests) => {
    expect(tests.length).toBeGreaterThan(0);
    for (const named of tests) {
      const [, file = '', title = ''] = /^`([^`]+\.(?:test|suite)\.ts)`: (.+)$/.exec(named) ?? [];
      const source = readFileSync(`${CHECKOUT}${file}`, 'utf8').replaceAll('\\', '');
      const quoted = [`'${title}'`, `"${title}"`, `\`${title}\``];
      expect([named, quoted.some((text) => source.includes(text))]).toEqual([named, true]);
    }
  });
});
