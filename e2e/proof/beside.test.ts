import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { DATAMOVER } from '../../datamover/cli/testing/command.ts';
import { start, type Running } from '../../datamover/process/spawn.ts';
import { noise } from '../../datamover/repository/testing/bytes.ts';
import { writeImage } from '../../datamover/transfer/testing/volumes.ts';
import { describePeer } from '../servers/describe-peers.ts';
import { hashOf, Site, VOLUME } from './site.ts';

jest.setTimeout(180_000);

const MIB = 1 << 20;
/** KiB a second: an upload of some 30 MiB takes a few seconds, in which others work. */
const SLOWLY = ['--limit-upload', String(8 * 1024)];

describePeer('restic-current', 'several programs in one repository at once', (restic) => {
  let site: Site;
  beforeEach(async () => {
    site = await Site.local('beside');
    await site.init();
  });
  afterEach(() => site.remove());

  async function startBackup(path: string, volume: string): Promise<Running> {
    const running = await start({
      file: DATAMOVER,
      args: ['backup', ...SLOWLY, `file:${path}`, '--volume', volume],
      env: site.environment(),
    });
    running.stdout.resume();
    return running;
  }

  /** Waits until the program that was started is at work in the repository. */
  async function untilLocked(): Promise<void> {
    const store = await site.store();
    for (let locks = 0; locks === 0; await delay(20)) {
      for await (const file of store.list(['locks'])) locks += file.size > 0 ? 1 : 0;
    }
    await store.close();
  }

  /** Runs `job` again and again until the program has ended, and gives how often it ran. */
  async function during(running: Running, job: () => Promise<unknown>): Promise<number> {
    const ended = running.finished.then(() => true);
    let turns = 0;
    try {
      while (!(await Promise.race([ended, delay(150, false)]))) {
        await job();
        turns++;
      }
    } finally {
      await running.stop();
    }
    return turns;
  }

  test('F-15 F-42 forget and prune without any grace beside backups that need what they would free', async () => {
    // The running backup shares content with a backup that is forgotten and pruned under its feet.
    const old = await writeImage(site.path('old'), 60 * MIB, [
      { offset: 0, content: noise('old', 40 * MIB) },
    ]);
    const { snapshot_id } = await site.backUp(old);
    const next = await writeImage(site.path('next'), 60 * MIB, [
      { offset: 0, content: noise('fresh', 30 * MIB) },
      { offset: 30 * MIB, content: noise('old', 20 * MIB) },
    ]);
    const running = await startBackup(next, 'shop/next');
    await untilLocked();
    await site.datamover(['forget', snapshot_id]);
    const prunes = await during(running, () =>
      site.datamover(['prune', '--max-unused', '0', '--grace', '0s']),
    );
    expect(prunes).toBeGreaterThan(0);
    await site.peer(restic, ['check', '--read-data']);
    expect(await site.restoredHash('latest', 'shop/next')).toBe(await hashOf(next));
    // Alone it frees what nobody needs, and what was needed stays.
    await site.datamover(['prune', '--max-unused', '0', '--grace', '0s']);
    await site.peer(restic, ['check', '--read-data']);
    expect(await site.restoredHash('latest', 'shop/next')).toBe(await hashOf(next));
  });

  test('backups of the same content at once are all whole', async () => {
    const image = await writeImage(site.path('image'), 40 * MIB, [
      { offset: 0, content: noise('same', 30 * MIB) },
    ]);
    const volumes = ['shop/a', 'shop/b', 'shop/c'];
    const all = await Promise.all(volumes.map((volume) => startBackup(image, volume)));
    await Promise.all(all.map(({ finished }) => finished));
    await site.peer(restic, ['check', '--read-data']);
    await site.datamover(['prune', '--max-unused', '0']);
    await site.peer(restic, ['check', '--read-data']);
    for (const volume of volumes) expect(await site.restoredHash('latest', volume)).toBe(await hashOf(image));
  });

  test('F-28 F-42 beside a backup of restic our prune takes nothing away', async () => {
    const old = await writeImage(site.path('old'), 40 * MIB, [
      { offset: 0, content: noise('theirs', 30 * MIB) },
    ]);
    const { snapshot_id } = await site.backUp(old);
    await site.datamover(['forget', snapshot_id]);
    const source = site.path('source');
    await writeFile(source, Buffer.concat([noise('more', 20 * MIB), noise('theirs', 30 * MIB)]));
    const running = await start({
      file: restic.file,
      args: ['--no-cache', 'backup', ...SLOWLY, source],
      env: site.environment(),
    });
    running.stdout.resume();
    await untilLocked();
    const prunes = await during(running, () =>
      site.datamover(['prune', '--max-unused', '0', '--grace', '0s']),
    );
    expect(prunes).toBeGreaterThan(0);
    await site.peer(restic, ['check', '--read-data']);
    expect(await site.peerHash(restic, ['dump', 'latest', source])).toBe(await hashOf(source));
    expect(await site.json(['snapshots', '--volume', VOLUME])).toEqual([]);
  });
});
