import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Repository } from '../datamover/repository/repository.ts';
import type { Pack, PackedBlob } from '../datamover/repository/types.ts';
import { openStore } from '../datamover/store/location.ts';
import { requirePeer } from '../e2e/servers/peers.ts';
import type { Bench } from './bench.ts';
import { PASSWORD } from './contenders.ts';
import { Dice, RandomBytes } from './data.ts';
import { folderSize } from './local.ts';
import type { Job } from './measure.ts';

const BLOBS_PER_PACK = 24;
const BLOB_BYTES = 2 ** 20;
/** Bytes of memory for each blob, at most. */
const MEMORY = 64;

/** Opens a repository whose index names millions of blobs. The packs themselves do not exist: nobody reads them. */
export async function benchIndex(bench: Bench): Promise<void> {
  if (!bench.wants('index')) return;
  const { blobs } = bench.settings;
  const location = join(bench.scratch, 'index-repository');
  const place = { location };
  await bench.measure(bench.contenders.ours.init(place));
  await writeIndex(location, blobs);

  const { env } = bench.contenders.ours.init(place);
  const printed = join(bench.scratch, 'index.json');
  const ours: Job = {
    file: process.execPath,
    args: [fileURLToPath(new URL('open-index.js', import.meta.url))],
    env,
    stdout: printed,
  };
  // Without snapshots `stats` loads the index and is done. A cache would keep a copy of every index file.
  const restic: Job = {
    file: requirePeer('restic-current').file,
    args: ['stats', '--no-lock', '--no-cache'],
    env,
  };
  await bench.compare(
    `index of ${blobs / 1e6} M blobs`,
    await folderSize(join(location, 'index')),
    { wall: 1 },
    {
      job: ({ name }) => (name === 'ours' ? ours : restic),
    },
  );
  const found = JSON.parse(await readFile(printed, 'utf8')) as { blobs: number; bytes: number };
  if (found.blobs !== blobs) throw new Error(`the index has ${found.blobs} blobs, not ${blobs}`);
  const each = found.bytes / found.blobs;
  bench.add({
    ...{ kind: 'fact', name: 'index memory for each blob', ours: `${each.toFixed(1)} bytes` },
    ...{ bound: `${MEMORY} bytes`, kept: each <= MEMORY },
  });
  await bench.remove(location, printed);
}

async function writeIndex(location: string, blobs: number): Promise<void> {
  const store = await openStore(location);
  const repository = await Repository.open(store, PASSWORD);
  try {
    await repository.lock('shared');
    await repository.loadIndex();
    await repository.saveIndex(madeUpPacks(blobs));
  } finally {
    await repository.close();
    await store.close();
  }
}

function* madeUpPacks(blobs: number): Generator<Pack> {
  const dice = new Dice(7);
  const random = new RandomBytes('index');
  const id = (): string => random.take(32).toString('hex');
  for (let left = blobs; left > 0; left -= BLOBS_PER_PACK) {
    const content: PackedBlob[] = [];
    let offset = 0;
    for (let i = 0; i < Math.min(BLOBS_PER_PACK, left); i++) {
      const length = 400_000 + dice.roll(600_000);
      content.push({ id: id(), type: 'data', offset, length, uncompressedLength: BLOB_BYTES });
      offset += length;
    }
    yield { id: id(), blobs: content };
  }
}
