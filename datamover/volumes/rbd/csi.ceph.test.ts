import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import type { BaseBackup, ReadPlan } from '../driver.ts';
import { readFeed, type KeptBackup, type ReadVolume } from '../testing/feed.ts';
import { MemoryStore } from '../../store/memory.ts';
import { planBackup } from '../../transfer/backup-plan.ts';
import type { BackupSummary } from '../../transfer/backup.ts';
import { backUp, newRepository, readBackup, reopen, VOLUME } from '../../transfer/testing/volumes.ts';
import type { RbdDriver } from './driver.ts';
import type { ReadJob } from './read-job.ts';
import { useCeph } from './testing/cluster.ts';
import { CsiVolume } from './testing/csi.ts';

const MIB = 1 << 20;
const PATIENCE = 300_000;

describePeers(['ceph', 'librbd'], 'snapshots of ceph-csi', (_, librbd) => {
  const cluster = useCeph();

  const driver = cluster.driver;
  const byId = (): RbdDriver => driver(librbd.file);

  const plan = async (
    by: RbdDriver,
    location: string,
    bases: readonly BaseBackup[] = [],
  ): Promise<ReadPlan> => by.planRead(await by.identify(location), { bases });

  let ids = 0;
  const readInto = async (by: RbdDriver, planned: ReadPlan, base?: KeptBackup): Promise<ReadVolume> => {
    const held = await by.hold(planned as Parameters<RbdDriver['hold']>[0]);
    try {
      const id = (ids++).toString(16).padStart(64, '0');
      return await readFeed(planned, held.feed, id, planned.base && base);
    } finally {
      await held.release();
    }
  };

  const filled = async (features?: readonly string[]): Promise<CsiVolume> => {
    const volume = await CsiVolume.create(cluster.ceph, cluster.client, '24M', features);
    volume.change((image) => {
      image.write(0, randomBytes(3 * MIB));
      image.write(9 * MIB + 17, randomBytes(MIB));
      image.write(20 * MIB, randomBytes(2 * MIB));
    });
    return volume;
  };

  const changed = (volume: CsiVolume): void =>
    volume.change((image) => {
      image.write(MIB + 5, randomBytes(700));
      image.write(15 * MIB, randomBytes(4096));
      image.discard(20 * MIB, MIB);
      image.write(21 * MIB, Buffer.alloc(65_536));
    });

  describe.each([
    ['rbd-diff-by-snap-id', true, undefined],
    ['rbd-diff-by-snap-id', true, ['layering']],
    ['rbd-object-map', false, undefined],
  ] as const)('%s (newer librbd: %j, features %j)', (mechanism, newer, features) => {
    const by = (): RbdDriver => (newer ? byId() : driver());

    test(
      'an increment reads what changed between two snapshots, through resizes and deletions',
      async () => {
        const volume = await filled(features);
        const snapshots = [await volume.snapshot()];
        let last = await readInto(by(), await plan(by(), volume.location(snapshots[0] ?? '')));
        const steps: ((volume: CsiVolume) => void)[] = [
          changed,
          () => undefined,
          (v) => v.change((image) => image.resize(30 * MIB + 4096)),
          (v) => v.change((image) => image.write(29 * MIB, randomBytes(MIB + 4096))),
          (v) => v.change((image) => image.resize(10 * MIB + 100)),
          (v) => v.change((image) => (image.resize(5 * MIB), image.resize(12 * MIB))),
        ];
        for (const [i, step] of steps.entries()) {
          step(volume);
          // A snapshot in between, which is deleted again, is no part of the history that backups see.
          const passing = i % 2 === 0 ? await volume.snapshot() : undefined;
          if (i === 0) volume.change((image) => image.write(7 * MIB, randomBytes(9)));
          const snapshot = await volume.snapshot();
          if (passing !== undefined) await volume.deleteSnapshot(passing);
          const planned = await plan(by(), volume.location(snapshot), [last]);
          expect(planned.changes).toEqual({ mechanism });
          expect(planned.base).toBe(last);
          const next = await readInto(by(), planned, last);
          expect(next.content.equals(volume.read(snapshot))).toBe(true);
          const most = newer ? 100_000 : 8 * MIB;
          if (i < 2) expect(next.fedBytes).toBeLessThan(most);
          last = next;
        }
      },
      PATIENCE,
    );
  });

  test.each([
    ['their ids', 'snap-id', true, false],
    ['their ids', 'snap-id', true, true],
    ['their names', 'snap-name', false, false],
    ['their names', 'snap-name', false, true],
  ] as const)(
    'snaps of one image are compared by %s (%s, newer librbd: %j, of a clone: %j)',
    async (_, by, newer, clone) => {
      const origin = await filled();
      const volume = clone ? await origin.restore(await origin.snapshot()) : origin;
      const reader = newer ? byId() : driver();
      const snap = (name: string): string => {
        volume.change((image) => image.snap(name));
        return `${cluster.ceph.pool}/${volume.image}@${name}`;
      };
      let last = await readInto(reader, await plan(reader, snap('snap-0')));
      const steps: ((volume: CsiVolume) => void)[] = [
        changed,
        () => undefined,
        (v) => v.change((image) => (image.resize(30 * MIB + 4096), image.write(29 * MIB, randomBytes(MIB)))),
        (v) => v.change((image) => (image.resize(5 * MIB), image.resize(12 * MIB), image.discard(0, 4096))),
      ];
      for (const [i, step] of steps.entries()) {
        step(volume);
        const name = `snap-${i + 1}`;
        const planned = await plan(reader, snap(name), [last]);
        expect(planned.base).toBe(last);
        expect(planned.changes).toEqual({ mechanism: 'rbd-export-diff' });
        expect((planned as ReadPlan & { readonly job: ReadJob }).job.reading).toMatchObject({ by });
        const next = await readInto(reader, planned, last);
        expect(next.content.equals(cluster.client.read(volume.image, name))).toBe(true);
        if (i < 2) expect(next.fedBytes).toBeLessThan(2 * MIB);
        last = next;
      }
    },
    PATIENCE,
  );

  test(
    'a base that was deleted or flattened is none, and the reason is told; then the one before serves',
    async () => {
      const volume = await filled();
      const [one, two] = [await volume.snapshot(), await volume.snapshot()];
      const first = await readInto(byId(), await plan(byId(), volume.location(one)));
      const second = await readInto(byId(), await plan(byId(), volume.location(two), [first]), first);
      changed(volume);
      const three = await volume.snapshot();
      await volume.rbd('flatten', '--no-progress', `${cluster.ceph.pool}/${two}`);
      const flattened = await plan(byId(), volume.location(three), [second]);
      expect(flattened.changes).toMatchObject({
        mechanism: 'allocated-extents',
        because: expect.stringMatching(
          /csi-snap-.* of backup 0{6}\w\w was flattened: it has nothing/,
        ) as unknown,
      });
      const older = await plan(byId(), volume.location(three), [second, first]);
      expect(older).toMatchObject({
        base: { snapshotId: first.snapshotId },
        changes: { mechanism: 'rbd-diff-by-snap-id', because: flattened.changes.because },
      });
      expect((await readInto(byId(), older, first)).content.equals(volume.read(three))).toBe(true);
      await volume.deleteSnapshot(one);
      const gone = await plan(byId(), volume.location(three), [first]);
      expect(gone.changes.because).toMatch(/csi-snap-.*@csi-snap-.* of backup \w{8} is gone/);
      expect((await readInto(byId(), gone)).content.equals(volume.read(three))).toBe(true);
      await volume.rbd('flatten', '--no-progress', `${cluster.ceph.pool}/${three}`);
      const itself = await plan(byId(), volume.location(three), [first]);
      expect(itself.changes.because).toMatch(
        /has no parent \(it was flattened, or is no clone\), as the image of/,
      );
    },
    PATIENCE,
  );

  test(
    'fast-diff that was enabled late: maps of older snaps say that nothing changed, and are not believed',
    async () => {
      const volume = await filled(['layering', 'exclusive-lock']);
      const one = await volume.snapshot();
      const first = await readInto(driver(), await plan(driver(), volume.location(one)));
      changed(volume);
      const two = await volume.snapshot();
      const at = `${cluster.ceph.pool}/${volume.image}`;
      await volume.rbd('feature', 'enable', at, 'object-map', 'fast-diff');
      await volume.rbd('object-map', 'rebuild', '--no-progress', at);
      expect(await volume.rbd('info', at)).not.toMatch(/flags: .*invalid/);
      const late = await plan(driver(), volume.location(two), [first]);
      expect(late.changes).toMatchObject({
        mechanism: 'allocated-extents',
        because: expect.stringMatching(/the object map of snap \d+ of csi-vol-.* is invalid/) as unknown,
      });
      expect((await readInto(driver(), late)).content.equals(volume.read(two))).toBe(true);
      const exact = await plan(byId(), volume.location(two), [first]);
      expect(exact.changes).toEqual({ mechanism: 'rbd-diff-by-snap-id' });
      expect((await readInto(byId(), exact, first)).content.equals(volume.read(two))).toBe(true);
      const unmapped = await filled(['layering']);
      const base = await readInto(
        driver(),
        await plan(driver(), unmapped.location(await unmapped.snapshot())),
      );
      const plain = await plan(driver(), unmapped.location(await unmapped.snapshot()), [base]);
      expect(plain.changes.because).toMatch(
        /^librbd does not tell changes by the ids of snaps \(since 18.2.7 it does\), and csi-vol-\S+ has no object map with fast-diff/,
      );
    },
    PATIENCE,
  );

  test(
    'a rollback is not in the object maps: not used where there is a snap to go back to, found by the sample otherwise',
    async () => {
      const volume = await filled();
      // What is there and was not written since the snap before: its map says so again after a rollback.
      await volume.snapshot();
      volume.change((image) => image.snap('mark'));
      volume.change((image) => image.write(MIB, randomBytes(2 * MIB)));
      const store = new MemoryStore();
      await (await newRepository(store)).close();
      const save = async (snapshot: string, hour: number): Promise<BackupSummary & { content: Buffer }> => {
        const repository = await reopen(store);
        const source = { kind: 'driver', driver: driver(), location: volume.location(snapshot) } as const;
        const time = new Date(Date.UTC(2026, 0, 1, hour));
        const summary = await backUp(repository, source, { time, sample: { cells: 24 } });
        const content = await readBackup(repository, summary.snapshotId ?? '');
        await repository.close();
        return { ...summary, content };
      };
      await save(await volume.snapshot(), 0);
      volume.change((image) => image.rollBack('mark'));
      const two = await volume.snapshot();
      expect((await read(two)).changes.because).toMatch(
        /has the snap mark, and object maps do not tell of a rollback to it/,
      );
      volume.change((image) => image.removeSnap('mark'));
      const saved = await save(two, 1);
      expect(saved.content.equals(volume.read(two))).toBe(true);
      expect(saved.warnings.join()).toMatch(/what rbd-object-map says of .* cannot be trusted/);

      async function read(snapshot: string): Promise<ReadPlan> {
        const repository = await reopen(store);
        const source = { kind: 'driver', driver: driver(), location: volume.location(snapshot) } as const;
        const planned = await planBackup(repository, { volume: VOLUME, source });
        await repository.close();
        if (planned.source.kind !== 'driver') throw new Error('no driver');
        return planned.source.read;
      }
    },
    PATIENCE,
  );

  test(
    'a clone that somebody wrote to, a volume in the trash, and a volume made from a snapshot',
    async () => {
      const volume = await filled();
      const one = await volume.snapshot();
      const own = cluster.client.open(one);
      own.write(5 * MIB, randomBytes(100));
      own.removeSnap(one);
      own.snap(one);
      own.close();
      const first = await readInto(byId(), await plan(byId(), volume.location(one)));
      changed(volume);
      const two = await volume.snapshot();
      await volume.rbd('trash', 'mv', `${cluster.ceph.pool}/${volume.image}`);
      for (const by of [byId(), driver()]) {
        const planned = await plan(by, volume.location(two), [first]);
        expect(planned.base).toBe(first);
        expect((await readInto(by, planned, first)).content.equals(volume.read(two))).toBe(true);
      }
      const restored = await volume.restore(two);
      restored.change((image) => {
        image.write(2 * MIB, randomBytes(5000));
        image.discard(9 * MIB, 2 * MIB);
      });
      const three = await restored.snapshot();
      const other = await plan(byId(), restored.location(three), [first]);
      expect(other.changes.because).toMatch(/is of another image/);
      const third = await readInto(byId(), other);
      expect(third.content.equals(restored.read(three))).toBe(true);
      restored.change((image) => image.discard(0, 3 * MIB));
      const four = await restored.snapshot();
      for (const by of [byId(), driver()]) {
        const planned = await plan(by, restored.location(four), [third]);
        expect(planned.changes).toEqual({ mechanism: expect.any(String) });
        expect(planned.base).toBe(third);
        expect((await readInto(by, planned, third)).content.equals(restored.read(four))).toBe(true);
      }
    },
    PATIENCE,
  );

  test(
    'a volume that is a clone may hide what its parent has: nothing is shared with the parent',
    async () => {
      const volume = await filled();
      const one = await volume.snapshot();
      const first = await readInto(byId(), await plan(byId(), volume.location(one)));
      const restored = await volume.restore(one);
      restored.change((image) => image.discard(0, 3 * MIB));
      restored.change((image) => image.snap('own'));
      const location = `${cluster.ceph.pool}/${restored.image}@own`;
      const planned = await plan(byId(), location, [first]);
      expect(planned.changes.because).toMatch(/is of another image/);
      const second = await readInto(byId(), planned, first);
      expect(second.content.equals(cluster.client.read(restored.image, 'own'))).toBe(true);
    },
    PATIENCE,
  );

  test(
    'snaps are held while they are read; what goes all the same makes the read fail',
    async () => {
      const volume = await filled();
      const one = await volume.snapshot();
      const first = await readInto(byId(), await plan(byId(), volume.location(one)));
      // More than a pipe holds: it has not been read to its end before somebody reads it.
      volume.change((image) => image.write(0, randomBytes(8 * MIB)));
      const two = await volume.snapshot();
      const planned = await plan(byId(), volume.location(two), [first]);
      const held = await byId().hold(planned as Parameters<RbdDriver['hold']>[0]);
      await held.held;
      for (const snapshot of [one, two])
        await expect(volume.deleteSnapshot(snapshot)).rejects.toThrow(/exit status 16/);
      await volume.rbd('flatten', '--no-progress', `${cluster.ceph.pool}/${one}`);
      await expect(readFeed(planned, held.feed, 'f'.repeat(64), first)).rejects.toThrow(
        /errno 2|which tells what changed, went while it was read/,
      );
      await held.release();
      await volume.deleteSnapshot(one);
      await volume.deleteSnapshot(two);
    },
    PATIENCE,
  );
});
