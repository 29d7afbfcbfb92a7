import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCuttingProxy, type CuttingProxy } from '../../e2e/servers/cutting-proxy.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startOwnCluster, type OwnCluster } from '../../e2e/servers/kubernetes.ts';
import { isApiError } from './api-error.ts';
import { makeClient, type Client, type KindClient } from './client.ts';
import { loadConfiguration } from './configuration.ts';
import { CONFIG_MAPS, type ConfigMap } from './core-resources.ts';
import { Informer, type Change, type InformerOptions } from './informer.ts';
import { keyOf, type Stored } from './object.ts';
import { insist, until } from './testing/waiting.ts';
import { runWorkers, WorkQueue } from './workqueue.ts';

describePeers(KUBERNETES_PEERS, 'Reflector and informer', () => {
  let cluster: OwnCluster;
  let client: Client;
  let maps: KindClient<ConfigMap>;
  const stop = new AbortController();
  const informers: Informer<ConfigMap>[] = [];
  const proxies: CuttingProxy[] = [];
  const behindProxies: Client[] = [];
  const unexpected: unknown[] = [];

  beforeAll(async () => {
    cluster = await startOwnCluster();
    client = clientAt(cluster.server);
    maps = client.of(CONFIG_MAPS);
  }, 120_000);

  afterAll(async () => {
    stop.abort();
    await Promise.all(informers.map((informer) => informer.stopped));
    for (const each of [client, ...behindProxies]) each.close();
    for (const proxy of proxies) await proxy.stop();
    await cluster.stop();
    expect(unexpected).toEqual([]);
  });

  function clientAt(server: string): Client {
    const configuration = loadConfiguration({ kubeconfig: cluster.kubeconfig });
    return makeClient({ ...configuration, server }, { fieldManager: 'tests' });
  }

  async function clientBehindProxy(): Promise<{ proxy: CuttingProxy; behind: Client }> {
    const proxy = await startCuttingProxy(Number(new URL(cluster.server).port));
    proxies.push(proxy);
    const behind = clientAt(`https://127.0.0.1:${proxy.port}`);
    behindProxies.push(behind);
    return { proxy, behind };
  }

  function inform(
    kind: KindClient<ConfigMap>,
    options: Partial<InformerOptions<ConfigMap>>,
  ): Informer<ConfigMap> {
    const onHandlerFailure = (error: unknown): void => void unexpected.push(error);
    const informer = new Informer(kind, { onHandlerFailure, signal: stop.signal, ...options });
    informers.push(informer);
    return informer;
  }

  function state(objects: readonly Stored<ConfigMap>[]): Map<string, string> {
    return new Map(objects.map((object) => [keyOf(object), object.metadata.resourceVersion]));
  }

  /** Waits until the cache holds what the server holds. */
  async function expectEqual(informer: Informer<ConfigMap>, namespace: string): Promise<void> {
    const truth = state((await maps.list({ namespace, labelSelector: 'value' })).items);
    const isEqual = (): boolean => {
      const cached = state(informer.list());
      return cached.size === truth.size && [...truth].every(([key, version]) => cached.get(key) === version);
    };
    await until(isEqual, () => `${informer.size} objects of ${truth.size}`);
  }

  /** What handlers were told, folded: an object is there when added and not deleted since. */
  function follow(informer: Informer<ConfigMap>): { present: Map<string, string>; wrong: string[] } {
    const present = new Map<string, string>();
    const wrong: string[] = [];
    informer.onChange((change: Change<Stored<ConfigMap>>) => {
      const uid = change.object.metadata.uid;
      const known = present.has(uid);
      if (known === (change.type === 'added')) wrong.push(`${change.type} ${keyOf(change.object)}`);
      if (change.type === 'deleted') present.delete(uid);
      else present.set(uid, change.object.metadata.resourceVersion);
    });
    return { present, wrong };
  }

  const put = (namespace: string, name: string, value: string): Promise<unknown> =>
    maps.apply({ metadata: { namespace, name, labels: { value } }, data: { value } });

  test('lists in pages, follows, finds by index, and survives handlers that throw', async () => {
    const namespace = await cluster.makeNamespace();
    const names = Array.from({ length: 25 }, (_, i) => `object-${i}`);
    await Promise.all(names.map((name) => put(namespace, name, 'old')));
    const thrown: string[] = [];
    const informer = inform(maps, {
      ...{ namespace, pageSize: 10, labelSelector: 'value' },
      indexes: { value: (map) => [map.data?.['value']] },
      onHandlerFailure: (error) => thrown.push(String(error)),
    });
    informer.onChange(() => {
      throw new Error('a bad handler');
    });
    const { present, wrong } = follow(informer);
    expect(informer.hasSynced).toBe(false);
    await informer.synced;
    expect(informer.hasSynced).toBe(true);
    expect(
      informer
        .list()
        .map(({ metadata }) => metadata.name)
        .toSorted(),
    ).toEqual(names.toSorted());
    await put(namespace, 'object-3', 'new');
    await maps.delete(namespace, 'object-4');
    await until(
      () => informer.byIndex('value', 'new').length === 1 && informer.size === 24,
      () => 'changes',
    );
    expect(informer.byIndex('value', 'new')[0]?.metadata.name).toBe('object-3');
    expect(informer.byIndex('value', 'old')).toHaveLength(23);
    expect(informer.get(namespace, 'object-4')).toBeUndefined();
    expect(present.size).toBe(24);
    expect(wrong).toEqual([]);
    expect(thrown.length).toBeGreaterThanOrEqual(27);
    expect(JSON.stringify(informer.list())).not.toContain('managedFields');
  });

  test('looks at everything again from time to time', async () => {
    const namespace = await cluster.makeNamespace();
    await put(namespace, 'still', 'same');
    const informer = inform(maps, { namespace, relistMs: 1_000, labelSelector: 'value' });
    const types: string[] = [];
    informer.onChange(({ type }) => types.push(type));
    await until(
      () => types.filter((type) => type === 'resynced').length >= 2,
      () => types.join(),
    );
    expect(types[0]).toBe('added');
    expect(new Set(types.slice(1))).toEqual(new Set(['resynced']));
  });

  test('the API server is killed under load: no event lost, nothing started twice', async () => {
    const namespace = await cluster.makeNamespace();
    const informer = inform(maps, { namespace, labelSelector: 'value' });
    const { present, wrong } = follow(informer);

    // A controller that starts one job per object: a second start of the same would be seen as one.
    const starts = new Map<string, number>();
    const queue = new WorkQueue({ backoff: { firstMs: 20, maxMs: 500 } });
    informer.onChange(({ object }) => queue.add(keyOf(object)));
    const working = runWorkers({
      ...{ queue, workers: 4, signal: stop.signal, onFailure: () => undefined },
      reconcile: async (key) => {
        const object = informer.byKey(key);
        if (object === undefined) return undefined;
        const name = `job-${object.metadata.uid}`;
        try {
          await maps.create({ metadata: { namespace, name } });
          starts.set(name, (starts.get(name) ?? 0) + 1);
        } catch (error) {
          if (!isApiError(error, 'exists')) throw error;
        }
        return undefined;
      },
    });

    const gone = (error: unknown): boolean => isApiError(error, 'missing');
    const writer = async (which: number): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        const name = `object-${which}-${i}`;
        await insist(
          () => put(namespace, name, '1'),
          () => false,
        );
        if (i % 3 === 0)
          await insist(
            () => put(namespace, name, '2'),
            () => false,
          );
        if (i % 4 === 0) await insist(() => maps.delete(namespace, name), gone);
      }
    };
    const writing = Promise.all([0, 1, 2, 3, 4].map(writer));
    for (const share of [40, 120]) {
      await until(
        () => starts.size >= share,
        () => `${starts.size} starts`,
      );
      await cluster.apiServer.kill();
      await cluster.apiServer.start();
    }
    await writing;

    const { items } = await maps.list({ namespace, labelSelector: 'value' });
    expect(items).toHaveLength(5 * 45);
    const version = (object: Stored<ConfigMap>): [string, string] => [
      object.metadata.uid,
      object.metadata.resourceVersion,
    ];
    const truth = new Map(items.map(version));
    const isUpToDate = (): boolean =>
      present.size === truth.size && [...truth].every(([uid, at]) => present.get(uid) === at);
    await until(isUpToDate, () => `${present.size} of ${truth.size} objects known`);
    expect(wrong).toEqual([]);
    const jobs = async (): Promise<Set<string>> => {
      const all = (await maps.list({ namespace })).items.map(({ metadata }) => metadata.name);
      return new Set(all.filter((name) => name.startsWith('job-')));
    };
    const isAllStarted = async (): Promise<boolean> => {
      const names = await jobs();
      return [...truth.keys()].every((uid) => names.has(`job-${uid}`));
    };
    await until(isAllStarted, () => `${starts.size} starts`);
    expect([...starts.values()].every((count) => count === 1)).toBe(true);
    queue.close();
    await working;
  }, 300_000);

  test('a gap in which history was compacted: everything is listed again, and what went is told', async () => {
    const namespace = await cluster.makeNamespace();
    const { proxy, behind } = await clientBehindProxy();
    const failures: unknown[] = [];
    await put(namespace, 'stays', 'old');
    await put(namespace, 'goes', 'old');
    await put(namespace, 'comes-again', 'old');
    const informer = inform(behind.of(CONFIG_MAPS), {
      ...{ namespace, labelSelector: 'value' },
      onFailure: (error) => failures.push(error),
    });
    const { wrong } = follow(informer);
    const told: string[] = [];
    await informer.synced;
    informer.onChange(({ type, object }) => told.push(`${type} ${object.metadata.name}`));
    told.length = 0;
    proxy.refuse();
    await maps.delete(namespace, 'goes');
    await maps.delete(namespace, 'comes-again');
    await put(namespace, 'comes-again', 'new');
    await put(namespace, 'stays', 'new');
    await put(namespace, 'new', 'new');
    // etcd forgets, and the API server's own memory goes with it.
    await cluster.compact();
    await cluster.etcdServer.kill();
    await cluster.apiServer.kill();
    await cluster.etcdServer.start();
    await cluster.apiServer.start();
    proxy.mend();
    await until(
      () => told.length >= 5,
      () => told.join(', '),
    );
    expect(told.toSorted()).toEqual(
      ['added comes-again', 'added new', 'deleted comes-again', 'deleted goes', 'updated stays'].toSorted(),
    );
    expect(wrong).toEqual([]);
    const reasons = failures.map((error) => (isApiError(error) ? error.reason : String(error)));
    expect(reasons).toContain('unreachable');
    expect(reasons).toContain('gone');
  }, 180_000);

  test('a connection that has silently died, and many that are cut', async () => {
    const namespace = await cluster.makeNamespace();
    const { proxy, behind } = await clientBehindProxy();
    const failures: string[] = [];
    const informer = inform(behind.of(CONFIG_MAPS), {
      ...{ namespace, labelSelector: 'value', silenceMs: 2_000 },
      onFailure: (error) => failures.push(String(error)),
    });
    const { wrong } = follow(informer);
    await informer.synced;
    // Seen, so the watch is open.
    await put(namespace, 'before', '1');
    await until(
      () => informer.size === 1,
      () => failures.join('; '),
    );
    proxy.swallow();
    await put(namespace, 'in-the-dark', '1');
    // The connection stays open and silent for ever: only the informer's own patience ends it.
    await until(
      () => failures.some((text) => text.includes('silent for 2000 ms')),
      () => failures.join('; '),
    );
    expect(informer.size).toBe(1);
    proxy.mend();
    await until(
      () => informer.size === 2,
      () => 'after silence',
    );
    const writing = (async () => {
      for (let i = 0; i < 100; i++) await put(namespace, `object-${i % 20}`, String(i));
    })();
    for (let i = 0; i < 5; i++) {
      const size = informer.size;
      proxy.cut();
      await until(
        () => informer.size > size || informer.size >= 20,
        () => `${informer.size} objects`,
      );
    }
    await writing;
    await expectEqual(informer, namespace);
    expect(wrong).toEqual([]);
  }, 120_000);

  test('2,000 objects cost no more memory however often they are listed and changed', async () => {
    const namespace = await cluster.makeNamespace();
    const payload = 'x'.repeat(1_000);
    const names = Array.from({ length: 2_000 }, (_, i) => `object-${i}`);
    const round = async (value: string): Promise<void> => {
      let next = 0;
      const one = async (): Promise<void> => {
        for (let name = names[next++]; name !== undefined; name = names[next++]) {
          await put(namespace, name, value);
        }
      };
      await Promise.all(Array.from({ length: 12 }, one));
    };
    const before = heapMiB();
    for (const name of names.slice(0, 1))
      await maps.create({ metadata: { namespace, name }, data: { payload } });
    await round('1');
    const informer = inform(maps, { namespace, relistMs: 1_000, labelSelector: 'value' });
    await until(
      () => informer.size === 2_000,
      () => `${informer.size} objects`,
    );
    let lists = 0;
    informer.onChange(({ type, object }) => {
      if (type === 'resynced' && object.metadata.name === 'object-0') lists += 1;
    });
    await until(
      () => lists >= 2,
      () => `${lists} lists`,
    );
    const filled = heapMiB();
    await until(
      () => lists >= 6,
      () => `${lists} lists`,
    );
    expect(heapMiB() - filled).toBeLessThan(4);
    expect(filled - before).toBeLessThan(16);
  }, 180_000);
});

/** Memory of living objects, after a full collection. */
function heapMiB(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
