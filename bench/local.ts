import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import type { Contender, Mode, Output, Place } from './contenders.ts';
import type { DataKind } from './data.ts';
import type { Targets } from './results.ts';

const MODES: readonly Mode[] = ['image', 'stream'];
const RSS = 256;

const FIRST: Record<Mode, Record<DataKind, Targets>> = {
  image: {
    random: { cpu: 3, wall: 2, rss: RSS },
    mixed: { cpu: 2.5, wall: 2, size: 1.03, rss: RSS },
  },
  stream: {
    random: { cpu: 2.2, wall: 2, rss: RSS },
    mixed: { cpu: 2.2, wall: 2, size: 1.03, rss: RSS },
  },
};
const UNCHANGED: Record<Mode, Targets> = { image: { cpu: 2.5, rss: RSS }, stream: { cpu: 1.5, rss: RSS } };
const RESTORE: Targets = { cpu: 1.2, wall: 1.3, rss: RSS };

/** A volume into a repository in a folder, again, and back. */
export async function benchLocal(bench: Bench, kind: DataKind): Promise<void> {
  const { size } = bench.settings;
  for (const mode of MODES) {
    const name = (job: string): string => `${job} ${mode} ${kind}`;
    if (!['first', 'unchanged', 'restore'].some((job) => bench.wants(name(job)))) continue;
    const input = { path: bench.volume(kind), mode };
    const place = ({ name: who }: Contender): Place => ({
      location: join(bench.scratch, `${who}-repository`),
    });
    const fresh = async (contender: Contender): Promise<void> => {
      await bench.remove(place(contender).location, join(bench.scratch, 'cache'));
      await bench.measure(contender.init(place(contender)));
    };

    await bench.compare(name('first'), size, FIRST[mode][kind], {
      before: fresh,
      job: (contender) => contender.backup(place(contender), input),
      after: (contender) => folderSize(place(contender).location),
    });

    if (bench.wants(name('unchanged')) || bench.wants(name('restore'))) {
      for (const contender of Object.values(bench.contenders)) {
        await fresh(contender);
        await bench.measure(contender.backup(place(contender), input));
      }
    }
    await bench.compare(name('unchanged'), size, UNCHANGED[mode], {
      job: (contender) => contender.backup(place(contender), input),
    });
    const file = join(bench.scratch, 'restored');
    const outputs: Record<string, Output> = { null: 'null', pipe: 'pipe', file: { file } };
    for (const [where, output] of Object.entries(outputs)) {
      await bench.compare(`${name('restore')} to ${where}`, size, RESTORE, {
        job: (contender) => contender.restore(place(contender), mode, output),
        after: async () => {
          await bench.remove(file);
          return undefined;
        },
      });
    }
    for (const contender of Object.values(bench.contenders)) await bench.remove(place(contender).location);
  }
}

/** Bytes of all files below a folder. */
export async function folderSize(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}
