/**
 * A process that runs for a lease and, while it leads, counts in a ConfigMap: `candidate.js KUBECONFIG NAMESPACE IDENTITY`. Tests
 * hold it up and kill it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describeCause } from '../../errors.ts';
import { makeClient } from '../client.ts';
import { loadConfiguration } from '../configuration.ts';
import { CONFIG_MAPS } from '../core-resources.ts';
import { runWhenLeader } from '../leader-election.ts';

const [kubeconfig = '', namespace = '', identity = ''] = process.argv.slice(2);
const client = makeClient(loadConfiguration({ kubeconfig }), { fieldManager: 'candidate' });
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
console.log('running');

await runWhenLeader(
  {
    ...{ client, namespace, name: 'election', identity, durationSeconds: 3, retryMs: 300 },
    onFailure: (error) => console.error(describeCause(error)),
    signal: stop.signal,
  },
  async (leadership) => {
    const maps = leadership.client.of(CONFIG_MAPS);
    while (!leadership.signal.aborted) {
      const counter = await maps.get(namespace, 'counter');
      const count = Number(counter.data?.['count']) + 1;
      // Only on top of what was read: a write that was held up between the look at the clock and the server changes nothing.
      await maps.update({ ...counter, data: { count: String(count), by: identity } });
      await delay(20);
    }
  },
);
client.close();
