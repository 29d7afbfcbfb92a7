import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { VolumeDriver, VolumeTarget } from './driver.ts';
import type { DriverSite } from './driver.suite.ts';
import { openDriver } from './open-driver.ts';
import { printable, sorted } from './testing/printable.ts';

const MIB = 1 << 20;
const BYTES = 12 * MIB;
const PATIENCE = 300_000;

/** The part of the suite that is about restores that make a volume. */
export function newTargetTests(opened: () => DriverSite): void {
  const { driverOf, remains } = helpers(opened);

  describe('a new target', () => {
    test(
      'is planned without a trace, made, written, and gives back what was written',
      async () => {
        const location = opened().newTarget();
        const driver = driverOf(location);
        const before = await remains();
        const plan = printable(await driver.planTarget(location, { bytes: BYTES, force: false }));
        expect(plan).toMatchObject({ action: 'create', bytes: BYTES });
        expect(await remains()).toEqual(before);
        const target = await driver.openTarget(plan);
        expect(target.startsAsZeros).toBe(true);
        const expected = await fill(target);
        await target.finish();
        await expectReadBack(target, expected);
        await target.close();
        expect((await opened().read(plan.location)).equals(expected)).toBe(true);
        expect((await driver.planTarget(location, { bytes: BYTES, force: true })).action).toBe('overwrite');
      },
      PATIENCE,
    );

    test(
      'that is discarded leaves nothing, written to or not, finished or not',
      async () => {
        for (const stage of ['opened', 'written', 'finished'] as const) {
          const location = opened().newTarget();
          const driver = driverOf(location);
          const before = await remains();
          const target = await driver.openTarget(
            await driver.planTarget(location, { bytes: BYTES, force: false }),
          );
          if (stage !== 'opened') await fill(target);
          if (stage === 'finished') await target.finish();
          await target.discard();
          expect([stage, await remains()]).toEqual([stage, before]);
        }
      },
      PATIENCE,
    );

    test(
      'is not taken where somebody made a volume since the plan',
      async () => {
        const location = opened().newTarget();
        const driver = driverOf(location);
        const plan = await driver.planTarget(location, { bytes: BYTES, force: false });
        const volume = await opened().makeVolume(BYTES, location);
        const content = randomBytes(MIB);
        await volume.write(2 * MIB, content);
        await expect(driver.openTarget(plan)).rejects.toMatchObject({ name: 'DatamoverError' });
        const there = await opened().read(volume.location);
        expect(there.subarray(2 * MIB, 3 * MIB).equals(content)).toBe(true);
      },
      PATIENCE,
    );

    test(
      'takes no wish that means nothing to the storage, and no name that could mean something else',
      async () => {
        const { hostile, strangeWish } = opened();
        const location = opened().newTarget();
        const driver = driverOf(location);
        const before = await remains();
        const wishing = { bytes: BYTES, force: false, wishes: strangeWish };
        await expect(driver.planTarget(location, wishing)).rejects.toMatchObject({ kind: 'usage' });
        for (const name of hostile) {
          const outcome = driver.planTarget(name, { bytes: BYTES, force: false }).then(
            () => 'planned',
            (error: unknown) => (error as Error).name,
          );
          expect([name, await outcome]).toEqual([name, 'DatamoverError']);
        }
        expect(await remains()).toEqual(before);
      },
      PATIENCE,
    );
  });
}

