import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, type Cluster } from '../../e2e/servers/kubernetes.ts';
import { makeClient, type Client } from './client.ts';
import { loadConfiguration } from './configuration.ts';
import { CONFIG_MAPS, type ConfigMap } from './core-resources.ts';
import { EventRecorder, EVENTS, type Event } from './events.ts';
import type { Stored } from './object.ts';

describePeers(KUBERNETES_PEERS, 'Event recorder', () => {
  let cluster: Cluster;
  let client: Client;
  let namespace: string;
  let object: Stored<ConfigMap>;
  const failures: unknown[] = [];
  beforeAll(async () => {
    cluster = await startCluster();
    client = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), { fieldManager: 'tests' });
    namespace = await cluster.makeNamespace();
    object = await client.of(CONFIG_MAPS).create({ metadata: { namespace, name: 'subject' } });
  }, 120_000);
  afterAll(async () => {
    client.close();
    await cluster.stop();
  });

  const makeRecorder = (by = client): EventRecorder =>
    new EventRecorder({
      ...{ client: by, component: 'tests', instance: 'pod-1' },
      onFailure: (error) => failures.push(error),
    });

  async function events(reason: string): Promise<readonly Event[]> {
    const { items } = await client.of(EVENTS).list({ namespace, fieldSelector: `reason=${reason}` });
    return items;
  }

  test('the same sentence is one event with a count, also after a restart; kubectl describe shows it', async () => {
    const recorder = makeRecorder();
    for (let i = 0; i < 5; i++) recorder.record(object, 'Warning', 'Same', 'the bucket does not answer');
    await recorder.flush();
    const restarted = makeRecorder();
    restarted.record(object, 'Warning', 'Same', 'the bucket does not answer');
    restarted.record(object, 'Warning', 'Same', 'another sentence');
    await restarted.flush();
    const counts = (await events('Same')).map(({ message, count }) => `${count} ${message}`);
    expect(counts.toSorted()).toEqual(['1 another sentence', '6 the bucket does not answer']);
    const shown = await cluster.kubectl(['describe', `--namespace=${namespace}`, 'configmap/subject']);
    expect(shown).toMatch(/Warning +Same .*tests +the bucket does not answer/);
  });

  test('a flood of different sentences ends in a few events', async () => {
    const recorder = makeRecorder();
    for (let i = 0; i < 100; i++) recorder.record(object, 'Normal', 'Flood', `progress ${i}`);
    await recorder.flush();
    const found = await events('Flood');
    expect(found).toHaveLength(11);
    expect(found.find(({ message }) => message.startsWith('(one of many'))?.count).toBe(90);
    expect(failures).toEqual([]);
  });

  test('a failure to write is told, and the next events are written', async () => {
    await cluster.kubectl(['create', 'serviceaccount', 'mute', `--namespace=${namespace}`]);
    const kubeconfig = await cluster.kubeconfigOf(namespace, 'mute');
    const mute = makeClient(loadConfiguration({ kubeconfig }), { fieldManager: 'tests' });
    const recorder = makeRecorder(mute);
    recorder.record(object, 'Normal', 'Refused', 'not for me');
    await recorder.flush();
    expect(failures.splice(0)).toMatchObject([{ reason: 'forbidden' }]);
    const grant = ['create', 'rolebinding', 'speaks', '--clusterrole=edit', `--namespace=${namespace}`];
    await cluster.kubectl([...grant, `--serviceaccount=${namespace}:mute`]);
    recorder.record(object, 'Normal', 'Refused', 'not for me');
    await recorder.flush();
    expect(failures).toEqual([]);
    expect(await events('Refused')).toHaveLength(1);
    mute.close();
  });
});
