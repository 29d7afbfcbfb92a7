import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** A stream that `zfs send` of OpenZFS wrote; `zfs receive` was seen to take it. */
export interface Fixture {
  readonly id: string;
  readonly file: string;
  /** What `zfs send` was called with. */
  readonly args: string;
  readonly size: number;
  /** As `zstream dump` counts them, DRR_ before their names; it leaves OBJECT_RANGE out. */
  readonly records: Readonly<Record<string, number>>;
  readonly features: readonly string[];
}

export interface VolumeSnapshot {
  readonly guid: string;
  readonly volsize: number;
  /** Of the whole volume. */
  readonly sha256: string;
}

interface Manifest {
  readonly datasets: Readonly<
    Record<string, { readonly snapshots: Readonly<Record<string, VolumeSnapshot>> }>
  >;
  readonly streams: readonly Fixture[];
}

// Tests run in dist/; the fixtures stay where they are.
const FOLDER = new URL('../../../../../datamover/volumes/zfs/fixtures/', import.meta.url);

const manifest = JSON.parse(readFileSync(new URL('manifest.json', FOLDER), 'utf8')) as Manifest;

export const fixtures: readonly Fixture[] = manifest.streams;

export function fixture(id: string): Fixture {
  const found = fixtures.find((candidate) => candidate.id === id);
  if (found === undefined) throw new Error(`no fixture ${id}`);
  return found;
}

/** Of the stream, packed with gzip. */
export function fixturePath(id: string): string {
  return fileURLToPath(new URL(fixture(id).file, FOLDER));
}

export function fixtureBytes(id: string): Buffer {
  return gunzipSync(readFileSync(fixturePath(id)));
}

/** `ext4`, `s0`: the volume as it was when it was sent. */
export function volumeSnapshot(volume: string, snapshot: string): VolumeSnapshot {
  const found = manifest.datasets[`tank/src/${volume}`]?.snapshots[snapshot];
  if (found === undefined) throw new Error(`no snapshot ${volume}@${snapshot}`);
  return found;
}
