import { makeBucket, s3Environment, type S3Endpoint, type S3Server } from '../e2e/servers/s3-server.ts';
import { startMinio } from '../e2e/servers/minio.ts';
import type { Bench } from './bench.ts';
import type { Contender, Mode, Place } from './contenders.ts';
import type { DataKind } from './data.ts';

const KINDS: readonly DataKind[] = ['random', 'mixed'];
const MODES: readonly Mode[] = ['image', 'stream'];

/** A volume into a real MinIO on this machine and back: it shares the cores with the programs, so trust CPU seconds. */
export async function benchMinio(bench: Bench, tls: boolean): Promise<void> {
  for (const kind of KINDS) for (const mode of MODES) await benchOne(bench, tls, kind, mode);
}

async function benchOne(bench: Bench, tls: boolean, kind: DataKind, mode: Mode): Promise<void> {
  const label = tls ? 'tls' : 'minio';
  const backup = `${label} backup ${mode} ${kind}`;
  const restore = `${label} restore ${mode} ${kind}`;
  if (!bench.wants(backup) && !bench.wants(restore)) return;
  const { size } = bench.settings;
  const input = { path: bench.volume(kind), mode };
  // A server for each repository: MinIO takes its time to free what was deleted, and all of this lies in memory.
  const places = new Map<Contender, { readonly server: S3Server; readonly place: Place }>();
  const clear = async (contender: Contender): Promise<void> => {
    await places.get(contender)?.server.stop();
    places.delete(contender);
  };
  const fresh = async (contender: Contender): Promise<void> => {
    await clear(contender);
    const server = await startMinio({ tls, own: true });
    const place = placeIn(server, await makeBucket(server));
    places.set(contender, { server, place });
    await bench.measure(contender.init(place));
  };
  const place = (contender: Contender): Place => {
    const found = places.get(contender);
    if (found === undefined) throw new Error(`${contender.name} has no repository`);
    return found.place;
  };

  try {
    await bench.compare(
      backup,
      size,
      { cpu: 2.2, rss: 256 },
      {
        before: fresh,
        job: (contender) => contender.backup(place(contender), input),
      },
    );
    if (bench.wants(restore)) {
      for (const contender of Object.values(bench.contenders)) {
        if (places.has(contender)) continue;
        await fresh(contender);
        await bench.measure(contender.backup(place(contender), input));
      }
      await bench.compare(
        restore,
        size,
        { cpu: 1, rss: 256 },
        {
          job: (contender) => contender.restore(place(contender), mode, 'null'),
        },
      );
    }
  } finally {
    for (const contender of Object.values(bench.contenders)) await clear(contender);
  }
}

export function placeIn(server: S3Endpoint, bucket: string): Place {
  return { location: `s3:${server.endpoint}/${bucket}`, env: s3Environment(server) };
}
