import { afterAll, beforeAll, describe } from '@jest/globals';
import type { TargetWishes, VolumeDriver } from './driver.ts';
import { readTests } from './driver-reads.suite.ts';
import { newTargetTests, oldTargetTests } from './driver-targets.suite.ts';
import type { StorageOptions } from './open-driver.ts';

/** A real storage for the suite, with a place of its own on it. */
export interface DriverSite {
  /** What a volume's location is put behind for `openDriver`: `file`, `rbd`, `zfs`. */
  readonly scheme: VolumeDriver['name'];
  readonly options: StorageOptions;
  /** Whether the storage tells what changed since a base. */
  readonly tellsChanges: boolean;
  /** Whether a restore makes an existing volume that is too small larger, or replaces it. */
  readonly resizesTargets: boolean;
  /** A location of nothing, and locations that are none or that a command could take for something else. */
  readonly missing: string;
  readonly hostile: readonly string[];
  /** A wish that means nothing to this storage. */
  readonly strangeWish: TargetWishes;
  /** A location where a restore may make a volume; another one each time. */
  newTarget(): string;
  /** Makes a volume of zeros, at `location` if it is given; `bytes` is a multiple of 1 MiB. */
  makeVolume(bytes: number, location?: string): Promise<SiteVolume>;
  /** The content of a snapshot, or of a volume as it is now. */
  read(location: string): Promise<Buffer>;
  /**
   * All that is there: volumes, snapshots, bookmarks, holds, helper images; a line each, in any order. What a backup keeps for
   * the next one (`keepBase`) is part of it.
   */
  list(): Promise<string[]>;
  /** Takes away everything. */
  dispose(): Promise<void>;
}

/** A volume whose content tests change. */
export interface SiteVolume {
  /** Of the volume itself, which restores write to and `cleanUp` is asked for. */
  readonly location: string;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** A snapshot by a name of letters and digits; gives its location. A storage without snapshots gives the volume's own. */
  snapshot(name: string): Promise<string>;
}

/**
 * What every driver must do (docs/drivers.md). `open` gives a storage that the suite has for itself. `fixed`: its volumes are
 * devices, which a restore finds and never makes.
 */
export function driverSuite(
  title: string,
  open: () => Promise<DriverSite>,
  { fixed = false }: { readonly fixed?: boolean } = {},
): void {
  describe(`${title} keeps the contract of a driver`, () => {
    let site: DriverSite | undefined;

    beforeAll(async () => {
      site = await open();
    }, 300_000);

    afterAll(async () => {
      await site?.dispose();
    }, 300_000);

    const opened = (): DriverSite => {
      if (site === undefined) throw new Error('the storage did not open');
      return site;
    };
    readTests(opened);
    if (!fixed) newTargetTests(opened);
    oldTargetTests(opened, fixed);
  });
}
