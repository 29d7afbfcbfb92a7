import { existsSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { FIRST } from './sequencer.ts';

test.each(FIRST)('%s, which is to begin early, is a test file', (name) => {
  expect(existsSync(new URL(`../../${name}.test.js`, import.meta.url))).toBe(true);
});
