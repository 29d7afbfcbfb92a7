import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { crdFiles } from './crd-files.ts';

// From dist/api, where compiled tests run.
const FOLDER = join(import.meta.dirname, '../../charts/datamover/crds');

describe('charts/datamover/crds', () => {
  test('has a file for each kind and no other', async () => {
    expect((await readdir(FOLDER)).sort()).toEqual([...crdFiles().keys()].sort());
  });

  test.each([...crdFiles()])('%s is what `npm run generate` writes', async (name, text) => {
    expect(await readFile(join(FOLDER, name), 'utf8')).toBe(text);
  });
});
