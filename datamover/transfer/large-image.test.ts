import { expect, test } from '@jest/globals';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { noise, seededRandom } from '../repository/testing/bytes.ts';
import { MemoryStore } from '../store/memory.ts';
import { TraceStore } from '../store/trace.ts';
import { backUpImage, inFolder, newRepository, reopen, restoreTo, writeImage } from './testing/volumes.ts';

const MIB = 1 << 20;
const TIB = 2 ** 40;
const CHANGES = 100;

test('100 changed blocks of a sparse image of 1 TiB cost less than 1 MiB of new metadata, and come back', async () => {
  await inFolder(async (folder) => {
    const store = new MemoryStore();
    const random = seededRandom(21);
    const path = await writeImage(join(folder, 'image'), TIB, [
      { offset: 0, content: noise('first', MIB) },
      { offset: TIB - MIB, content: noise('last', MIB) },
    ]);
    const first = await backUpImage(await newRepository(store), path);
    expect(first).toMatchObject({ totalBytes: TIB, readBytes: 2 * MIB, newBytes: 2 * MIB });

    const offsets = new Set<number>();
    while (offsets.size < CHANGES) offsets.add(random.below(TIB / MIB) * MIB);
    await writeImage(
      path,
      TIB,
      [...offsets].map((offset) => ({ offset, content: noise(offset, 4096) })),
    );
    const traced = new TraceStore(store);
    const second = await backUpImage(await reopen(traced), path);
    expect(second.newBytes).toBe(CHANGES * MIB);
    expect(second.readBytes).toBeLessThanOrEqual((CHANGES + 2) * MIB);
    expect(second.metadataBytes).toBeLessThan(MIB);
    // Everything that went to the store: 100 mostly empty cells, trees, index, snapshot, locks.
    expect(traced.totals.save.amount).toBeLessThan(CHANGES * 5000 + MIB);
    expect(traced.totals.save.amount - (second.storedBytes - second.metadataBytes)).toBeLessThan(MIB);

    const target = join(folder, 'restored');
    const restored = await restoreTo(await reopen(store), second, target);
    expect(restored).toMatchObject({ bytesRestored: TIB, bytesWritten: (CHANGES + 2) * MIB });
    expect((await stat(target)).size).toBe(TIB);
    const [before, after] = await Promise.all([open(path), open(target)]);
    const [a, b] = [Buffer.alloc(MIB), Buffer.alloc(MIB)];
    for (const offset of [0, TIB - MIB, ...offsets]) {
      await before.read(a, 0, MIB, offset);
      await after.read(b, 0, MIB, offset);
      expect(Buffer.compare(a, b)).toBe(0);
    }
    await Promise.all([before.close(), after.close()]);
  });
}, 120_000);
