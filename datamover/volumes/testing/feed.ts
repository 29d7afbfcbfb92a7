import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { start } from '../../process/spawn.ts';
import type { BaseBackup, FeedPipe, ProducerCommand, ReadPlan, VolumeFeed } from '../driver.ts';
import { DiffImage } from '../rbd/diff-image.ts';
import { DiffStream } from '../rbd/diff-stream.ts';
import { SendStream } from '../zfs/send-stream.ts';
import { ZvolImage } from '../zfs/zvol-image.ts';
import { Changes } from './applying.ts';

/** A backup as a test keeps it: all of its bytes. */
export interface KeptBackup extends BaseBackup {
  readonly content: Buffer;
}

export interface ReadVolume extends KeptBackup {
  /** Bytes that the storage gave. */
  readonly fedBytes: number;
}

const CELL_BYTES = 1 << 20;

/** Reads a held volume as a backup would, but into memory. `snapshotId` names the backup that comes of it. */
export async function readFeed(
  plan: ReadPlan,
  feed: VolumeFeed,
  snapshotId: string,
  base?: KeptBackup,
): Promise<ReadVolume> {
  const { record, driver } = plan.source;
  if (feed.kind === 'file') {
    const content = await readFile(feed.path);
    const bytes = plan.source.bytes;
    // A device may be longer than a file read of it tells; a file is exactly as long.
    return { snapshotId, bytes, record, content: content.subarray(0, bytes), fedBytes: content.length };
  }
  const stream = feed.kind === 'rbd-diff' ? await piped(feed.pipe) : await printed(feed.command);
  const made = new Changes(CELL_BYTES);
  const options = { cellBytes: CELL_BYTES, sink: made };
  const own = recordOf(base);
  if (feed.kind === 'zvol-send') {
    const known = base && { guid: own['guid'], bytes: base.bytes, name: base.snapshotId };
    const image = new ZvolImage({ ...options, ...(known && { base: known }) });
    const reader = new SendStream(image);
    reader.push(stream);
    reader.end();
    const { guid, bytes } = image.facts();
    const content = made.apply(base?.content ?? Buffer.alloc(0), bytes);
    return { snapshotId, bytes, record: { ...record, guid }, content, fedBytes: stream.length };
  }
  if (feed.kind === 'rbd-diff') {
    const known = base && { snap: own['snap'], bytes: base.bytes, name: base.snapshotId };
    const image = new DiffImage({ ...options, ...(known && { base: known }) });
    const reader = new DiffStream(image);
    reader.push(stream);
    reader.end();
    const { snap, bytes } = image.facts();
    const content = made.apply(base?.content ?? Buffer.alloc(0), bytes);
    const told = snap === undefined ? record : { ...record, snap };
    return { snapshotId, bytes, record: told, content, fedBytes: stream.length };
  }
  throw new Error(`${driver} feeds a ${feed.kind}, which is no image`);
}

async function piped(pipe: FeedPipe): Promise<Buffer> {
  const bytes = await buffer(createReadStream('', { fd: pipe.fd, autoClose: false }));
  const end = await pipe.finish();
  if (end !== 'ended') throw new Error(`the stream is ${end}`);
  return bytes;
}

async function printed({ file, args }: ProducerCommand): Promise<Buffer> {
  const running = await start({ file, args });
  const bytes = await buffer(running.stdout);
  await running.finished;
  return bytes;
}

function recordOf(base: BaseBackup | undefined): Partial<Record<string, string>> {
  return { ...(base?.record as Partial<Record<string, string>> | undefined) };
}
