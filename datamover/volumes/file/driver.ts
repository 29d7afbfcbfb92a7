import { realpath, stat } from 'node:fs/promises';
import { DatamoverError } from '../../errors.ts';
import type { HeldRead, ReadPlan, ReadRequest, SourceVolume, TargetNeed, VolumeDriver } from '../driver.ts';
import { checkWishes } from '../wishes.ts';
import { changeSince } from './change.ts';
import { holdCopy, removeStaleCopies } from './copy.ts';
import { readRanges } from './ranges.ts';
import { isInUse, openImage } from './source.ts';
import { FileTarget, planFileTarget, type FileTargetPlan } from './target.ts';

interface FileRead extends ReadPlan {
  /** Holes are read too. */
  readonly everything: boolean;
}

/**
 * Image files and block devices. They keep no list of changes: what a file has allocated is read, of a device everything, and
 * what is known already is found by its content. Where the filesystem has reflinks the file is read as it was at one moment.
 */
export class FileDriver implements VolumeDriver<FileRead, FileTargetPlan> {
  readonly name = 'file';
  readonly readsWhole = true;

  async identify(location: string): Promise<SourceVolume> {
    const image = openImage(location);
    image.close();
    const kind = (await stat(location)).isBlockDevice() ? 'device' : 'file';
    return {
      driver: 'file',
      location,
      format: 'image',
      bytes: image.bytes,
      record: { kind },
    };
  }

  async planRead(source: SourceVolume, { mustUse, distrusted }: ReadRequest): Promise<FileRead> {
    if (mustUse !== undefined) {
      throw new DatamoverError({
        operation: 'back up',
        subject: source.location,
        cause: `a file does not tell what changed since backup ${mustUse.slice(0, 8)}`,
        hint: 'leave --base out: content that is known is not stored again',
        kind: 'usage',
      });
    }
    const device = (await stat(source.location)).isBlockDevice();
    const everything = device || distrusted === true;
    return {
      source,
      everything,
      changes: {
        mechanism: everything ? 'everything' : 'allocated-extents',
        because: `${device ? 'a device' : 'a file'} keeps no list of changes`,
      },
      estimateBytes: source.bytes,
      ...(isInUse(source.location) && {
        caution: `${source.location} is in use: what changes while it is read may be half in the backup (back up a snapshot of it)`,
      }),
    };
  }

  async hold({ source, everything }: FileRead): Promise<HeldRead> {
    const file = await realpath(source.location);
    // Looked at before the copy is tried: nothing may change between the two.
    const found = await stat(file, { bigint: true });
    const copy = found.isFile() ? await holdCopy(file) : undefined;
    const path = copy?.path ?? file;
    const before = found.isFile() && copy === undefined ? found : undefined;
    return {
      feed: { kind: 'file', path, ...(everything && { readHoles: true }) },
      readRanges: (ranges, signal) => readRanges(path, ranges, signal),
      ...(before !== undefined && { changedMeanwhile: () => changeSince(file, before) }),
      release: async () => copy?.release(),
    };
  }

  async keepBase(): Promise<void> {
    // There is nothing to build on: the next backup compares by content.
  }

  async planTarget(location: string, { bytes, force, wishes }: TargetNeed): Promise<FileTargetPlan> {
    checkWishes(location, wishes, [], 'a file or a device');
    return planFileTarget(location, bytes, force);
  }

  async openTarget(plan: FileTargetPlan): Promise<FileTarget> {
    return FileTarget.open(plan);
  }

  async cleanUp(location: string): Promise<string[]> {
    const removed = await removeStaleCopies(await realpath(location).catch(() => location));
    return removed.map((path) => `removed ${path}, which a backup that was killed had made`);
  }

  async close(): Promise<void> {
    // Nothing stays open between calls.
  }
}
