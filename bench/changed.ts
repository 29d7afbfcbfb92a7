import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePeer } from '../e2e/servers/peers.ts';
import type { Bench } from './bench.ts';
import { Dice, RandomBytes } from './data.ts';
import { benchFull } from './full.ts';
import { median, type Job, type Sample } from './measure.ts';
import { openRbdVolume } from './rbd-volume.ts';
import type { BenchVolume, BlockWrite } from './storage.ts';
import { openZfsVolume } from './zfs-volume.ts';

const BLOCK = 4096;
const MEBIBYTE = 2 ** 20;
const RSS = 256;
/** How many times as fast as restic, which has to read all of the image. */
const BESIDE_RESTIC = 20;
/** How many times the time of the storage's own tool. */
const BESIDE_TOOL = 1.3;
/** How many times the touched MiB may be read of the source. */
const READ = 1.1;

/**
 * What "1 % has changed" may mean: a block of 4 KiB in each hundredth MiB, or so many blocks that they are 1 % of the image. The
 * latter touches nine MiB of ten, and each must be stored anew: `stored` says how much that is.
 */
const DENSITIES = [
  { name: '1 % of MiB', blocks: (bytes: number) => Math.ceil(bytes / MEBIBYTE / 100) },
  { name: '1 % of bytes', blocks: (bytes: number) => Math.ceil(bytes / BLOCK / 100) },
] as const;

const OPEN = { rbd: openRbdVolume, zfs: openZfsVolume };

/** A volume on a real storage: its full backup, and one after a hundredth of it has changed. */
export async function benchStorage(bench: Bench, storage: BenchVolume['storage']): Promise<void> {
  const wanted = DENSITIES.filter(({ name }) => bench.wants(`changed ${storage} ${name}`));
  if (wanted.length === 0 && !bench.wants(`full ${storage}`)) return;
  const volume = await OPEN[storage](bench.volume('mixed'));
  try {
    // Out of the emulated machine comes less than a backup takes: see `full zvol`.
    if (storage === 'rbd') await benchFull(bench, volume);
    if (wanted.length > 0) await benchChanged(bench, volume, wanted);
  } finally {
    await volume.stop();
  }
}

async function benchChanged(
  bench: Bench,
  volume: BenchVolume,
  densities: readonly (typeof DENSITIES)[number][],
): Promise<void> {
  const { ours, restic } = bench.contenders;
  const { size, rounds } = bench.settings;
  const place = (who: string) => ({ location: join(bench.scratch, `${who}-changed`), env: volume.env });
  const summary = join(bench.scratch, 'summary.json');
  const jobs = (snapshot: string, from: string): Record<'ours' | 'restic' | 'tool', Job> => {
    const backup = ours.backup(place('ours'), { path: '', mode: 'image' });
    const args = ['--json', 'backup', ...volume.backupArguments(snapshot), '--volume', 'bench/changed'];
    return {
      ours: { file: backup.file, args, env: backup.env, stdout: summary },
      restic: {
        file: requirePeer('restic-current').file,
        args: [
          ...['backup', '-q', '--stdin-filename', 'data', '--stdin-from-command', '--'],
          ...volume.print(snapshot),
        ],
        env: restic.init(place('restic')).env,
      },
      tool: { ...volume.send(snapshot, from), env: volume.env, stdout: { pipe: true } },
    };
  };
  try {
    for (const contender of [ours, restic]) {
      await bench.measure(contender.init(place(contender.name)));
      await bench.measure(jobs('first', '')[contender.name]);
    }
    const dice = new Dice(3);
    const random = new RandomBytes(`changed ${volume.storage}`);
    let last = 'first';
    let count = 0;
    for (const { name, blocks } of densities) {
      const samples: Record<'ours' | 'restic' | 'tool', Sample[]> = { ours: [], restic: [], tool: [] };
      const read: number[] = [];
      const stored: number[] = [];
      let touched = 0;
      for (let round = 0; round < rounds; round++) {
        const snapshot = `s${count++}`;
        const writes = scattered(size, blocks(size), dice, random);
        touched = new Set(writes.map(({ offset }) => Math.floor(offset / MEBIBYTE))).size;
        await volume.change(writes, snapshot);
        const job = jobs(snapshot, last);
        for (const who of ['tool', 'ours', 'restic'] as const)
          samples[who].push(await bench.measure(job[who]));
        const said = JSON.parse((await readFile(summary, 'utf8')).trim().split('\n').at(-1) ?? '') as {
          readonly bytes_read: number;
          readonly data_added_packed: number;
        };
        read.push(said.bytes_read);
        stored.push(said.data_added_packed);
        last = snapshot;
      }
      const title = `changed ${volume.storage} ${name}`;
      const targets = { wall: BESIDE_RESTIC, rss: RSS };
      bench.add({
        ...{ kind: 'comparison', name: title, bytes: size, targets },
        ...{ ours: samples.ours, restic: samples.restic },
      });
      const wall = (who: keyof typeof samples): number => median(samples[who].map((sample) => sample.wall));
      const ratio = median(samples.ours.map((own, i) => own.wall / (samples.tool[i]?.wall ?? Number.NaN)));
      bench.add({
        ...{ kind: 'fact', name: `${title}: beside ${volume.tool}` },
        ours: `${wall('ours').toFixed(2)} s, the tool ${wall('tool').toFixed(2)} s: ${ratio.toFixed(2)}x`,
        ...{ bound: `${BESIDE_TOOL}x`, kept: ratio <= BESIDE_TOOL },
      });
      const most = median(read);
      bench.add({
        ...{ kind: 'fact', name: `${title}: read of the source` },
        ours: `${mebibytes(most)} MiB for ${touched} touched MiB, ${mebibytes(median(stored))} MiB stored`,
        ...{ bound: `${READ}x of what is touched`, kept: most <= READ * touched * MEBIBYTE },
      });
    }
  } finally {
    await bench.remove(place('ours').location, place('restic').location, summary);
  }
}

/** Random blocks at places all over the image; in ascending order, as a disk's cache would write them. */
function scattered(bytes: number, count: number, dice: Dice, random: RandomBytes): BlockWrite[] {
  const places = new Set<number>();
  while (places.size < count) places.add(dice.roll(Math.floor(bytes / BLOCK)));
  return [...places]
    .sort((a, b) => a - b)
    .map((place) => ({ offset: place * BLOCK, bytes: Buffer.from(random.take(BLOCK)) }));
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}
