import { Cluster } from '../cluster.ts';
import type { RbdConnection } from '../command.ts';
import { holdSnaps } from '../hold.ts';
import { OpenImage } from '../open-image.ts';
import type { PinnedSnap } from '../read-job.ts';

/**
 * A process of its own that dies while it begins to hold: `dying-holder.js CONNECTION SNAPS N` holds these snaps and ends instead of
 * the N-th thing that it asks of an image. It says `held` where it came to the end before that. It closes the image, as the cluster
 * does half a minute after a process was killed: who writes to it sooner waits for one that does not answer.
 */
const [connection = '', snaps = '', last = ''] = process.argv.slice(2);

let asked = 0;
const asks = OpenImage.prototype as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
const close = asks['close'];
for (const name of ['listMeta', 'setMeta', 'isProtected', 'protect', 'close']) {
  const ask = asks[name];
  asks[name] = async function (this: unknown, ...args) {
    asked += 1;
    if (asked < Number(last)) return ask?.apply(this, args);
    if (asked === Number(last)) void close?.call(this).then(() => process.kill(process.pid, 'SIGKILL'));
    return new Promise(() => undefined);
  };
}

const cluster = await Cluster.connect(JSON.parse(connection) as RbdConnection);
await holdSnaps(cluster, JSON.parse(snaps) as [PinnedSnap]);
process.stdout.write('held', () => process.kill(process.pid, 'SIGKILL'));
