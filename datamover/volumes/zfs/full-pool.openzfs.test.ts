import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { MemoryStore } from '../../store/memory.ts';
import { executeRestore, planRestore } from '../../transfer/restore.ts';
import { backUp, backUpImage, inFolder, newRepository, writeImage } from '../../transfer/testing/volumes.ts';
import { startDriver, type DriverSite } from './testing/driver-site.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;

/** Room that runs out in the middle: of the pool itself, and of a quota. */
describePeer('openzfs', 'a restore that runs out of room', () => {
  let site: DriverSite;
  let zfs: DriverSite['zfs'];
  let home: string;
  let driver: DriverSite['driver'];

  beforeAll(async () => {
    site = await startDriver('full-test');
    ({ zfs, home, driver } = site);
  }, PATIENCE);

  afterAll(() => site.stop(), PATIENCE);

  test(
    'of a thin volume in a pool that is full fails with a reason and leaves nothing; with room it is whole',
    async () => {
      const [pool, disk] = ['brim', `/${home}/disk`];
      await zfs.run('sh', '-ec', `truncate -s 160M ${disk}; zpool create ${pool} ${disk}`);
      const [parent, filler] = [`${pool}/tight`, `${pool}/filler`];
      await zfs.zfs('create', parent);
      await zfs.zfs('create', '-o', 'compression=off', filler);
      // All but some 3 MiB of the pool's own room: no quota stands in the way, the pool is what is full.
      const available = async (): Promise<number> =>
        Number(await zfs.zfs('get', '-Hpo', 'value', 'available', parent));
      const rest = Math.floor((await available()) / MIB) - 3;
      await zfs.run('sh', '-c', `dd if=/dev/zero of=/${filler}/rest bs=1M count=${rest}; sync`);
      await inFolder(async (folder) => {
        // A little too much: in so little room each page waits for the pool's last transaction.
        const content = randomBytes(5 * MIB);
        const path = await writeImage(`${folder}/image`, 8 * MIB, [{ offset: MIB, content }]);
        const repository = await newRepository(new MemoryStore());
        const { snapshotId = '' } = await backUpImage(repository, path);
        const target = { kind: 'driver', driver, location: `${parent}/volume` } as const;
        const request = { snapshotId, target, verify: true, wishes: { thick: false } };
        const plan = await planRestore(repository, request);
        await expect(executeRestore(repository, plan)).rejects.toThrow(/^restore to .*(ENOSPC|EIO)/);
        expect(await zfs.zfs('list', '-Ho', 'name', '-t', 'all', '-r', parent)).toBe(`${parent}\n`);
        await zfs.zfs('destroy', '-r', filler);
        // The pool frees what was destroyed in its own time.
        while ((await available()) < 20 * MIB) await delay(200);
        await executeRestore(repository, await planRestore(repository, request));
        await repository.close();
      });
      await zfs.run('zpool', 'destroy', pool);
    },
    PATIENCE,
  );

  test(
    'of a dataset fails with a reason, keeps what came, and goes on when there is room',
    async () => {
      const source = `${home}/files`;
      await zfs.zfs('create', source);
      await zfs.run('sh', '-c', `head -c 20000000 /dev/urandom > /${source}/big; zfs snapshot ${source}@one`);
      const repository = await newRepository(new MemoryStore());
      const { snapshotId = '' } = await backUp(repository, {
        kind: 'driver',
        driver,
        location: `${source}@one`,
      });
      const parent = `${home}/narrow`;
      await zfs.zfs('create', parent);
      const target = { kind: 'driver', driver, location: `${parent}/files` } as const;
      const plan = await planRestore(repository, { snapshotId, target });
      // It was wide enough when the restore was planned.
      await zfs.zfs('set', 'quota=8M', parent);
      await expect(executeRestore(repository, plan)).rejects.toThrow(/out of space|quota/i);
      await zfs.zfs('set', 'quota=none', parent);
      await executeRestore(repository, await planRestore(repository, { snapshotId, target }));
      const sums = await zfs.run(
        'sh',
        '-ec',
        `zfs mount ${parent}/files 2>/dev/null || true; sha256sum < /${parent}/files/big; sha256sum < /${source}/big`,
      );
      const [restored, original] = sums.stdout.trim().split('\n');
      expect(restored).toBe(original);
      await repository.close();
    },
    PATIENCE,
  );
});
