/** `make cluster-down`: ends what `make cluster-up` began, and nothing else. Says so when there is nothing. */
import { setTimeout as delay } from 'node:timers/promises';
import { isGone } from '../../datamover/process/owner.ts';
import { sweep } from '../servers/scratch.ts';
import { forgetState, runningCluster } from './state.ts';

/** All servers end in turn, after a start that is under way has come to its end; later the kernel ends them with their parent. */
const PATIENCE_MS = 300_000;

const cluster = runningCluster();
if (cluster === undefined) {
  console.log('No cluster is up.');
} else {
  process.kill(cluster.pid, 'SIGTERM');
  const deadline = Date.now() + PATIENCE_MS;
  for (let forced = false; !isGone(cluster.owner, cluster.since, 'one machine');) {
    if (!forced && Date.now() > deadline) {
      process.kill(cluster.pid, 'SIGKILL');
      forced = true;
    }
    await delay(200);
  }
  console.log('The cluster is down; its data is gone.');
}
// A cluster that was killed leaves its word and its files behind.
if (runningCluster() === undefined) await forgetState();
sweep();
