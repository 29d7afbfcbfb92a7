import { expect, test } from '@jest/globals';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { noise } from '../repository/testing/bytes.ts';
import { MemoryStore } from '../store/memory.ts';
import { FileDriver } from '../volumes/file/driver.ts';
import { findFinished } from './earlier-attempt.ts';
import { backUp, inFolder, newRepository, reopen, VOLUME, writeImage } from './testing/volumes.ts';

/** A driver that counts how often it is asked to leave a base behind, and may be unable to. */
class CountingDriver extends FileDriver {
  kept = 0;
  refusal: Error | undefined;

  override async keepBase(): Promise<void> {
    this.kept++;
    if (this.refusal !== undefined) throw this.refusal;
  }
}

test('a backup that an earlier attempt finished is found by its tag, and its base is left behind all the same', async () => {
  await inFolder(async (folder) => {
    const store = new MemoryStore();
    const location = await writeImage(join(folder, 'image'), 5000, [{ offset: 0, content: noise(1, 5000) }]);
    const driver = new CountingDriver();
    const source = { kind: 'driver', driver, location } as const;
    const made = await backUp(await newRepository(store), source, { tags: ['transfer=1'] });
    expect(driver.kept).toBe(1);

    const repository = await reopen(store);
    const attempt = { host: hostname(), volume: VOLUME, tag: 'transfer=1', source };
    const found = await findFinished(repository, attempt);
    expect(found).toMatchObject({ snapshotId: made.snapshotId, totalBytes: 5000, storedBytes: 0 });
    expect(found?.read?.changes).toEqual(made.read?.changes);
    expect(found?.warnings).toEqual(['an earlier attempt had finished this backup: transfer=1']);
    expect(driver.kept).toBe(2);

    driver.refusal = new Error('the pool is gone');
    expect((await findFinished(repository, attempt))?.warnings[1]).toBe(
      'the next backup may have to read everything: the pool is gone',
    );
    expect(await findFinished(repository, { ...attempt, tag: 'transfer=2' })).toBeUndefined();
    expect(await findFinished(repository, { ...attempt, host: 'another' })).toBeUndefined();
    expect(driver.kept).toBe(3);
    await repository.close();
  });
});