/** The part of the suite that is about restores over a volume; `fixed`: a device, which is named on purpose. */
export function oldTargetTests(opened: () => DriverSite, fixed: boolean): void {
  const { driverOf, remains } = helpers(opened);

  describe('a target that is there', () => {
    test(
      'is refused without force where it could hold data, and written over with it',
      async () => {
        const site = opened();
        const volume = await site.makeVolume(BYTES);
        await volume.write(0, Buffer.alloc(BYTES, 0xa5));
        const driver = driverOf(volume.location);
        const asked = driver.planTarget(volume.location, { bytes: BYTES, force: false });
        if (fixed) expect((await asked).action).toBe('overwrite');
        else await expect(asked).rejects.toMatchObject({ name: 'DatamoverError' });
        const plan = printable(await driver.planTarget(volume.location, { bytes: BYTES, force: true }));
        expect(plan).toMatchObject({ action: 'overwrite', bytes: BYTES });
        const before = await remains();
        const target = await driver.openTarget(plan);
        const expected = await fill(target);
        await target.finish();
        await expectReadBack(target, expected);
        await target.close();
        expect((await site.read(volume.location)).equals(expected)).toBe(true);
        expect(await remains()).toEqual(before);
      },
      PATIENCE,
    );

    test(
      'may be larger',
      async () => {
        const site = opened();
        const volume = await site.makeVolume(BYTES + 4 * MIB);
        await volume.write(0, Buffer.alloc(BYTES + 4 * MIB, 0xa5));
        const driver = driverOf(volume.location);
        const plan = await driver.planTarget(volume.location, { bytes: BYTES, force: true });
        expect(plan.bytes).toBeGreaterThanOrEqual(BYTES);
        const target = await driver.openTarget(plan);
        const expected = await fill(target);
        await target.finish();
        await expectReadBack(target, expected);
        await target.close();
        expect((await site.read(volume.location)).subarray(0, BYTES).equals(expected)).toBe(true);
      },
      PATIENCE,
    );

    test(
      'that is too small is refused before anything is written, or made large enough',
      async () => {
        const site = opened();
        const volume = await site.makeVolume(BYTES - 4 * MIB);
        const content = randomBytes(MIB);
        await volume.write(MIB, content);
        const driver = driverOf(volume.location);
        const asked = driver.planTarget(volume.location, { bytes: BYTES, force: true });
        if (!site.resizesTargets) {
          await expect(asked).rejects.toMatchObject({ name: 'DatamoverError' });
          expect((await site.read(volume.location)).subarray(MIB, 2 * MIB).equals(content)).toBe(true);
          return;
        }
        const target = await driver.openTarget(await asked);
        const expected = await fill(target);
        await target.finish();
        await target.close();
        expect((await site.read(volume.location)).equals(expected)).toBe(true);
      },
      PATIENCE,
    );

    test(
      'stays there when it is discarded',
      async () => {
        const site = opened();
        const volume = await site.makeVolume(BYTES);
        const driver = driverOf(volume.location);
        const before = await remains();
        const target = await driver.openTarget(
          await driver.planTarget(volume.location, { bytes: BYTES, force: true }),
        );
        await fill(target);
        await target.discard();
        expect(await remains()).toEqual(before);
      },
      PATIENCE,
    );
  });
}

function helpers(opened: () => DriverSite) {
  return {
    driverOf: (location: string): VolumeDriver =>
      openDriver(`${opened().scheme}:${location}`, opened().options).driver,
    remains: async (): Promise<string[]> => sorted(await opened().list()),
  };
}

/** Writes as a restore does: data, zeros, and nothing at all where the target reads as zeros anyway. Gives what must be there. */
async function fill(target: VolumeTarget): Promise<Buffer> {
  const expected = Buffer.alloc(BYTES);
  const pieces = [
    { at: 0, length: 2 * MIB + 4096 },
    { at: 3 * MIB, length: MIB },
    { at: 6 * MIB + 512, length: 3072 },
    { at: 7 * MIB, length: 8192 },
    { at: BYTES - 512, length: 512 },
  ];
  for (const { at, length } of pieces) expected.set(randomBytes(length), at);
  const gaps = pieces.map(({ at, length }, i) => ({
    at: at + length,
    length: (pieces[i + 1]?.at ?? BYTES) - at - length,
  }));
  const writes = [
    ...pieces.map((piece) => ({ ...piece, zero: false })),
    ...gaps.map((gap, i) => ({ ...gap, zero: true, skipped: target.startsAsZeros && i % 2 === 0 })),
  ].filter(({ length }) => length > 0);
  writes.sort(target.order === 'ascending' ? (a, b) => a.at - b.at : (a, b) => b.length - a.length);
  const jobs = writes.map((write) => async (): Promise<void> => {
    if (!write.zero) await target.write(write.at, expected.subarray(write.at, write.at + write.length));
    else if (!('skipped' in write && write.skipped)) await target.writeZeros(write.at, write.length);
  });
  if (target.order === 'any') await Promise.all(jobs.map((job) => job()));
  else for (const job of jobs) await job();
  return expected;
}

async function expectReadBack(target: VolumeTarget, expected: Buffer): Promise<void> {
  const found = Buffer.alloc(expected.length);
  let length = 0;
  for await (const chunk of target.readBack()) {
    const room = found.subarray(length);
    room.set(chunk.subarray(0, room.length));
    length += chunk.length;
  }
  expect(length).toBeGreaterThanOrEqual(expected.length);
  expect(found.equals(expected)).toBe(true);
}
