import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { seededRandom } from '../../repository/testing/bytes.ts';
import { MemoryStore } from '../../store/memory.ts';
import { forgetAtRandom } from '../../transfer/testing/forgetting.ts';
import {
  backUpImage,
  inFolder,
  newRepository,
  readBackup,
  reopen,
  restoreTo,
} from '../../transfer/testing/volumes.ts';
import { change, Model, OBJECT_BYTES } from '../testing/workload.ts';
import { FileImage } from './testing/image.ts';

const STEPS = 200;
const SEED = 3;
/** Each so many steps the backup is restored into a file; the others are read as any reader of the format would. */
const STEPS_PER_RESTORE = 10;
const SNAPS = 5;

test(`${STEPS} steps in the life of a sparse file, each backed up and restored byte for byte, also when others were deleted`, async () => {
  await inFolder(async (folder) => {
    const store = new MemoryStore();
    await (await newRepository(store)).close();
    const bytes = 6 * OBJECT_BYTES + 123;
    const image = new FileImage(join(folder, 'disk'), bytes);
    const model = new Model(bytes);
    const backups: { readonly where: string; readonly id: string; readonly sha256: string }[] = [];
    const steps = fc.sample(fc.array(change, { maxLength: 4 }), { seed: SEED, numRuns: STEPS });
    for (const [i, changes] of steps.entries()) {
      for (const what of changes) model.change(image, what);
      model.snap(image, `s${i}`);
      if (i >= SNAPS) model.removeSnap(image, `s${i - SNAPS}`);
      await image.settled();
      const where = `step ${i} of seed ${SEED}`;
      const repository = await reopen(store);
      const summary = await backUpImage(repository, image.path, {}, { workers: 1 });
      const id = summary.snapshotId ?? '';
      expect([where, (await readFile(image.path)).equals(model.bytes)]).toEqual([where, true]);
      expect([where, (await readBackup(repository, id)).equals(model.bytes)]).toEqual([where, true]);
      if (i % STEPS_PER_RESTORE === 0) {
        const restored = join(folder, `restored-${i}`);
        await restoreTo(repository, summary, restored, { verify: true });
        expect([where, (await readFile(restored)).equals(model.bytes)]).toEqual([where, true]);
      }
      await repository.close();
      backups.push({ where, id, sha256: hash('sha256', model.bytes) });
    }
    const left = await forgetAtRandom(store, backups, seededRandom(SEED));
    const repository = await reopen(store);
    for (const { where, id, sha256 } of left)
      expect([where, hash('sha256', await readBackup(repository, id))]).toEqual([where, sha256]);
    await repository.close();
  });
}, 900_000);
