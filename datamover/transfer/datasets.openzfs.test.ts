import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../e2e/servers/openzfs.ts';
import { Limits, LimitStore } from '../store/limit.ts';
import { MemoryStore } from '../store/memory.ts';
import type { VolumeDriver } from '../volumes/driver.ts';
import { ZfsDriver } from '../volumes/zfs/driver.ts';
import { readResumeToken } from '../volumes/zfs/resume-token.ts';
import { useZfs } from '../volumes/zfs/testing/sending.ts';
import type { BackupRequest } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { executeRestore, planRestore, type RestorePlan, type RestoreRequest } from './restore.ts';
import { backUp, newRepository, reopen } from './testing/volumes.ts';

const LISTING =
  'find . -exec stat -c "%n %f %s %Y" {} + | sort; find . -type f -exec sha256sum {} + | sort; find . -type f -exec getfattr -d {} + 2>/dev/null';

/** A second at which a restore of 32 MiB lasts long enough to be stopped in its middle. */
const SLOW_BYTES = 3 << 20;

describePeer('openzfs', 'datasets as chains of streams', () => {
  let zfs: OpenZfs;
  let home: string;
  let store: MemoryStore;
  const driver = new ZfsDriver();

  beforeAll(async () => {
    zfs = await startOpenZfs();
    useZfs(zfs);
    home = `${zfs.pool}/datasets-test`;
    await zfs.zfs('create', home);
    store = new MemoryStore();
    await newRepository(store);
  }, 240_000);

  afterAll(async () => {
    await zfs.zfs('destroy', '-R', home);
    await zfs.stop();
  }, 120_000);

  const shell = async (script: string): Promise<string> => (await zfs.run('sh', '-ec', script)).stdout;
  const change = (dataset: string, script: string, snapshot: string): Promise<string> =>
    shell(`cd /${dataset}; { ${script}; } 2>/dev/null; zfs snapshot ${dataset}@${snapshot}`);
  const back = async (
    location: string,
    name: string,
    request: Partial<BackupRequest> = {},
    by: VolumeDriver = driver,
  ): Promise<BackupSummary> =>
    backUp(
      await reopen(store),
      { kind: 'driver', driver: by, location },
      { volume: { namespace: 'shop', name }, ...request },
    );
  const planned = async (
    { snapshotId = '' }: BackupSummary,
    location: string,
    request: Partial<RestoreRequest> = {},
  ): Promise<RestorePlan> => {
    const target = { kind: 'driver', driver, location } as const;
    return planRestore(await reopen(store), { snapshotId, target, ...request });
  };
  const restore = async (...asked: Parameters<typeof planned>): Promise<void> => {
    await executeRestore(await reopen(store), await planned(...asked));
  };
  const listing = async (dataset: string): Promise<string> =>
    shell(`mkdir -p /tmp/look; mount -t zfs -o ro,zfsutil ${dataset} /tmp/look 2>/dev/null || mount -t zfs -o ro ${dataset} /tmp/look;
      cd /tmp/look; ${LISTING}; cd /; umount /tmp/look`);
  const property = async (dataset: string, ...names: string[]): Promise<string[]> =>
    (await zfs.zfs('get', '-Hpo', 'value', names.join(','), dataset)).trim().split('\n');

  /** Bytes of a stream that a receive has taken so far, as its resume token will tell. */
  const received = async (dataset: string): Promise<number> => {
    const [token = '-'] = await property(dataset, 'receive_resume_token').catch(() => []);
    return token === '-' ? 0 : readResumeToken(token).bytes;
  };

  test('full and increments, each backup whole, into new and existing datasets; a long chain begins anew', async () => {
    const source = `${home}/source`;
    await zfs.zfs('create', '-o', 'recordsize=32k', '-o', 'compression=zstd', '-o', 'quota=64M', source);
    const dataset = [];
    await change(
      source,
      'mkdir a; for i in $(seq 9); do head -c $((i*9000)) /dev/urandom > a/f$i; done; setfattr -n user.note -v hello a/f3; ln -s a/f3 link; dd if=/dev/urandom of=big bs=128k count=16',
      'one',
    );
    dataset.push({
      backup: await back(`${source}@one`, 'files'),
      files: await shell(`cd /${source}; ${LISTING}`),
    });
    expect(dataset[0]?.backup.read?.changes).toEqual({
      mechanism: 'everything',
      because: 'the volume has no backup yet',
    });
    await change(
      source,
      'rm a/f2; mv a/f5 g; chmod 741 a/f4; dd if=/dev/urandom of=big bs=4k count=2 seek=9 conv=notrunc',
      'two',
    );
    await zfs.zfs('destroy', `${source}@one`).catch(() => undefined);
    dataset.push({
      backup: await back(`${source}@two`, 'files'),
      files: await shell(`cd /${source}; ${LISTING}`),
    });
    expect(dataset[1]?.backup).toMatchObject({
      format: 'stream',
      read: { base: dataset[0]?.backup.snapshotId, changes: { mechanism: 'zfs-send-increment' } },
    });
    expect(dataset[1]?.backup.readBytes).toBeLessThan(200_000);
    await change(source, 'dd if=/dev/null of=a/f9 bs=1 seek=100; mkdir c; echo new > c/new', 'three');
    dataset.push({
      backup: await back(`${source}@three`, 'files', { maxIncrements: 1 }),
      files: await shell(`cd /${source}; ${LISTING}`),
    });
    const third = dataset[2]!.backup;
    expect(third.read?.changes).toEqual({
      mechanism: 'everything',
      because: expect.stringMatching(/has 1 increments, and a new one begins with 1/),
    });
    await change(source, 'rm -r c', 'four');
    dataset.push({
      backup: await back(`${source}@four`, 'files'),
      files: await shell(`cd /${source}; ${LISTING}`),
    });
    expect(dataset[3]!.backup.read?.base).toBe(third.snapshotId);

    const plan = await planned(dataset[3]!.backup, `${home}/new`, { verify: 'images' });
    expect(await executeRestore(await reopen(store), plan)).toMatchObject({ verified: false });
    expect(await listing(`${home}/new`)).toBe(dataset[3]!.files);
    expect(await property(`${home}/new`, 'recordsize', 'compression', 'quota')).toEqual([
      '32768',
      'zstd',
      '67108864',
    ]);
    // As zfs-localpv makes a dataset for a claim.
    const claim = `${home}/claim`;
    await zfs.zfs('create', '-o', 'mountpoint=legacy', '-o', 'quota=32M', '-o', 'recordsize=64k', claim);
    await expect(planned(dataset[1]!.backup, claim)).rejects.toThrow(/it exists .*--force/);
    await restore(dataset[1]!.backup, claim, { force: true });
    expect(await listing(claim)).toBe(dataset[1]!.files);
    expect(await property(claim, 'mountpoint', 'quota', 'recordsize')).toEqual([
      'legacy',
      '33554432',
      '65536',
    ]);
    // The others stay whole whatever is forgotten.
    for (const { backup } of [dataset[0]!, dataset[2]!])
      await store.remove({ type: 'snapshots', name: backup.snapshotId! });
    await restore(dataset[1]!.backup, `${home}/second`);
    expect(await listing(`${home}/second`)).toBe(dataset[1]!.files);
  }, 240_000);

  test('F-57 a new full stream costs what changed; an interrupted restore goes on where it was, also over a dataset that was there', async () => {
    const source = `${home}/large`;
    await zfs.zfs('create', source);
    await change(source, 'for i in $(seq 32); do dd if=/dev/urandom of=f$i bs=128k count=8; done', 'one');
    await change(source, 'rm f3; dd if=/dev/urandom of=f4 bs=128k count=9', 'two');
    const files = await shell(`cd /${source}; ${LISTING}`);
    const first = await back(`${source}@one`, 'large');
    const backup = await back(`${source}@two`, 'large');
    // Of a new full stream only what changed is stored, though each of its headers is another.
    await zfs.zfs('snapshot', `${source}@three`);
    const again = await back(`${source}@three`, 'large', { maxIncrements: 1 });
    expect(again).toMatchObject({ read: { changes: { mechanism: 'everything' } } });
    expect(again.readBytes).toBeGreaterThan(31 << 20);
    expect(again.newBytes).toBeLessThan(first.newBytes / 2);
    expect(again.storedBytes).toBeLessThan(first.storedBytes / 2);
    await zfs.zfs('create', '-o', 'mountpoint=legacy', `${home}/old`);
    for (const [target, force] of [
      [`${home}/resumed`, false],
      [`${home}/old`, true],
    ] as const) {
      const slowly = await reopen(new LimitStore(store, new Limits({ download: SLOW_BYTES })));
      const { snapshotId = '' } = backup;
      const plan = await planRestore(slowly, {
        ...{ snapshotId, target: { kind: 'driver', driver, location: target }, force },
      });
      const stop = new AbortController();
      const restoring: { state: 'begun' | 'whole' | 'stopped' } = { state: 'begun' };
      const ended = executeRestore(slowly, plan, { signal: stop.signal }).then(
        () => void (restoring.state = 'whole'),
        () => void (restoring.state = 'stopped'),
      );
      // Only what the pool has written counts as received.
      while (restoring.state === 'begun' && (await received(target)) === 0)
        await zfs.run('zpool', 'sync', zfs.pool);
      stop.abort();
      await ended;
      expect(restoring.state).toBe('stopped');
      const rest = await planned(backup, target, { force });
      expect(rest.target).toMatchObject({ kind: 'streams', plan: { action: 'resume' } });
      await executeRestore(await reopen(store), rest);
      expect(await listing(target)).toBe(files);
    }
  }, 240_000);

  test('encrypted: with its key as any other, without it refused, raw on request and then kept apart', async () => {
    const source = `${home}/secret`;
    await shell('echo long-enough-passphrase > /tmp/datasets-key');
    const key = ['-o', 'keyformat=passphrase', '-o', 'keylocation=file:///tmp/datasets-key'];
    await zfs.zfs('create', '-o', 'encryption=on', ...key, source);
    await change(source, 'head -c 100000 /dev/urandom > f; setfattr -n user.a -v b f', 'one');
    const plain = await back(`${source}@one`, 'secret');
    await change(source, 'head -c 50000 /dev/urandom > g', 'two');
    const files = await shell(`cd /${source}; ${LISTING}`);
    await shell(`zfs unmount ${source}; zfs unload-key ${source}`);
    await expect(back(`${source}@two`, 'secret')).rejects.toThrow(/its key is not loaded \(zfs load-key/);
    const raw = new ZfsDriver({ raw: true });
    const first = await back(`${source}@two`, 'secret', {}, raw);
    expect(first.read).toMatchObject({
      changes: { mechanism: 'everything', because: 'no backup of it is raw' },
    });
    await zfs.zfs('snapshot', `${source}@three`);
    const second = await back(`${source}@three`, 'secret', {}, raw);
    expect(second.read).toMatchObject({ base: first.snapshotId });
    await restore(second, `${home}/opened`);
    expect(await property(`${home}/opened`, 'encryption', 'keystatus')).toEqual([
      'aes-256-gcm',
      'unavailable',
    ]);
    await zfs.zfs('load-key', '-L', 'file:///tmp/datasets-key', `${home}/opened`);
    expect(await listing(`${home}/opened`)).toBe(files);
    await restore(plain, `${home}/plain`);
    expect(await property(`${home}/plain`, 'encryption')).toEqual(['off']);
    expect(await listing(`${home}/plain`)).toMatch(/user.a="b"/);
  }, 240_000);
});
