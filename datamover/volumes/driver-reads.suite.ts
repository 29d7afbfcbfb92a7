import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { start } from '../process/spawn.ts';
import type { BaseBackup, HeldRead, ReadPlan, ReadRequest, VolumeDriver } from './driver.ts';
import type { DriverSite, SiteVolume } from './driver.suite.ts';
import { openDriver } from './open-driver.ts';
import { readFeed, type KeptBackup, type ReadVolume } from './testing/feed.ts';
import { printable, sorted } from './testing/printable.ts';
import { childrenOf } from './testing/processes.ts';

const MIB = 1 << 20;
const PATIENCE = 300_000;
const [FIRST, SECOND, STRANGE] = ['a'.repeat(64), 'b'.repeat(64), 'c'.repeat(64)];
const HOLDER = fileURLToPath(new URL('./testing/holder.js', import.meta.url));

/** The half of the suite that is about reading. */
export function readTests(opened: () => DriverSite): void {
  const drivers: VolumeDriver[] = [];
  afterAll(async () => {
    await Promise.all(drivers.map((driver) => driver.close()));
  });

  const driverOf = (location: string): VolumeDriver => {
    const { driver } = openDriver(`${opened().scheme}:${location}`, opened().options);
    drivers.push(driver);
    return driver;
  };

  const filled = async (mebibytes = 24): Promise<{ volume: SiteVolume; driver: VolumeDriver }> => {
    const volume = await opened().makeVolume(mebibytes * MIB);
    await volume.write(0, randomBytes(3 * MIB));
    await volume.write(9 * MIB + 4096, randomBytes(MIB));
    await volume.write((mebibytes - 1) * MIB, randomBytes(MIB));
    return { volume, driver: driverOf(volume.location) };
  };

  const planned = async (
    driver: VolumeDriver,
    location: string,
    request: ReadRequest = { bases: [] },
  ): Promise<ReadPlan> =>
    printable(await driver.planRead(printable(await driver.identify(location)), request));

  /** A whole backup in memory, as a transfer would make it: the base stays for the next one. */
  const backUp = async (
    driver: VolumeDriver,
    plan: ReadPlan,
    id: string,
    base?: KeptBackup,
  ): Promise<ReadVolume> => {
    const held = await driver.hold(plan);
    try {
      return await readFeed(plan, held.feed, id, plan.base && base);
    } finally {
      await held.release();
    }
  };

  describe('identify', () => {
    test(
      'tells the driver, the size and who the volume is, always the same',
      async () => {
        const { volume, driver } = await filled();
        const location = await volume.snapshot('one');
        const source = printable(await driver.identify(location));
        expect(source).toMatchObject({ driver: opened().scheme, format: 'image', bytes: 24 * MIB });
        expect(await driver.identify(location)).toEqual(source);
        expect(await driver.identify(source.location)).toEqual(source);
      },
      PATIENCE,
    );

    test(
      'refuses what is not there, and every name that could mean something else, in one sentence',
      async () => {
        const { missing, hostile } = opened();
        const driver = driverOf(missing);
        for (const location of [missing, ...hostile]) {
          const error = await driver.identify(location).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          expect([location, error]).toEqual([location, expect.any(DatamoverError)]);
          expect((error as DatamoverError).message).not.toMatch(/\n/);
        }
      },
      PATIENCE,
    );
  });

  describe('a full read', () => {
    test(
      'gives the bytes of the snapshot, whatever happens to the volume meanwhile',
      async () => {
        const { volume, driver } = await filled();
        const location = await volume.snapshot('one');
        const expected = await opened().read(location);
        const plan = await planned(driver, location);
        expect(plan.base).toBeUndefined();
        expect(plan.changes.because).toEqual(expect.any(String));
        const before = await opened().list();
        const held = await driver.hold(plan);
        if (location !== volume.location) await volume.write(5 * MIB, randomBytes(MIB));
        const { content } = await readFeed(plan, held.feed, FIRST);
        await held.release();
        expect(content.equals(expected)).toBe(true);
        expect(sorted(await opened().list())).toEqual(sorted(before));
      },
      PATIENCE,
    );

    test(
      'may be held twice at a time and let go more than once',
      async () => {
        const { volume, driver } = await filled();
        const location = await volume.snapshot('one');
        const expected = await opened().read(location);
        const before = await opened().list();
        const plan = await planned(driver, location);
        const [one, two] = await Promise.all([driver.hold(plan), driver.hold(plan)]);
        await one.release();
        await one.release();
        const { content } = await readFeed(plan, two.feed, FIRST);
        expect(content.equals(expected)).toBe(true);
        await Promise.all([two.release(), two.release()]);
        expect(sorted(await opened().list())).toEqual(sorted(before));
      },
      PATIENCE,
    );

    test(
      'at random, where the storage can, gives the same bytes',
      async () => {
        const { volume, driver } = await filled();
        const location = await volume.snapshot('one');
        const expected = await opened().read(location);
        const held = await driver.hold(await planned(driver, location));
        try {
          await expectRanges(held, expected);
        } finally {
          await held.release();
        }
      },
      PATIENCE,
    );

    test(
      'is all there is when the storage is distrusted: no base, nothing left out',
      async () => {
        const { volume, driver } = await filled();
        const first = await backUp(driver, await planned(driver, await volume.snapshot('one')), FIRST);
        await volume.write(15 * MIB, randomBytes(5000));
        const location = await volume.snapshot('two');
        const expected = await opened().read(location);
        const plan = await planned(driver, location, { bases: [asBase(first)], distrusted: true });
        expect(plan.base).toBeUndefined();
        const { content } = await backUp(driver, plan, SECOND);
        expect(content.equals(expected)).toBe(true);
      },
      PATIENCE,
    );
  });

  describe('an increment', () => {
    test(
      'reads what changed and makes the whole volume of the base; or says why there is none',
      async () => {
        const { volume, driver } = await filled();
        const planOne = await planned(driver, await volume.snapshot('one'));
        const first = await backUp(driver, planOne, FIRST);
        await driver.keepBase(planOne);
        await volume.write(9 * MIB + 8192, randomBytes(16_384));
        await volume.write(20 * MIB, randomBytes(16_384));
        const location = await volume.snapshot('two');
        const expected = await opened().read(location);
        const plan = await planned(driver, location, { bases: [asBase(first)] });
        const second = await backUp(driver, plan, SECOND, first);
        expect(second.content.equals(expected)).toBe(true);
        if (!opened().tellsChanges) {
          expect(plan.base).toBeUndefined();
          expect(plan.changes.because).toEqual(expect.any(String));
          return;
        }
        expect(plan.base).toEqual(asBase(first));
        expect(['everything', 'allocated-extents']).not.toContain(plan.changes.mechanism);
        // Whole objects of 4 MiB at the most, for two places.
        expect(second.fedBytes).toBeLessThan(9 * MIB);
        await driver.keepBase(plan);
        await driver.keepBase(plan);
        const again = await planned(driver, location, { bases: [asBase(second), asBase(first)] });
        // Of the very snapshot: some storages tell that nothing changed, others build on the one before.
        const base = again.base?.snapshotId === FIRST ? first : second;
        expect((await backUp(driver, again, STRANGE, base)).content.equals(expected)).toBe(true);
      },
      PATIENCE,
    );

    test(
      'from a base that the storage does not know is refused if it must be, and else passed over',
      async () => {
        const { volume, driver } = await filled();
        const location = await volume.snapshot('one');
        const strangers: BaseBackup[] = [
          { snapshotId: STRANGE, bytes: 24 * MIB },
          { snapshotId: SECOND, bytes: 24 * MIB, record: { guid: '1', id: 7, snap: '-x', imageId: [] } },
          { snapshotId: FIRST, bytes: 1, record: 'nonsense' },
        ];
        const plan = await planned(driver, location, { bases: strangers });
        expect(plan.base).toBeUndefined();
        expect(plan.changes.because).toEqual(expect.any(String));
        for (const base of strangers) {
          const must = { bases: [base], mustUse: base.snapshotId };
          await expect(planned(driver, location, must)).rejects.toMatchObject({
            name: 'DatamoverError',
            message: expect.stringContaining(base.snapshotId.slice(0, 8)),
          });
        }
      },
      PATIENCE,
    );
  });

  describe('cleanUp', () => {
    test(
      'takes away what a killed transfer held, and nothing of one that lives',
      async () => {
        const { volume, driver } = await filled(12);
        const location = await volume.snapshot('one');
        const before = sorted(await opened().list());
        const holder = await start({
          file: process.execPath,
          args: [HOLDER, `${opened().scheme}:${location}`, JSON.stringify(opened().options)],
        });
        const [said] = (await Promise.race([
          once(holder.stdout, 'data'),
          holder.finished.then(() => ['ended']),
        ])) as [Buffer];
        expect(said.toString()).toBe('held\n');
        const during = sorted(await opened().list());
        expect(await driver.cleanUp(volume.location)).toEqual([]);
        expect(sorted(await opened().list())).toEqual(during);
        // All at once, as a machine that stops does: what it started might let go for it.
        for (const pid of [...(await childrenOf(holder.pid)), holder.pid]) process.kill(pid, 'SIGKILL');
        await holder.finished.catch(() => undefined);
        const lines = await driver.cleanUp(volume.location);
        expect(lines.length > 0).toBe(during.length !== before.length);
        expect(sorted(await opened().list())).toEqual(before);
        expect(await driver.cleanUp(volume.location)).toEqual([]);
      },
      PATIENCE,
    );
  });
}

async function expectRanges(held: HeldRead, expected: Buffer): Promise<void> {
  const ranges = [
    { offset: 0, length: MIB },
    { offset: MIB + 4096, length: 8192 },
    { offset: 9 * MIB, length: MIB },
    { offset: expected.length - MIB, length: MIB },
  ];
  if (held.readRanges === undefined) return;
  let next = 0;
  for await (const { offset, bytes } of held.readRanges(ranges)) {
    const range = ranges[next++];
    expect(offset).toBe(range?.offset);
    expect(bytes.length).toBe(range?.length);
    expect(expected.subarray(offset, offset + bytes.length).equals(bytes)).toBe(true);
  }
  expect(next).toBe(ranges.length);
}

/** What a repository would give of a backup: plain JSON. */
function asBase({ snapshotId, bytes, record }: KeptBackup): BaseBackup {
  return printable({ snapshotId, bytes, record });
}
