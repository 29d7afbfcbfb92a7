/** `ranges-main.js JOB` prints the bytes of the ranges that it is given on stdin, one after the other. */
import { text } from 'node:stream/consumers';
import { describeCause } from '../../errors.ts';
import type { ByteRange } from '../driver.ts';
import type { RangesJob } from './ranges.ts';
import { Cluster } from './librbd.ts';
import { writeAll } from './write-all.ts';

const STDOUT = 1;
/** As many as the threads that librbd is called in. */
const AT_ONCE = 4;

try {
  const { connection, source } = JSON.parse(process.argv[2] ?? '') as RangesJob;
  const ranges = JSON.parse(await text(process.stdin)) as ByteRange[];
  const cluster = await Cluster.connect(connection);
  const pool = cluster.pool(source.name.pool, source.name.namespace);
  const image = await pool.openImage(source.imageId, source.snapId);
  const reads: Promise<Uint8Array>[] = [];
  const begin = (index: number): void => {
    const range = ranges[index];
    if (range === undefined) return;
    const bytes = Buffer.alloc(range.length);
    const reading = image.read(range.offset, bytes).then(() => bytes);
    reading.catch(() => undefined);
    reads[index] = reading;
  };
  for (let index = 0; index < AT_ONCE; index++) begin(index);
  for (let index = 0; index < ranges.length; index++) {
    const bytes = await reads[index];
    begin(index + AT_ONCE);
    if (bytes !== undefined) writeAll(STDOUT, bytes);
    Reflect.deleteProperty(reads, index);
  }
  process.exit(0);
} catch (error) {
  process.stderr.write(`${describeCause(error)}\n`);
  process.exit(1);
}
