import { describe, expect, test } from '@jest/globals';
import { closeSync, constants, openSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratchDirectory } from '../../../e2e/servers/scratch.ts';
import { DatamoverError } from '../../errors.ts';
import { newMasterKey } from '../key-file.ts';
import { MemoryIndex } from '../memory-index.ts';
import { noise } from '../testing/bytes.ts';
import { CELL_BYTES, saveCells, saveStream, type PackSink } from './saver.ts';

describe('saveCells', () => {
  test('a stop while nothing but an upload is left ends the upload', async () => {
    const folder = await scratchDirectory('saver');
    try {
      const path = join(folder, 'image');
      await writeFile(path, noise(1, CELL_BYTES));
      const fd = openSync(path, 'r');
      const stop = new AbortController();
      let uploads = 0;
      const sink: PackSink = {
        key: newMasterKey(),
        polynomial: '',
        uploads: 1,
        shareIndex: () => new MemoryIndex().share(),
        // A store that does not answer.
        storePack: (_pack, _content, signal) => {
          uploads++;
          // Soon after it the threads are gone: they have nothing more to do.
          setTimeout(() => stop.abort(), 1500);
          return new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () =>
              reject(new DatamoverError({ operation: 'save', cause: 'stopped' })),
            );
          });
        },
      };
      const image = { fd, imageBytes: CELL_BYTES, runs: [{ first: 0, count: 1 }] };
      const { finished } = saveCells(sink, image, {
        level: undefined,
        signal: stop.signal,
        onBlobs: () => undefined,
      });
      await expect(finished).rejects.toMatchObject({ kind: 'cancelled', operation: 'back up' });
      expect(uploads).toBe(1);
      closeSync(fd);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 60_000);
});

describe('saveStream', () => {
  const sink: PackSink = {
    key: newMasterKey(),
    polynomial: '3da3358b4dc173',
    uploads: 1,
    shareIndex: () => new MemoryIndex().share(),
    storePack: async () => undefined,
  };

  test('a stop is heard while a terminal says nothing', async () => {
    // The side of a terminal that is read blocks until somebody writes to the other one, and nobody does.
    const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
    const stop = new AbortController();
    const { finished } = saveStream(
      sink,
      { kind: 'fd', fd },
      {
        level: undefined,
        signal: stop.signal,
        onBlobs: () => undefined,
      },
    );
    setTimeout(() => stop.abort(), 1000);
    await expect(finished).rejects.toMatchObject({ kind: 'cancelled' });
    closeSync(fd);
  }, 60_000);
});
