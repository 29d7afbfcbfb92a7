import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import { Dice, RandomBytes } from './data.ts';
import { folderSize } from './local.ts';
import { cpu, type Sample } from './measure.ts';

const TEBIBYTE = 2 ** 40;
const BLOCK = 2 ** 20;
const BASE_BLOCKS = 200;
const CHANGED_BLOCKS = 100;
/** Bytes that a second backup may write beside the changed blocks. */
const METADATA = 2 ** 20;
const RSS = 256;

/** A 1 TiB image that is nearly all hole, and a second backup after 100 blocks all over it have changed. */
export async function benchSparse(bench: Bench): Promise<void> {
  if (!bench.wants('sparse')) return;
  const image = join(bench.scratch, 'sparse.img');
  const restored = join(bench.scratch, 'sparse-restored.img');
  const repository = join(bench.scratch, 'sparse-repository');
  const place = { location: repository };
  const { ours } = bench.contenders;
  const dice = new Dice(1);
  const random = new RandomBytes('sparse');
  try {
    scatter(image, BASE_BLOCKS, dice, random);
    await bench.measure(ours.init(place));
    addRun(
      bench,
      'sparse 1 TiB first',
      await bench.measure(ours.backup(place, { path: image, mode: 'image' })),
    );

    scatter(image, CHANGED_BLOCKS, dice, random);
    const before = await folderSize(repository);
    addRun(
      bench,
      'sparse 1 TiB second',
      await bench.measure(ours.backup(place, { path: image, mode: 'image' })),
    );
    const metadata = (await folderSize(repository)) - before - CHANGED_BLOCKS * BLOCK;
    bench.add({
      ...{ kind: 'fact', name: 'sparse 1 TiB metadata', ours: `${(metadata / 1024).toFixed(0)} KiB` },
      ...{ bound: `under 1 MiB beside ${CHANGED_BLOCKS} changed blocks`, kept: metadata < METADATA },
    });
    addRun(
      bench,
      'sparse 1 TiB restore',
      await bench.measure(ours.restore(place, 'image', { file: restored })),
    );
  } finally {
    await bench.remove(image, restored, repository);
  }
}

/** Writes random blocks to places all over an image, which is made when it is not there. */
function scatter(path: string, blocks: number, dice: Dice, random: RandomBytes): void {
  const fd = openSync(path, 'a+');
  closeSync(fd);
  const image = openSync(path, 'r+');
  try {
    ftruncateSync(image, TEBIBYTE);
    const places = new Set<number>();
    while (places.size < blocks) places.add(dice.roll(TEBIBYTE / BLOCK));
    for (const place of places) writeSync(image, random.take(BLOCK), 0, BLOCK, place * BLOCK);
  } finally {
    closeSync(image);
  }
}

function addRun(bench: Bench, name: string, sample: Sample): void {
  bench.add({
    ...{ kind: 'fact', name },
    ours: `${sample.wall.toFixed(1)} s, ${cpu(sample).toFixed(1)} CPU-s, ${sample.rss.toFixed(0)} MiB`,
    ...{ bound: `${RSS} MiB`, kept: sample.rss <= RSS },
  });
}
