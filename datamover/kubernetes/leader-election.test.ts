import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, type Cluster } from '../../e2e/servers/kubernetes.ts';
import { startRestartable, type Restartable } from '../../e2e/servers/restartable.ts';
import { makeClient, type Client } from './client.ts';
import { loadConfiguration } from './configuration.ts';
import { CONFIG_MAPS } from './core-resources.ts';
import { Informer } from './informer.ts';
import { runWhenLeader } from './leader-election.ts';
import { LeaseClaim, LeaseObserver, LEASES } from './lease.ts';
import { until } from './testing/waiting.ts';

describePeers(KUBERNETES_PEERS, 'Leader election', () => {
  let cluster: Cluster;
  let client: Client;
  let namespace: string;
  const stop = new AbortController();
  beforeAll(async () => {
    cluster = await startCluster();
    client = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), { fieldManager: 'tests' });
    namespace = await cluster.makeNamespace();
  }, 120_000);
  afterAll(async () => {
    stop.abort();
    client.close();
    await cluster.stop();
  });

  const claimOf = (identity: string, name: string, durationSeconds = 2): LeaseClaim =>
    new LeaseClaim({ client, namespace, name, identity, durationSeconds });

  test('one holds the lease, renews it, and gives it away at once', async () => {
    const [one, other] = [claimOf('one', 'simple', 60), claimOf('other', 'simple', 60)];
    expect(await one.acquireOrRenew()).toBe(true);
    expect(await other.acquireOrRenew()).toBe(false);
    expect(await one.acquireOrRenew()).toBe(true);
    expect([one.isValid, other.isValid]).toEqual([true, false]);
    await one.release();
    expect(one.isValid).toBe(false);
    expect(await other.acquireOrRenew()).toBe(true);
    const lease = await client.of(LEASES).get(namespace, 'simple');
    expect(lease.spec).toMatchObject({ holderIdentity: 'other', leaseTransitions: 1 });
  });

  test('of many who ask at the same time one gets it', async () => {
    const claims = Array.from({ length: 12 }, (_, i) => claimOf(`candidate-${i}`, 'crowd', 60));
    const answers = await Promise.all(claims.map((claim) => claim.acquireOrRenew()));
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  test('a renewal whose answer was lost does not lose the lease', async () => {
    const claim = claimOf('forgetful', 'lost-answer', 60);
    await claim.acquireOrRenew();
    const stored = await client.of(LEASES).get(namespace, 'lost-answer');
    await client.of(LEASES).update({ ...stored, spec: { ...stored.spec, leaseTransitions: 7 } });
    expect(await claim.acquireOrRenew()).toBe(true);
  });

  test("a holder's clock is of no matter: what counts is whether we see it renew", async () => {
    const spec = { holderIdentity: 'stranger', leaseDurationSeconds: 1 };
    const far = { past: '1999-01-01T00:00:00.000000Z', future: '2099-01-01T00:00:00.000000Z' };
    for (const [name, time] of Object.entries(far)) {
      const times = { acquireTime: time, renewTime: time };
      await client.of(LEASES).create({ metadata: { namespace, name }, spec: { ...spec, ...times } });
      const claim = claimOf('heir', name);
      expect(await claim.acquireOrRenew()).toBe(false);
      const began = performance.now();
      await until(
        () => claim.acquireOrRenew(),
        () => name,
      );
      expect(performance.now() - began).toBeGreaterThan(900);
    }
  });

  test('an observer tells an abandoned lease from a renewed one', async () => {
    const [busy, dead] = [claimOf('busy', 'busy', 1), claimOf('dead', 'dead', 1)];
    await dead.acquireOrRenew();
    const observer = new LeaseObserver();
    const remaining = async (name: string): Promise<number> =>
      observer.remainingMs(await client.of(LEASES).get(namespace, name));
    await until(
      async () => {
        await busy.acquireOrRenew();
        expect(await remaining('busy')).toBeGreaterThan(0);
        return (await remaining('dead')) <= 0;
      },
      () => 'an expiry',
    );
    await busy.release();
    expect(await remaining('busy')).toBe(0);
  });

  test('what the leader throws ends the election, and the lease is free again', async () => {
    const options = { client, namespace, name: 'throws', durationSeconds: 60, signal: stop.signal };
    const lead = async (): Promise<void> => {
      throw new Error('cannot lead');
    };
    await expect(runWhenLeader({ ...options, identity: 'one' }, lead)).rejects.toThrow('cannot lead');
    expect(await claimOf('other', 'throws').acquireOrRenew()).toBe(true);
  });

  test('a leader that is held up writes nothing more when it wakes; one that is killed is followed', async () => {
    await client.of(CONFIG_MAPS).create({ metadata: { namespace, name: 'counter' }, data: { count: '0' } });
    const script = new URL('testing/candidate.js', import.meta.url).pathname;
    const begin = (identity: string): Promise<Restartable> =>
      startRestartable({
        file: process.execPath,
        args: ['--no-warnings', script, cluster.kubeconfig, namespace, identity],
        ready: async () => true,
      });
    /** Who counted, number by number, as the server saw it. */
    const reign: { count: number; by: string }[] = [];
    const watcher = new Informer(client.of(CONFIG_MAPS), {
      ...{ namespace, fieldSelector: 'metadata.name=counter', signal: stop.signal },
      onHandlerFailure: (error) => reign.push({ count: NaN, by: String(error) }),
    });
    watcher.onChange(({ object }) => {
      reign.push({ count: Number(object.data?.['count']), by: object.data?.['by'] ?? '' });
    });
    const countsOf = (by: string, since = 0): number =>
      reign.slice(since).filter((entry) => entry.by === by).length;

    const candidates = [await begin('a')];
    await until(
      () => countsOf('a') > 5,
      () => 'a to lead',
    );
    candidates.push(await begin('b'));
    const [a, b] = candidates as [Restartable, Restartable];
    try {
      a.pause();
      await until(
        () => countsOf('b') > 5,
        () => 'b to follow',
      );
      a.resume();
      const woken = reign.length;
      await until(
        () => countsOf('b', woken) > 60,
        () => 'b to go on',
      );
      expect(countsOf('a', woken)).toBe(0);
      await b.kill();
      await until(
        () => countsOf('a', woken) > 5,
        () => 'a to lead again',
      );
      await a.stop();
      // Given away, not left to expire: the lease is free.
      const lease = await client.of(LEASES).get(namespace, 'election');
      expect(lease.spec?.holderIdentity).toBe('');
      const order = reign.map(({ by }) => by).filter((by, i, all) => by !== '' && by !== all[i - 1]);
      expect(order).toEqual(['a', 'b', 'a']);
      // Each number once: nobody counted beside another.
      const numbers = reign.map(({ count }) => count);
      expect(new Set(numbers).size).toBe(numbers.length);
    } finally {
      for (const candidate of candidates) await candidate.kill();
    }
  }, 120_000);
});
