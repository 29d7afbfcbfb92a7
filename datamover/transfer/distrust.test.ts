import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { executeBackup, type BackupSummary } from './backup.ts';
import { planBackup, type BackupRequest } from './backup-plan.ts';
import { ForgetfulDriver } from './testing/forgetful-driver.ts';
import { backUp, inFolder, newRepository, reopen, restoreTo, VOLUME, writeImage } from './testing/volumes.ts';
import { VolumeReader } from './volume-reader.ts';

const MIB = 1 << 20;
const BYTES = 40 * MIB + 4096;

interface Lab {
  readonly store: Store;
  readonly driver: ForgetfulDriver;
  readonly first: BackupSummary;
  readonly write: (offset: number, bytes: Uint8Array) => Promise<void>;
  readonly backUp: (snapshot: string, request?: Partial<BackupRequest>) => Promise<BackupSummary>;
  readonly expectRestored: (summary: BackupSummary) => Promise<void>;
  readonly recordOf: (summary: BackupSummary) => Promise<VolumeReader['record']>;
}

/** A volume with one backup. */
async function inLab(job: (lab: Lab) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const image = join(folder, 'image');
    const write = async (offset: number, content: Uint8Array): Promise<void> => {
      await writeImage(image, BYTES, [{ offset, content }]);
    };
    await write(0, randomBytes(12 * MIB));
    await write(30 * MIB, randomBytes(10 * MIB + 4096));
    const driver = new ForgetfulDriver(folder, image);
    const store = new MemoryStore();
    await newRepository(store);
    let hour = 0;
    const save = async (snapshot: string, request: Partial<BackupRequest> = {}): Promise<BackupSummary> => {
      const source = { kind: 'driver', driver, location: await driver.snapshot(snapshot) } as const;
      const time = new Date(Date.UTC(2026, 0, 1, hour++));
      return backUp(await reopen(store), source, { time, ...request });
    };
    const first = await save('s0');
    await job({
      ...{ store, driver, first, write, backUp: save },
      recordOf: async ({ snapshotId = '' }) => {
        const repository = await reopen(store);
        const snapshot = await repository.loadSnapshot(snapshotId);
        return (await VolumeReader.open(repository, snapshotId, snapshot)).record;
      },
      expectRestored: async (summary) => {
        const target = join(folder, `restored-${summary.snapshotId ?? ''}`);
        await restoreTo(await reopen(store), summary, target, { verify: true });
        expect((await readFile(target)).equals(await readFile(image))).toBe(true);
      },
    });
    expect(driver.holds).toBe(0);
  });
}

describe('an increment by a list of changes that is right', () => {
  test('is compared in a sample, and says so', async () => {
    await inLab(async ({ driver, first, write, backUp, expectRestored, recordOf }) => {
      await write(3 * MIB + 8192, randomBytes(4096));
      await write(BYTES - 4096, randomBytes(4096));
      const second = await backUp('s1');
      expect(second.read).toEqual({
        changes: { mechanism: 'rbd-object-map' },
        base: first.snapshotId,
        changedBytes: MIB + 4096,
        sample: { cells: 16 },
      });
      expect(second.warnings).toEqual([]);
      await expectRestored(second);
      expect(await recordOf(second)).not.toHaveProperty('distrusted');
      expect(driver.kept.map(({ source }) => source.location)).toEqual(['s0', 's1']);
    });
  });

  test('has its sample as large as asked; none at all on request', async () => {
    await inLab(async ({ write, backUp }) => {
      await write(0, randomBytes(4096));
      expect((await backUp('s1', { sample: { cells: 1000 } })).read?.sample).toEqual({ cells: 40 });
      expect((await backUp('s2', { sample: { cells: 0 } })).read).not.toHaveProperty('sample');
    });
  });

  test('where nothing can be read at random says nothing; where that fails warns', async () => {
    await inLab(async ({ driver, write, backUp, expectRestored }) => {
      await write(0, randomBytes(4096));
      driver.reading = 'never';
      const blind = await backUp('s1');
      expect(blind.read).not.toHaveProperty('sample');
      expect(blind.warnings).toEqual([]);
      driver.reading = 'badly';
      const failed = await backUp('s2');
      expect(failed.warnings).toEqual([
        'no unchanged part could be compared with the source: the device does not answer',
      ]);
      await expectRestored(failed);
    });
  });
});

describe('an increment by a list of changes with holes', () => {
  test('is found out: everything is read, the backup is right, and it is told and recorded', async () => {
    await inLab(async ({ driver, first, write, backUp, expectRestored, recordOf }) => {
      await write(3 * MIB + 8192, randomBytes(4096));
      await write(20 * MIB, randomBytes(2 * MIB));
      driver.forgets = [{ from: 20 * MIB, to: 22 * MIB }];
      const second = await backUp('s1', { sample: { cells: 40 } });
      const distrusted = { mechanism: 'rbd-object-map', base: first.snapshotId, differsAt: 20 * MIB };
      expect(second.read).toEqual({
        changes: { mechanism: 'everything', because: 'its list of changes was wrong' },
        sample: { cells: 20, differsAt: 20 * MIB },
        distrusted,
      });
      expect(second.warnings).toEqual([
        expect.stringMatching(
          /^what rbd-object-map says of s1 cannot be trusted: byte 20971520 .* since backup \w{8} and was not named; all of the volume was read instead$/,
        ),
      ]);
      await expectRestored(second);
      expect(await recordOf(second)).toMatchObject({ distrusted, bytes: BYTES });
      expect(driver.kept.at(-1)?.base).toBeUndefined();
      // What is built on it is right again.
      await write(0, randomBytes(4096));
      const third = await backUp('s2', { sample: { cells: 1000 } });
      expect(third.read).toMatchObject({ base: second.snapshotId, sample: { cells: 40 } });
      await expectRestored(third);
    });
  });

  test('is found out by the usual sample sooner or later, and then nothing wrong is left', async () => {
    await inLab(async ({ driver, write, backUp, expectRestored }) => {
      driver.forgets = [{ from: 0, to: BYTES }];
      await write(MIB, randomBytes(30 * MIB));
      // Thirty of forty-one cells are wrong: sixteen that are all right are one draw in more than a billion.
      const second = await backUp('s1');
      expect(second.read?.distrusted?.mechanism).toBe('rbd-object-map');
      await expectRestored(second);
    });
  });

  test('compares in a dry run too, and stores nothing', async () => {
    await inLab(async ({ store, driver, write }) => {
      await write(20 * MIB, randomBytes(MIB));
      driver.forgets = [{ from: 0, to: BYTES }];
      const repository = await reopen(store);
      const source = { kind: 'driver', driver, location: await driver.snapshot('s1') } as const;
      const plan = await planBackup(repository, {
        ...{ volume: VOLUME, source, dryRun: true, sample: { cells: 1000 } },
      });
      const summary = await executeBackup(repository, plan);
      expect(summary.snapshotId).toBeUndefined();
      expect(summary.read?.distrusted?.differsAt).toBe(20 * MIB);
      expect(driver.kept).toHaveLength(1);
    });
  });
});
