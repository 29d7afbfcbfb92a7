/* Long, for one machine with a pool and one repository serve every way in which a volume is sent, held and received. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { MemoryStore } from '../../store/memory.ts';
import type { Repository } from '../../repository/repository.ts';
import { backUp, newRepository, reopen, restoreTo } from '../../transfer/testing/volumes.ts';
import type { BackupRequest } from '../../transfer/backup-plan.ts';
import type { BackupSummary } from '../../transfer/backup.ts';
import type { RestoreRequest } from '../../transfer/restore.ts';
import { startDriver, type DriverSite } from './testing/driver-site.ts';
import { guidOf, zfsCommandsOf } from './testing/sending.ts';

const MIB = 1 << 20;

describePeer('openzfs', 'the ZFS driver: volumes', () => {
  let site: DriverSite;
  let zfs: DriverSite['zfs'];
  let devices: DriverSite['devices'];
  let driver: DriverSite['driver'];
  let home: string;
  let folder: string;
  let store: MemoryStore;
  let repository: Repository;

  beforeAll(async () => {
    site = await startDriver('driver-test');
    ({ zfs, devices, driver, home } = site);
    folder = await mkdtemp(join(tmpdir(), 'datamover-zfs-'));
    store = new MemoryStore();
    repository = await newRepository(store);
  }, 120_000);

  afterAll(async () => {
    await site.stop();
    await rm(folder, { recursive: true, force: true });
  }, 120_000);

  const shell = async (script: string): Promise<string> => (await zfs.run('sh', '-ec', script)).stdout;
  /** Each backup opens the repository anew, as another process would. */
  const back = async (location: string, request: Partial<BackupRequest> = {}): Promise<BackupSummary> => {
    repository = await reopen(store);
    return backUp(repository, { kind: 'driver', driver, location }, { sample: { cells: 1 }, ...request });
  };
  const hashOf = async (zvol: string): Promise<string> =>
    (await zfs.run('sha256sum', await zfs.device(zvol))).stdout.slice(0, 64);
  const imageOf = async (summary: BackupSummary): Promise<string> => {
    const path = join(folder, 'image');
    await restoreTo(repository, summary, path, { force: true });
    return createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  };
  const to = (location: string): Partial<RestoreRequest> => ({
    target: { kind: 'driver', driver, location },
    verify: true,
  });
  const property = async (name: string, ...names: string[]): Promise<string[]> =>
    (await zfs.zfs('get', '-Hpo', 'value', names.join(','), name)).trim().split('\n');
  /** Holds of ours, and clones. */
  const traces = async (): Promise<string> =>
    shell(
      `zfs list -Ho name -t all -r ${home} | grep -e datamover-read || true; zfs list -Ho name -t snapshot -r ${home} | xargs zfs holds -H`,
    );

  test('a volume, its increment, and back onto a new volume of the same kind', async () => {
    const vol = `${home}/vol`;
    await zfs.zfs('create', '-s', '-o', 'compression=zstd', '-b', '8k', '-V', '16M', vol);
    const device = await zfs.device(vol);
    await shell(`dd if=/dev/urandom of=${device} bs=64k count=60 seek=30 conv=fsync; zfs snapshot ${vol}@a`);
    const first = await back(`${vol}@a`);
    expect(first.read?.changes).toEqual({
      mechanism: 'allocated-extents',
      because: 'the volume has no backup yet',
    });
    const one = await hashOf(vol);
    expect(await imageOf(first)).toBe(one);
    await shell(
      `dd if=/dev/urandom of=${device} bs=4k count=3 seek=1000 conv=fsync; dd if=/dev/zero of=${device} bs=64k count=9 seek=40 conv=fsync; zfs snapshot ${vol}@b`,
    );
    let second = first;
    const commands = await zfsCommandsOf(zfs, async () => {
      // All of them: with fewer another clone is made where some of those that were drawn had changed.
      second = await back(`${vol}@b`, { sample: { cells: 16 } });
    });
    // Both sends: one only estimates. Each command costs more than its answer, so there is none that is not needed.
    expect(commands).toEqual(
      ['get', 'list', 'hold', 'get', 'send', 'send', 'clone', 'destroy', 'bookmark', 'release'].sort(),
    );
    expect(second.read?.changes).toEqual({ mechanism: 'zfs-send-increment' });
    expect(second.readBytes).toBeLessThan(100_000);
    expect(await imageOf(second)).toBe(await hashOf(vol));
    expect(await imageOf(first)).toBe(one);
    // What the next backup builds on is there, and nothing else of ours.
    expect(await shell(`zfs list -Ho name -t bookmark -r ${vol} | grep -c '#datamover-'`)).toBe('2\n');
    expect(await traces()).toBe('');

    const restored = `${home}/restored`;
    await restoreTo(repository, second, '', to(restored));
    expect(await hashOf(restored)).toBe(await hashOf(vol));
    const names = ['volblocksize', 'compression', 'refreservation', 'volsize', 'datamover.io:restoring'];
    expect(await property(restored, ...names)).toEqual(['8192', 'zstd', '0', String(16 * MIB), '-']);
  }, 120_000);

  test('the base is a bookmark where its snapshot is gone, and everything where that is gone, too', async () => {
    const vol = `${home}/base`;
    await zfs.zfs('create', '-s', '-V', '8M', vol);
    const device = await zfs.device(vol);
    const write = (seek: number, snapshot: string): Promise<string> =>
      shell(
        `dd if=/dev/urandom of=${device} bs=16k count=4 seek=${seek} conv=fsync; zfs snapshot ${vol}@${snapshot}`,
      );
    const volume = { namespace: 'shop', name: 'base' };
    await write(1, 'a');
    const first = await back(`${vol}@a`, { volume });
    await write(100, 'b');
    await zfs.zfs('destroy', `${vol}@a`);
    const second = await back(`${vol}@b`, { volume });
    expect(second.read).toMatchObject({
      base: first.snapshotId,
      changes: { mechanism: 'zfs-send-increment' },
    });
    expect(await imageOf(second)).toBe(await hashOf(vol));
    await write(200, 'c');
    await shell(`zfs destroy ${vol}@b; zfs list -Ho name -t bookmark -r ${vol} | xargs -n 1 zfs destroy`);
    const third = await back(`${vol}@c`, { volume });
    expect(third.read?.changes.mechanism).toBe('allocated-extents');
    expect(third.read?.changes.because).toMatch(/is gone, and no bookmark of it is left/);
    expect(await imageOf(third)).toBe(await hashOf(vol));
    await expect(back(`${vol}@c`, { volume, base: first.snapshotId! })).rejects.toThrow(
      /ZFS cannot tell what changed since backup/,
    );
  }, 120_000);

  test('a volume that was rolled back builds on the older backup', async () => {
    const vol = `${home}/rolled`;
    await zfs.zfs('create', '-s', '-V', '8M', vol);
    const device = await zfs.device(vol);
    const write = (seek: number): Promise<string> =>
      shell(`dd if=/dev/urandom of=${device} bs=16k count=4 seek=${seek} conv=fsync`);
    const volume = { namespace: 'shop', name: 'rolled' };
    await write(1);
    await zfs.zfs('snapshot', `${vol}@a`);
    const first = await back(`${vol}@a`, { volume });
    await write(30);
    await zfs.zfs('snapshot', `${vol}@b`);
    await back(`${vol}@b`, { volume });
    await zfs.zfs('rollback', '-r', `${vol}@a`);
    await write(50);
    // The same name again, and another snapshot.
    await zfs.zfs('snapshot', `${vol}@b`);
    const third = await back(`${vol}@b`, { volume });
    expect(third.read).toMatchObject({
      base: first.snapshotId,
      changes: { mechanism: 'zfs-send-increment' },
    });
    expect(await imageOf(third)).toBe(await hashOf(vol));
  }, 120_000);

  test('a snapshot cannot be destroyed while it is sent, nor its base; what a killed backup held is let go', async () => {
    const vol = `${home}/held`;
    await zfs.zfs('create', '-s', '-V', '8M', vol);
    const device = await zfs.device(vol);
    await shell(
      `zfs snapshot ${vol}@a; dd if=/dev/urandom of=${device} bs=64k count=2 conv=fsync; zfs snapshot ${vol}@b`,
    );
    const guid = (await property(`${vol}@a`, 'guid'))[0]!;
    const bases = [{ snapshotId: 'ab'.repeat(32), bytes: 8 * MIB, record: { guid } }];
    const source = await driver.identify(`${vol}@b`);
    expect(source).toMatchObject({
      format: 'image',
      bytes: 8 * MIB,
      record: { type: 'volume', thick: false },
    });
    const plan = await driver.planRead(source, { bases });
    const held = await driver.hold(plan);
    const { estimate } = held.feed as Extract<typeof held.feed, { kind: 'zvol-send' }>;
    expect(await estimate).toBeGreaterThan(128 * 1024);
    for (const snapshot of ['a', 'b']) {
      await expect(zfs.zfs('destroy', `${vol}@${snapshot}`)).rejects.toThrow(/being held/);
    }
    expect(held.feed).toMatchObject({ kind: 'zvol-send', increment: true });
    const ranges = [
      { offset: 0, length: 65536 },
      { offset: 4 * MIB, length: 4096 },
    ];
    const read: Buffer[] = [];
    for await (const { bytes } of held.readRanges!(ranges)) read.push(Buffer.from(bytes));
    const first = await zfs.run('sh', '-c', `dd if=${device} bs=64k count=1 | sha256sum`);
    expect(createHash('sha256').update(read[0]!).digest('hex')).toBe(first.stdout.slice(0, 64));
    expect(read[1]!.equals(Buffer.alloc(4096))).toBe(true);
    await held.release();
    expect(await traces()).toBe('');
    // Somebody makes another snapshot of the same name between plan and hold.
    await shell(`zfs destroy ${vol}@b; zfs snapshot ${vol}@b`);
    await expect(driver.hold(plan)).rejects.toThrow(/another one than when the backup was planned/);
    expect(await traces()).toBe('');
    const dead = `datamover:0123456789abcdef-1-1-1:1:00000000`;
    await shell(`zfs hold ${dead} ${vol}@b; zfs hold mine ${vol}@a`);
    const reader = 'datamover.io:reading=0123456789abcdef-1-1-1:1';
    await zfs.zfs('clone', '-o', reader, `${vol}@a`, `${home}/datamover-read-00`);
    const said = await driver.cleanUp(`${vol}@b`);
    expect(said.join('\n')).toMatch(/released .*held@b, .*\n.*destroyed .*datamover-read-00/s);
    expect(await traces()).toMatch(/^\S+@a\tmine\t.*\n$/);
    await zfs.zfs('release', 'mine', `${vol}@a`);
  }, 120_000);

  test('bookmarks that came or went since the plan are no failure; one that a read needs is', async () => {
    const vol = `${home}/marks`;
    await zfs.zfs('create', '-s', '-V', '8M', vol);
    await shell(`for s in a b c; do zfs snapshot ${vol}@$s; done`);
    const planned = async (snapshot: string, from?: string) =>
      driver.planRead(await driver.identify(`${vol}@${snapshot}`), {
        bases:
          from === undefined
            ? []
            : [{ snapshotId: 'ab'.repeat(32), bytes: 8 * MIB, record: { guid: await guidOf(zfs, from) } }],
      });
    const marks = async (): Promise<string> => shell(`zfs list -Ho name -t bookmark -r ${vol}`);
    const mark = async (snapshot: string): Promise<string> =>
      `${vol}#datamover-${await guidOf(zfs, `${vol}@${snapshot}`)}`;
    const [a, b] = [await mark('a'), await mark('b')];
    const early = await planned('a');
    await driver.keepBase(early);
    // Another backup of this very snapshot was quicker.
    await driver.keepBase(early);
    expect(await marks()).toBe(`${a}\n`);
    // It knows of the bookmark, which another backup takes away.
    const knowing = await planned('a');
    await zfs.zfs('destroy', a);
    await driver.keepBase(knowing);
    expect(await marks()).toBe(`${a}\n`);
    // Eight that others have removed as the oldest.
    const gone = Array.from({ length: 8 }, (_, i) => `${vol}#datamover-${i + 1}`);
    await driver.keepBase({ ...early, bookmarks: [...gone, a] });
    expect(await marks()).toBe(`${a}\n`);

    await zfs.zfs('destroy', `${vol}@a`);
    const built = await planned('b', a);
    expect(built.from?.kind).toBe('bookmark');
    await zfs.zfs('destroy', a);
    await expect(driver.hold(built)).rejects.toThrow(
      /#datamover-\d+: it is gone since the backup was planned/,
    );
    expect(await traces()).toBe('');
    await zfs.zfs('bookmark', `${vol}@b`, b);
    const onto = await planned('c', `${vol}@b`);
    // Its bookmark is what is left of the base when it is held.
    await zfs.zfs('destroy', `${vol}@b`);
    const held = await driver.hold(onto);
    expect(held.feed).toMatchObject({
      increment: true,
      command: { args: expect.arrayContaining([b]) },
    });
    await held.release();
    expect(await traces()).toBe('');
  }, 120_000);

  test('snapshots that are renamed, or go to a clone that is promoted, while they are held leave no hold', async () => {
    const [vol, clone] = [`${home}/moving`, `${home}/moved`];
    await zfs.zfs('create', '-s', '-V', '8M', vol);
    await shell(`zfs snapshot ${vol}@a; zfs snapshot ${vol}@b; zfs clone ${vol}@a ${clone}`);
    const record = { guid: await guidOf(zfs, `${vol}@a`) };
    const bases = [{ snapshotId: 'ab'.repeat(32), bytes: 8 * MIB, record }];
    const plan = await driver.planRead(await driver.identify(`${vol}@b`), { bases });
    await zfs.zfs('rename', `${vol}@a`, `${vol}@old`);
    // The base has another name now, and is the same.
    const held = await driver.hold(plan);
    expect(held.feed).toMatchObject({
      increment: true,
      command: { args: ['send', '-i', `${vol}@old`, `${vol}@b`] },
    });
    await shell(`zfs rename ${vol}@b ${vol}@new; zfs promote ${clone}`);
    expect(await traces()).toMatch(/moved@old\tdatamover:.*moving@new\tdatamover:/s);
    await driver.keepBase(plan);
    expect(await shell(`zfs list -Ho name -t bookmark -r ${vol}`)).toBe(
      `${vol}#datamover-${plan.source.record.guid}\n`,
    );
    await held.release();
    expect(await traces()).toBe('');
  }, 240_000);

  test('what others write into the properties of their volumes harms no other volume', async () => {
    const [vol, evil] = [`${home}/victim`, `${home}/evil`];
    for (const name of [vol, evil]) await zfs.zfs('create', '-s', '-V', '8M', name);
    const dead = '0123456789abcdef-1-1-1:1';
    const lines = [
      `x`,
      [vol, 'volume', '-', '0', '-', dead].join('\t'),
      [`${vol}@a`, 'snapshot', '-', '1', '-', dead].join('\t'),
      [vol, 'volume', `${vol}@a`, '0', dead, dead].join('\t'),
    ];
    for (const name of ['reading', 'restoring'])
      await zfs.zfs('set', `datamover.io:${name}=${lines.join('\n')}`, evil);
    expect(await driver.cleanUp(vol)).toEqual([]);
    // A copy that came with its properties is nobody's half-made volume.
    const receive = `zfs snapshot ${vol}@a; zfs set datamover.io:restoring=${dead} ${vol}; zfs send -p ${vol}@a | zfs receive ${home}/copy`;
    await shell(receive);
    expect(await driver.cleanUp(`${home}/copy`)).toEqual([]);
    const need = { bytes: 8 * MIB, force: false };
    await expect(driver.planTarget(`${home}/copy`, need)).rejects.toThrow(/exists and has 8388608 bytes/);
    expect(await shell(`zfs list -Ho name ${vol} ${home}/copy`)).toBe(`${home}/copy\n${vol}\n`);
  }, 240_000);

  test('a zfs send that is killed makes no backup and leaves no hold; the next attempt is whole', async () => {
    const vol = `${home}/killed`;
    await zfs.zfs('create', '-s', '-V', '32M', vol);
    const device = await zfs.device(vol);
    await shell(`dd if=/dev/urandom of=${device} bs=1M count=24 conv=fsync; zfs snapshot ${vol}@a`);
    const volume = { namespace: 'shop', name: 'killed' };
    const failed = back(`${vol}@a`, { volume }).then(
      () => 'made',
      (error: unknown) => (error instanceof Error ? error.message : ''),
    );
    const look = `ps -o pid,args | awk '/[z]fs send .*killed@a/ && !/-n/ { print $1 }'`;
    await shell(
      `for i in $(seq 600); do p=$(${look}); [ -n "$p" ] && kill -9 $p && exit 0; sleep 0.05; done; exit 1`,
    );
    expect(await failed).toMatch(/read the output of zfs|stream/);
    expect(await shell(`zfs holds -H ${vol}@a`)).toBe('');
    const again = await back(`${vol}@a`, { volume });
    expect(again.parent).toBeUndefined();
    expect(await imageOf(again)).toBe(await hashOf(vol));
  }, 120_000);

  test('targets: thick or thin, wished blocks, larger taken, smaller and full refused, half a volume never left', async () => {
    const small = `${zfs.smallPool}/driver-test`;
    await zfs.zfs('create', small);
    const need = { bytes: 16 * MIB, force: false };
    const fresh = await driver.planTarget(`${home}/thick`, {
      ...need,
      wishes: { thick: true, volblocksize: 65536, properties: { compression: 'off', 'my:note': 'x y' } },
    });
    expect(fresh).toMatchObject({ action: 'create', thick: true, volblocksize: 65536, bytes: 16 * MIB });
    const target = await driver.openTarget(fresh);
    expect(target.startsAsZeros).toBe(true);
    await target.write(MIB, Buffer.alloc(MIB, 'x'));
    await expect(driver.planTarget(`${home}/thick`, need)).rejects.toThrow(/another restore is at work/);
    await target.finish();
    await target.close();
    const [block, reserved, compression, note] = await property(
      `${home}/thick`,
      ...['volblocksize', 'refreservation', 'compression', 'my:note'],
    );
    expect([block, compression, note]).toEqual(['65536', 'off', 'x y']);
    expect(Number(reserved)).toBeGreaterThan(16 * MIB);

    await expect(driver.planTarget(`${home}/thick`, need)).rejects.toThrow(/exists and has 16777216 bytes/);
    const over = { ...need, bytes: 8 * MIB, force: true };
    const again = await driver.openTarget(await driver.planTarget(`${home}/thick`, over));
    // All that was there is discarded.
    expect(again.startsAsZeros).toBe(true);
    await again.finish();
    await again.discard();
    const zeros = createHash('sha256')
      .update(Buffer.alloc(16 * MIB))
      .digest('hex');
    expect(await hashOf(`${home}/thick`)).toBe(zeros);
    await expect(driver.planTarget(`${home}/thick`, { ...over, bytes: 32 * MIB })).rejects.toThrow(
      /has 16777216 bytes, the image 33554432/,
    );
    const large = { ...need, bytes: 500 * MIB };
    await expect(driver.planTarget(`${small}/full`, { ...large, wishes: { thick: true } })).rejects.toThrow(
      /a thick volume reserves its 524288000 bytes, and small\/driver-test has \d+ available/,
    );
    const exact = Number((await property(small, 'available'))[0]);
    const bytes = Math.floor(exact / MIB) * MIB;
    const tight = await driver.planTarget(`${small}/tight`, { ...need, bytes, wishes: { thick: true } });
    await expect(driver.openTarget(tight)).rejects.toThrow(/no room for a thick volume/);
    const thin = await driver.planTarget(`${small}/thin`, large);
    const discarded = await driver.openTarget(thin);
    await discarded.discard();
    expect(await shell(`zfs list -Ho name -r ${small}`)).toBe(`${small}\n`);
    await expect(driver.planTarget(`${small}/x/y`, need)).rejects.toThrow(
      /there is no small\/driver-test\/x/,
    );
    await expect(driver.planTarget(zfs.pool, { ...need, force: true })).rejects.toThrow(/it is a filesystem/);
    await expect(driver.planTarget(`${home}/new`, { ...need, wishes: { objectBytes: 1 } })).rejects.toThrow(
      /means nothing to a ZFS volume/,
    );
    await expect(
      driver.planTarget(`${home}/new`, { ...need, wishes: { properties: { volsize: '1' } } }),
    ).rejects.toThrow(/cannot be wished for/);
    // A restore that was killed: its half is known for what it is.
    await zfs.zfs(
      'create',
      '-s',
      '-o',
      'datamover.io:restoring=0123456789abcdef-1-1-1:1',
      '-V',
      '8M',
      `${home}/half`,
    );
    expect(await driver.planTarget(`${home}/half`, need)).toMatchObject({ action: 'create', replaces: true });
    expect(await driver.cleanUp(`${home}/half`)).toEqual([expect.stringMatching(/half made/)]);
    expect(await driver.cleanUp(`${home}/half`)).toEqual([]);
    await zfs.zfs('destroy', small);
  }, 120_000);

  test('a link below /dev/zvol that leads to another device is not taken for a volume', async () => {
    const name = `${home}/left`;
    await zfs.run('sh', '-ec', `mkdir -p /dev/zvol/${home}; ln -s /dev/vdb1 /dev/zvol/${name}`);
    try {
      await expect(devices.appear(name)).rejects.toThrow(/leads to what is no device of ZFS/);
    } finally {
      await zfs.run('rm', `/dev/zvol/${name}`);
    }
  }, 240_000);

  test("a link that still leads to another volume's device is waited for, and that volume is not written", async () => {
    const [mine, other] = [`${home}/mine`, `${home}/other`];
    for (const vol of [mine, other]) await zfs.zfs('create', '-s', '-V', '8M', vol);
    const link = await zfs.device(mine);
    const [device, others] = (await shell(`readlink -f ${link}; readlink -f ${await zfs.device(other)}`))
      .trim()
      .split('\n');
    await shell(`ln -sfn ${others} ${link}`);
    await expect(devices.open(link, 8 * MIB, false)).rejects.toThrow(`leads to the device of ${other}`);
    const appeared = devices.appear(mine);
    await shell(`ln -sfn ${device} ${link}`);
    expect(await appeared).toBe(link);
    await (await devices.open(link, 8 * MIB, false)).close();
    for (const vol of [mine, other]) await zfs.zfs('destroy', vol);
  }, 240_000);

  test('a volume in use is refused', async () => {
    const vol = `${home}/used`;
    await zfs.zfs('create', '-s', '-V', '16M', vol);
    const device = await zfs.device(vol);
    await shell(`mke2fs -q ${device} 2>/dev/null; mkdir -p /tmp/used; mount -t ext4 ${device} /tmp/used`);
    const plan = await driver.planTarget(vol, { bytes: 16 * MIB, force: true });
    await expect(driver.openTarget(plan)).rejects.toThrow(/busy/);
    await shell('umount /tmp/used');
    await (await driver.openTarget(plan)).discard();
    expect(await shell(`zfs list -Ho name ${vol}`)).toBe(`${vol}\n`);
  }, 120_000);
});
