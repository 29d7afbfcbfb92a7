import { adminClient, makeBucket, s3Environment, type S3Endpoint } from '../e2e/servers/s3-server.ts';
import { startMinio } from '../e2e/servers/minio.ts';
import type { Bench } from './bench.ts';
import type { Contender, Mode, Place } from './contenders.ts';
import type { DataKind } from './data.ts';

const KINDS: readonly DataKind[] = ['random', 'mixed'];
const MODES: readonly Mode[] = ['image', 'stream'];

/** A volume into a real MinIO on this machine and back: it shares the cores with the programs, so trust CPU seconds. */
export async function benchMinio(bench: Bench, tls: boolean): Promise<void> {
  const server = await startMinio({ tls, own: true });
  try {
    for (const kind of KINDS)
      for (const mode of MODES) await benchOne(bench, server, tls ? 'tls' : 'minio', kind, mode);
  } finally {
    await server.stop();
  }
}

async function benchOne(
  bench: Bench,
  server: S3Endpoint,
  label: string,
  kind: DataKind,
  mode: Mode,
): Promise<void> {
  const backup = `${label} backup ${mode} ${kind}`;
  const restore = `${label} restore ${mode} ${kind}`;
  if (!bench.wants(backup) && !bench.wants(restore)) return;
  const { size } = bench.settings;
  const input = { path: bench.volume(kind), mode };
  const buckets = new Map<Contender, string>();
  const fresh = async (contender: Contender): Promise<void> => {
    await clear(contender);
    const bucket = await makeBucket(server);
    buckets.set(contender, bucket);
    await bench.measure(contender.init(placeIn(server, bucket)));
  };
  const clear = async (contender: Contender): Promise<void> => {
    const bucket = buckets.get(contender);
    if (bucket !== undefined) await removeBucket(server, bucket);
    buckets.delete(contender);
  };
  const place = (contender: Contender): Place => placeIn(server, buckets.get(contender) ?? '');

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
      if (buckets.has(contender)) continue;
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
  for (const contender of Object.values(bench.contenders)) await clear(contender);
}

export function placeIn(server: S3Endpoint, bucket: string): Place {
  return { location: `s3:${server.endpoint}/${bucket}`, env: s3Environment(server) };
}

export async function removeBucket(server: S3Endpoint, bucket: string): Promise<void> {
  const client = adminClient(server);
  const names: string[] = [];
  for await (const object of client.listObjectsV2(bucket, '', true) as AsyncIterable<{ name?: string }>) {
    if (object.name !== undefined) names.push(object.name);
  }
  await client.removeObjects(bucket, names);
  await client.removeBucket(bucket);
}
