import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { snapshotDeleteRequestName } from '../../api/derived-names.ts';
import { snapshotDeleteRequest, type SnapshotDeleteRequest } from '../../api/snapshot-delete-request.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import type { Stored } from '../kubernetes/object.ts';
import { EventRecorder } from '../kubernetes/events.ts';
import { resourceOf } from '../kubernetes/resource.ts';
import { until } from '../kubernetes/testing/waiting.ts';
import { Slots } from '../store/slots.ts';
import { Ages } from './ages.ts';
import { DEFAULTS } from './settings.ts';
import { SnapshotDeletion } from './snapshot-deletion.ts';
import { runOnRepository } from './repository/opening.ts';
import { ControllerBench, MOVER, PASSWORD, SECRET, VELERO } from './testing/bench.ts';

describePeers([...KUBERNETES_PEERS, 'snapshot-controller', 'helm'], 'K-35: a SnapshotDeleteRequest', () => {
  let bench: ControllerBench;
  let snapshotID: string;

  beforeAll(async () => {
    bench = await ControllerBench.create();
    await onRepository('init');
    const disk = join(bench.folder, 'disk');
    await writeFile(disk, Buffer.alloc(65_536, 'a'));
    await onRepository('backup', `file:${disk}`, '--volume', 'shop/db');
    [snapshotID = ''] = await snapshots();
    bench.start();
  }, 180_000);
  afterAll(() => bench.remove());

  const onRepository = (...args: readonly string[]) =>
    runOnRepository({ repository: bench.repository, password: PASSWORD }, 'try', args, {
      memoryBytes: DEFAULTS.childMemory,
      signal: AbortSignal.timeout(300_000),
    });

  const snapshots = async () =>
    ((await onRepository('snapshots')).flat() as { readonly id: string }[]).map(({ id }) => id);

  const packsSize = async () => {
    const [stats] = (await onRepository('stats')) as { readonly packs_size: number }[];
    return stats?.packs_size ?? 0;
  };

  async function ask(sourceNamespace: string, claim?: string): Promise<Stored<SnapshotDeleteRequest>> {
    const requests = bench.client.of(resourceOf(snapshotDeleteRequest));
    const spec = {
      ...{ resticSecretRef: { name: SECRET }, resticrepository: bench.repository, snapshotID },
      ...{ sourceNamespace, ...(claim === undefined ? {} : { claim }) },
    };
    let seen = await requests.create({
      metadata: { namespace: VELERO, name: snapshotDeleteRequestName(spec) },
      spec,
    });
    await until(
      async () => {
        seen = await requests.get(VELERO, seen.metadata.name);
        return seen.status?.phase === 'Completed' || seen.status?.phase === 'Failed';
      },
      () => JSON.stringify(seen.status),
    );
    return seen;
  }

  test.each([
    ['of another namespace', 'thief', 'db', 'it is no backup of thief/db'],
    ['of another claim', 'shop', 'logs', 'it is no backup of shop/logs'],
    ['without a claim', 'shop', undefined, 'the request names no claim'],
  ])(
    '%s is refused, and the snapshot stays',
    async (_what, namespace, claim, cause) => {
      const { status } = await ask(namespace, claim);
      expect(status?.phase).toBe('Failed');
      expect(status?.message).toContain(`forget snapshot ${snapshotID.slice(0, 8)}: ${cause}`);
      expect(status?.conditions?.[0]).toMatchObject({ status: 'False', reason: 'NotAllowed' });
      expect(await snapshots()).toEqual([snapshotID]);
    },
    120_000,
  );

  test('that is withdrawn while it waits for its turn frees nothing', async () => {
    await bench.stopController();
    const { client } = bench;
    const onFailure = (error: unknown): void => void bench.log.push(String(error));
    const events = new EventRecorder({ client, component: 'tests', instance: 'tests', onFailure });
    const settings = { ...DEFAULTS, namespace: MOVER, protectedNamespaces: [VELERO] };
    const turn = new Slots(1);
    const deletion = new SnapshotDeletion({ client, settings }, events, new Ages(), turn);
    const requests = client.of(resourceOf(snapshotDeleteRequest));
    const made = await requests.create({
      metadata: { namespace: VELERO, name: 'withdrawn' },
      spec: {
        ...{ resticSecretRef: { name: SECRET }, resticrepository: bench.repository, snapshotID },
        ...{ sourceNamespace: 'shop', claim: 'db' },
      },
    });
    await turn.take();
    const reconciled = deletion.reconcile(made, AbortSignal.timeout(300_000));
    await requests.delete(VELERO, 'withdrawn');
    turn.give();
    expect(await reconciled).toBeUndefined();
    expect(await snapshots()).toEqual([snapshotID]);
    expect(turn.taken).toBe(0);
    bench.start();
  }, 120_000);

  test('whose snapshot an earlier attempt removed, and no more, frees what that left', async () => {
    await bench.stopController();
    const before = await packsSize();
    const disk = join(bench.folder, 'other');
    await writeFile(disk, randomBytes(3 << 20));
    await onRepository('backup', `file:${disk}`, '--volume', 'shop/other');
    const other = (await snapshots()).find((id) => id !== snapshotID) ?? '';
    // As it is when prune fails or is ended behind it.
    await onRepository('forget', other);
    expect(await packsSize()).toBeGreaterThan(before + (2 << 20));
    const requests = bench.client.of(resourceOf(snapshotDeleteRequest));
    await requests.create({
      metadata: { namespace: VELERO, name: 'half-done' },
      spec: {
        ...{ resticSecretRef: { name: SECRET }, resticrepository: bench.repository, snapshotID: other },
        ...{ sourceNamespace: 'shop', claim: 'other' },
      },
    });
    await requests.applyStatus(VELERO, 'half-done', {
      ...{ phase: 'InProgress', attempts: 1, message: 'it was ended' },
      nextAttemptTimestamp: '2026-01-01T00:00:00Z',
    });
    const half = await requests.get(VELERO, 'half-done');
    const { client } = bench;
    const onFailure = (error: unknown): void => void bench.log.push(String(error));
    const events = new EventRecorder({ client, component: 'tests', instance: 'tests', onFailure });
    const settings = { ...DEFAULTS, namespace: MOVER, protectedNamespaces: [VELERO], retryBackoff: 0 };
    const deletion = new SnapshotDeletion({ client, settings }, events, new Ages(), new Slots(1));
    await deletion.reconcile(half, AbortSignal.timeout(300_000));
    expect((await requests.get(VELERO, 'half-done')).status?.phase).toBe('Completed');
    expect(await packsSize()).toBeLessThan(before + (1 << 20));
    bench.start();
  }, 120_000);

  test('of the volume frees it; what is gone already is a success', async () => {
    expect((await ask('shop', 'db')).status?.phase).toBe('Completed');
    expect(await snapshots()).toEqual([]);
    expect((await ask('shop', 'other')).status?.phase).toBe('Completed');
  }, 120_000);
});
