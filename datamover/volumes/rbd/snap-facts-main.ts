/** `snap-facts-main.js JOB` prints the SnapFacts of an image as JSON. */
import { describeCause } from '../../errors.ts';
import { Cluster, hasDiffById } from './librbd.ts';
import type { SnapFacts, SnapFactsJob } from './shared-job.ts';
import { writeAll } from './write-all.ts';

const STDOUT = 1;

try {
  const { connection, image, snapIds } = JSON.parse(process.argv[2] ?? '') as SnapFactsJob;
  const diffById = hasDiffById();
  const flags: number[] = [];
  if (!diffById) {
    const cluster = await Cluster.connect(connection);
    const pool = cluster.pool(image.name.pool, image.name.namespace);
    for (const id of snapIds) {
      const open = await pool.openImage(image.imageId, id);
      flags.push(open.flags);
      open.close();
    }
  }
  writeAll(STDOUT, Buffer.from(JSON.stringify({ diffById, flags } satisfies SnapFacts)));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${describeCause(error)}\n`);
  process.exit(1);
}
