import { copyFile, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  HeldRead,
  RangeContent,
  ReadPlan,
  ReadRequest,
  SourceVolume,
  TargetPlan,
  VolumeDriver,
  VolumeTarget,
} from '../../volumes/driver.ts';
import { DiffEncoder } from '../../volumes/rbd/diff-encoder.ts';
import { play, type Extent } from '../../volumes/rbd/testing/diffs.ts';

const GRAIN = 4096;

/**
 * Stands in for a storage whose list of changes has holes, which no real one can be made to have on demand: an image file with
 * snapshots (copies of it), and diffs between them that leave out what lies in `forgets`.
 */
export class ForgetfulDriver implements VolumeDriver {
  readonly name = 'rbd';
  readonly #folder: string;
  readonly #image: string;
  forgets: readonly { readonly from: number; readonly to: number }[] = [];
  /** What reading at random does: as it should, not at all, or it fails. */
  reading: 'well' | 'never' | 'badly' = 'well';
  holds = 0;
  kept: ReadPlan[] = [];

  constructor(folder: string, image: string) {
    this.#folder = folder;
    this.#image = image;
  }

  async snapshot(name: string): Promise<string> {
    await copyFile(this.#image, this.#file(name));
    return name;
  }

  async identify(location: string): Promise<SourceVolume> {
    const { length } = await readFile(this.#file(location));
    return { driver: 'rbd', location, format: 'image', bytes: length, record: { snap: location } };
  }

  async planRead(source: SourceVolume, { bases, distrusted }: ReadRequest): Promise<ReadPlan> {
    const base = distrusted === true ? undefined : bases[0];
    if (base !== undefined) return { source, base, changes: { mechanism: 'rbd-object-map' } };
    const because = distrusted === true ? 'its list of changes was wrong' : 'there is no base';
    return { source, changes: { mechanism: 'everything', because } };
  }

  async hold(plan: ReadPlan): Promise<HeldRead> {
    this.holds++;
    const { location } = plan.source;
    const content = await readFile(this.#file(location));
    const fromSnap = (plan.base?.record as { snap?: string } | undefined)?.snap;
    const before = fromSnap === undefined ? undefined : await readFile(this.#file(fromSnap));
    const path = this.#file(`${fromSnap ?? ''}..${location}.diff`);
    await writeFile(path, this.#diff(content, location, before, fromSnap));
    const file = await open(path);
    const finish = async (): Promise<'ended'> => {
      await file.close();
      return 'ended';
    };
    const readRanges = (ranges: readonly { offset: number; length: number }[]) => this.#read(content, ranges);
    return {
      feed: {
        kind: 'rbd-diff',
        pipe: { fd: file.fd, failed: new AbortController().signal, finish },
        increment: before !== undefined,
      },
      ...(this.reading !== 'never' && { readRanges }),
      release: async () => {
        this.holds--;
      },
    };
  }

  async keepBase(plan: ReadPlan): Promise<void> {
    this.kept.push(plan);
  }

  async planTarget(): Promise<TargetPlan> {
    throw new Error('it is only read');
  }

  async openTarget(): Promise<VolumeTarget> {
    throw new Error('it is only read');
  }

  async cleanUp(): Promise<string[]> {
    return [];
  }

  async close(): Promise<void> {
    // It has nothing open.
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }

  async *#read(
    content: Buffer,
    ranges: readonly { offset: number; length: number }[],
  ): AsyncGenerator<RangeContent> {
    if (this.reading === 'badly') throw new Error('the device does not answer');
    for (const { offset, length } of ranges)
      yield { offset, bytes: content.subarray(offset, offset + length) };
  }

  #diff(content: Buffer, toSnap: string, before: Buffer | undefined, fromSnap: string | undefined): Buffer {
    const extents: Extent[] = [];
    for (let offset = 0; offset < content.length; offset += GRAIN) {
      const data = content.subarray(offset, offset + GRAIN);
      const same = before?.subarray(offset, offset + GRAIN).equals(data) ?? false;
      const forgotten = before && this.forgets.some(({ from, to }) => offset >= from && offset < to);
      if (!same && forgotten !== true) extents.push({ offset, length: data.length, data });
    }
    const parts: Buffer[] = [];
    const header = { version: 1 as const, toSnap, bytes: content.length };
    const encoder = new DiffEncoder((bytes) => parts.push(Buffer.from(bytes)));
    play({ header: fromSnap === undefined ? header : { ...header, fromSnap }, extents }, encoder);
    return Buffer.concat(parts);
  }
}
