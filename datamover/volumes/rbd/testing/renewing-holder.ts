import { Cluster } from '../cluster.ts';
import type { RbdConnection } from '../command.ts';
import { holdSnaps } from '../hold.ts';
import type { PinnedSnap } from '../read-job.ts';

/**
 * A process of its own that holds snaps as a session does, until the end of its stdin, and says so far more often than once an hour:
 * `renewing-holder.js CONNECTION SNAPS`.
 */
const [connection = '', snaps = ''] = process.argv.slice(2);
const cluster = await Cluster.connect(JSON.parse(connection) as RbdConnection);
const release = await holdSnaps(cluster, JSON.parse(snaps) as [PinnedSnap], 200);
process.stdout.write('held');
process.stdin.resume().on('end', () => void release().then(() => process.exit(0)));
