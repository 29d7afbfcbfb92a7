import { makeBucket } from '../e2e/servers/s3-server.ts';
import { startMinio } from '../e2e/servers/minio.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { median } from './measure.ts';
import { placeIn } from './minio.ts';
import { countRequests, type Counts } from './request-counter.ts';

/** A backup needs no more listings than that, however big the repository. */
const LISTS = 3;

/** Counts what a first backup, an unchanged one and a restore ask of an S3 server. Nothing is timed here. */
export async function benchRequests(bench: Bench): Promise<void> {
  if (!bench.wants('requests')) return;
  const server = await startMinio({ own: true });
  const counter = await countRequests(server.endpoint);
  try {
    const counted = async (contender: Contender): Promise<readonly Counts[]> => {
      const place = placeIn({ ...server, endpoint: counter.endpoint }, await makeBucket(server));
      const input = { path: bench.volume('random'), mode: 'image' } as const;
      await bench.measure(contender.init(place));
      counter.take();
      const all: Counts[] = [];
      const jobs = [
        contender.backup(place, input),
        contender.backup(place, input),
        contender.restore(place, 'image', 'null'),
      ];
      for (const job of jobs) {
        await bench.measure(job);
        all.push(counter.take());
      }
      return all;
    };
    const ours = await counted(bench.contenders.ours);
    const restic = await counted(bench.contenders.restic);
    ['first backup', 'unchanged backup', 'restore'].forEach((job, i) => {
      const own = ours[i];
      const peer = restic[i];
      if (own !== undefined && peer !== undefined) report(bench, job, own, peer);
    });
  } finally {
    await counter.stop();
    await server.stop();
  }
}

function report(bench: Bench, job: string, ours: Counts, restic: Counts): void {
  const name = `requests ${job}`;
  const lists = ours.requests.get('LIST') ?? 0;
  const heads = [...ours.requests]
    .filter(([kind]) => kind.startsWith('HEAD'))
    .reduce((sum, [, n]) => sum + n, 0);
  bench.add({
    ...{ kind: 'fact', name, ours: describe(ours), restic: describe(restic) },
    ...{ bound: `at most ${LISTS} LIST, no HEAD for each blob`, kept: lists <= LISTS && heads <= 1 },
  });
  if (ours.packs.length === 0) return;
  bench.add({
    ...{ kind: 'fact', name: `${name}: packs`, ours: describePacks(ours), restic: describePacks(restic) },
    ...{ bound: 'about 16 MiB, several at once', kept: isAbout16(ours) && ours.uploadsAtOnce > 1 },
  });
}

function describe({ requests }: Counts): string {
  return [...requests]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([kind, count]) => `${kind} ${count}`)
    .join(', ');
}

function describePacks({ packs, uploadsAtOnce }: Counts): string {
  return `${packs.length} of ${mebibytes(median(packs))} MiB, ${uploadsAtOnce} at once`;
}

function isAbout16({ packs }: Counts): boolean {
  const size = median(packs) / 2 ** 20;
  // An unchanged volume leaves only a pack of trees.
  return packs.length < 3 || (size >= 14 && size <= 20);
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 3 : 1);
}
