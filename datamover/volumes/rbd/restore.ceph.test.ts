import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { ownerName, TRANSFER_VARIABLE } from '../../process/owner.ts';
import { run } from '../../process/spawn.ts';
import { MemoryStore } from '../../store/memory.ts';
import { imageFile } from '../../transfer/backup-plan.ts';
import { executeRestore, planRestore, type RestoreRequest } from '../../transfer/restore.ts';
import { backUp, newRepository, restoreTo } from '../../transfer/testing/volumes.ts';
import type { Repository } from '../../repository/repository.ts';
import { RbdDriver } from './driver.ts';
import { parseImageName } from './image-name.ts';
import { Librbd } from './testing/librbd.ts';
import { lookAt } from './testing/look.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;

describePeer('ceph', 'restores into a real cluster', () => {
  let ceph: CephCluster;
  let client: Librbd;
  let folder: string;
  let repository: Repository;

  beforeAll(async () => {
    ceph = await startCeph();
    client = new Librbd(ceph);
    folder = await mkdtemp(join(tmpdir(), 'datamover-restore-'));
    repository = await newRepository(new MemoryStore());
  });

  afterAll(async () => {
    await Promise.all(drivers.map((made) => made.close()));
    await repository.close();
    client.close();
    await ceph.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const rbd = async (...args: string[]): Promise<string> =>
    (await run({ file: 'rbd', args, env: ceph.environment })).stdout;
  const drivers: RbdDriver[] = [];
  const driver = (program?: string): RbdDriver => {
    const conf = ceph.environment.CEPH_CONF;
    const made = new RbdDriver({ conf, ...(program !== undefined && { program }) });
    drivers.push(made);
    return made;
  };
  const watched = async (image: string): Promise<boolean> =>
    /"watchers":[[{][^\]}]/.test(await rbd('status', '--format', 'json', at(image)));
  const newName = (): string => `restore-${randomUUID()}`;
  const at = (name: string): string => `${ceph.pool}/${name}`;
  const facts = (name: string) =>
    lookAt({ conf: ceph.environment.CEPH_CONF }, parseImageName(at(name))).then(({ image }) => image);

  /** An image with some content and a snap `s`. */
  async function image(...options: string[]): Promise<string> {
    const name = newName();
    await rbd('create', '--size', `${10 * MIB + 4096}B`, ...options, at(name));
    const open = client.open(name);
    open.write(0, randomBytes(MIB + 100));
    open.write(7 * MIB, randomBytes(2 * MIB));
    open.snap('s');
    open.close();
    return name;
  }

  const backup = (name: string, by = driver()) =>
    backUp(repository, { kind: 'driver', driver: by, location: `${at(name)}@s` }, { base: null });

  async function restore(
    snapshotId: string | undefined,
    name: string,
    request: Partial<RestoreRequest> = {},
    by = driver(),
  ): Promise<void> {
    const target = { kind: 'driver', driver: by, location: at(name) } as const;
    const plan = await planRestore(repository, {
      snapshotId: snapshotId ?? '',
      target,
      verify: true,
      ...request,
    });
    await executeRestore(repository, plan);
  }

  /** An rbd that does something else for one of its verbs. */
  async function program(verb: string, line: string): Promise<string> {
    const path = join(folder, `rbd-${randomUUID()}`);
    await writeFile(path, `#!/bin/sh\nif [ "$1" = ${verb} ]; then ${line}; fi\nexec rbd "$@"\n`);
    await chmod(path, 0o755);
    return path;
  }

  /** Those of this file: others use the pool at the same time. */
  const images = async (): Promise<string[]> =>
    (await rbd('ls', ceph.pool))
      .split('\n')
      .filter((name) => name.startsWith('restore-'))
      .sort();

  test(
    'a new image is as it was: object size, features, striping, data pool',
    async () => {
      const dataPool = `data-${randomUUID()}`;
      await run({ file: 'ceph', args: ['osd', 'pool', 'create', dataPool, '1', '1'], env: ceph.environment });
      const source = await image(
        ...['--object-size', '2M', '--stripe-unit', '65536', '--stripe-count', '4', '--data-pool', dataPool],
        ...[
          '--image-feature',
          'layering',
          '--image-feature',
          'exclusive-lock',
          '--image-feature',
          'object-map',
        ],
      );
      const { snapshotId } = await backup(source);
      const again = newName();
      await restore(snapshotId, again);
      const shape = async (name: string): Promise<object> => {
        const found = await facts(name);
        return { ...found, id: '', features: [...found.features].sort() };
      };
      expect(await shape(again)).toEqual(await shape(source));
      expect(client.read(again).equals(client.read(source, 's'))).toBe(true);
    },
    PATIENCE,
  );

  test(
    'or as it is wished; what no image can be is refused before anything is made',
    async () => {
      const { snapshotId } = await backup(await image());
      const dataPool = `data-${randomUUID()}`;
      await run({ file: 'ceph', args: ['osd', 'pool', 'create', dataPool, '1', '1'], env: ceph.environment });
      const name = newName();
      const wishes = { objectBytes: 65_536, dataPool, features: ['layering', 'exclusive-lock'] };
      await restore(snapshotId, name, { wishes });
      const made = await facts(name);
      expect(made).toMatchObject({ objectBytes: 65_536, dataPool });
      expect([...made.features].sort()).toEqual(['data-pool', 'exclusive-lock', 'layering']);
      // Sparse: what is zero has no objects.
      const extents = JSON.parse(await rbd('diff', '--format', 'json', at(name))) as { length: string }[];
      expect(extents.reduce((sum, { length }) => sum + Number(length), 0)).toBeLessThan(4 * MIB);
      const before = await images();
      for (const [wrong, sentence] of [
        [{ objectBytes: 5000 }, /no image has objects of 5000 bytes \(Ceph takes powers of two/],
        [{ features: ['layering', 'warp'] }, /no image is made with the feature "warp" \(the features of an/],
        [{ features: [] }, /no image is made with the feature ""/],
        [{ dataPool: 'nowhere' }, /there is no pool nowhere/],
        [{ dataPool: '--help' }, /its pool is "--help"/],
        [{ thick: true }, /--thick or --thin means nothing to an RBD image/],
      ] as const)
        await expect(restore(snapshotId, newName(), { wishes: wrong })).rejects.toThrow(sentence);
      await expect(restore(snapshotId, `${name}@s`)).rejects.toThrow(/a snap cannot be written to/);
      expect(await images()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    'a data pool that the cluster does not have is left out, and the plan says so',
    async () => {
      const record = {
        dataPool: 'far-away',
        objectBytes: MIB,
        features: ['layering', 'journaling', 'data-pool'],
      };
      const plan = await driver().planTarget(at(newName()), { bytes: MIB, force: false, record });
      expect(plan.shape).toEqual({ objectBytes: MIB, features: ['layering'] });
      expect(plan.note).toMatch(/there is no pool far-away here/);
    },
    PATIENCE,
  );

  test(
    'an image that somebody has open is not overwritten',
    async () => {
      const source = await image();
      const { snapshotId } = await backup(source);
      const open = client.open(source);
      await expect(restore(snapshotId, source, { force: true })).rejects.toThrow(
        /it is in use by .*unmap it/,
      );
      open.close();
      await restore(snapshotId, source, { force: true });
      expect(client.read(source).equals(client.read(source, 's'))).toBe(true);
    },
    PATIENCE,
  );

  test(
    'an RBD backup goes into a file, the file is backed up and goes into a larger image with other content',
    async () => {
      const source = await image('--object-size', '1M');
      const expected = client.read(source, 's');
      const file = join(folder, 'disk');
      await restoreTo(repository, await backup(source), file);
      expect((await readFile(file)).equals(expected)).toBe(true);
      const ofFile = await backUp(repository, imageFile(file), { base: null });
      const target = newName();
      await rbd('create', '--size', '16M', at(target));
      const open = client.open(target);
      open.write(3 * MIB, randomBytes(12 * MIB));
      open.close();
      await restore(ofFile.snapshotId, target, { force: true });
      const found = client.read(target);
      expect(found.subarray(0, expected.length).equals(expected)).toBe(true);
      expect(found.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
    },
    PATIENCE,
  );

  test(
    'rbd that is cut off or killed while it writes makes the restore fail, and nothing is left of the image',
    async () => {
      const { snapshotId } = await backup(await image());
      const before = await images();
      const cut = await program('import-diff', 'head -c 1500000 | rbd "$@"; exit');
      await expect(restore(snapshotId, newName(), {}, driver(cut))).rejects.toThrow(
        /import-diff|exit status/,
      );
      expect(await images()).toEqual(before);
      const killed = await program(
        'import-diff',
        'exec 3<&0; rbd "$@" <&3 & p=$!; sleep 1; kill -9 $p; wait $p; exit 9',
      );
      const slow = driver(killed);
      const target = await slow.openTarget(
        await slow.planTarget(at(newName()), { bytes: MIB, force: false }),
      );
      await target.write(0, randomBytes(4096));
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await expect(target.finish()).rejects.toThrow(/exit status 9/);
      await target.discard();
      expect(await images()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    'rbd that is killed while it reads makes the backup fail, and nothing is held any more',
    async () => {
      const source = await image();
      const killed = await program('export-diff', 'rbd "$@" | head -c 100000; kill -9 $$');
      await expect(backup(source, driver(killed))).rejects.toThrow(/SIGKILL/);
      expect(await rbd('snap', 'ls', '--format', 'json', at(source))).toContain('"protected":"false"');
      expect((await rbd('image-meta', 'ls', at(source))).trim()).not.toMatch(/datamover/);
    },
    PATIENCE,
  );

  test(
    'clean-up removes what killed restores left, and nothing of those that live, or may live on another machine',
    async () => {
      const name = newName();
      const [boot, namespace] = ownerName().split('-');
      const now = Math.floor(Date.now() / 1000);
      const made = async (owner: string, since = now, of = name): Promise<string> => {
        const image = `${of}.datamover-${owner}-${since}-00ff`;
        await rbd('create', '--size', '1M', at(image));
        return image;
      };
      const dead = await made(`${boot}-${namespace}-999999999-1`);
      const alive = await made(ownerName());
      const other = await made(`${boot}-${namespace}-999999999-1`, now, newName());
      const elsewhere = await made('0123456789abcdef-1-1-1');
      const old = await made('0123456789abcdef-1-1-1', now - 25 * 3600);
      // Of the transfer that this process carries, on a machine that had it before.
      process.env[TRANSFER_VARIABLE] = 'b0123456789abcdef';
      const ours = await made(ownerName().replace(/^[0-9a-f]+/, '0123456789abcdef'));
      const others = await made('0123456789abcdef-1-1-1-0123456789ab');
      const removed = await driver()
        .cleanUp(at(name))
        .finally(() => {
          process.env[TRANSFER_VARIABLE] = '';
        });
      const line = (image: string): string =>
        `removed ${at(image)}, which a restore that was killed had made`;
      expect([...removed].sort()).toEqual([dead, old, ours].map(line).sort());
      expect([...(await driver().left(at(name)))].sort()).toEqual([
        expect.stringMatching(
          `^left ${at(others)}: since .*Z a restore makes it .*sooner: rbd rm ${at(others)}`,
        ),
        expect.stringMatching(`^left ${at(elsewhere)}: since`),
      ]);
      expect(await images()).toEqual(expect.arrayContaining([alive, other, elsewhere, others]));
    },
    PATIENCE,
  );

  test(
    'a half-made image that somebody still writes to is passed over, though its restore is gone by its name, and told',
    async () => {
      const name = newName();
      const writer = driver();
      const target = await writer.openTarget(await writer.planTarget(at(name), { bytes: MIB, force: false }));
      await target.write(0, randomBytes(4096));
      const partial = (await images()).find((image) => image.startsWith(`${name}.`)) ?? '';
      while (!(await watched(partial))) await delay(100);
      // A clock that is wrong by more than a day, or a namespace that is another's by now, says this of one that lives.
      const gone = partial.replace(/\.datamover-[0-9a-f]+-(.*)-\d+-/, '.datamover-0123456789abcdef-$1-1-');
      await rbd('rename', at(partial), at(gone));
      expect(await driver().cleanUp(at(name))).toEqual([]);
      expect(await driver().left(at(name))).toEqual([
        expect.stringMatching(
          `^left ${at(gone)}: a restore that was killed .* somebody at [0-9.:/]+ has it open to write; .*rbd status ${at(gone)}`,
        ),
      ]);
      await rbd('rename', at(gone), at(partial));
      await target.discard();
      expect(await driver().left(at(name))).toEqual([]);
      expect((await images()).filter((image) => image.startsWith(name))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    'a restore to where another one is at work is refused, and one that comes late says so',
    async () => {
      const name = newName();
      const need = { bytes: MIB, force: false };
      const first = driver();
      const target = await first.openTarget(await first.planTarget(at(name), need));
      const partial = (await images()).find((image) => image.startsWith(`${name}.`)) ?? '';
      while (!(await watched(partial))) await delay(100);
      await target.write(0, randomBytes(4096));
      // Its name says that it is of this process. Of another machine's restore Ceph says the same.
      const elsewhere = partial.replace(/\.datamover-[0-9a-f]+-/, '.datamover-0123456789abcdef-');
      expect(elsewhere).not.toBe(partial);
      await rbd('rename', at(partial), at(elsewhere));
      const refused = driver().planTarget(at(name), need);
      await expect(refused).rejects.toMatchObject({ kind: 'target-in-use' });
      await expect(refused).rejects.toThrow(
        /^restore to rbd image \S+: another restore to it is at work: \S+ is written by \S+ \(wait for it, or/,
      );
      await rbd('rename', at(elsewhere), at(partial));
      await target.finish();
      await rbd('create', '--size', '1M', at(name));
      await expect(target.close()).rejects.toThrow(
        /somebody made an image of this name while it was being restored \(use --force/,
      );
      await target.discard();
      expect((await images()).filter((image) => image.startsWith(name))).toEqual([name]);
    },
    PATIENCE,
  );
});
