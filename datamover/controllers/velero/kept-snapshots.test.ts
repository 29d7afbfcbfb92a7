import { afterAll, beforeAll, describe, expect, it, test } from '@jest/globals';
import { ANNOTATIONS, FINALIZER, LABELS } from '../../../api/names.ts';
import { customResourceDefinition } from '../../../api/schema/kind.ts';
import { volumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { claim, snapshotOf } from '../../../e2e/servers/claims.ts';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startOwnCluster, type OwnCluster } from '../../../e2e/servers/kubernetes.ts';
import { makeClient, type Client } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import { SNAPSHOT_CONTENTS, SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import { CLAIMS } from '../../kubernetes/storage-resources.ts';
import { runs, settleSnapshots } from './kept-snapshots.ts';

describe('a transfer that may read from a snapshot', () => {
  const metadata = { name: 'one', namespace: 'shop', uid: 'u-1', resourceVersion: '1' };
  const held = { ...metadata, finalizers: [FINALIZER] };
  it.each([
    ['nobody serves it', { metadata }, false],
    ['of ours, and not resolved yet', { metadata: held }, true],
    ['begun', { metadata, status: { phase: 'InProgress', transferID: 't' } }, true],
    ['ended', { metadata: held, status: { phase: 'Failed', transferID: 't' } }, false],
  ] as const)('%s', (_what, transfer, runsNow) => expect(runs(transfer)).toBe(runsNow));
});

describePeers([...KUBERNETES_PEERS, 'snapshot-controller'], 'K-37: the snapshots of moved claims', () => {
  let cluster: OwnCluster;
  let client: Client;
  let namespace: string;

  beforeAll(async () => {
    cluster = await startOwnCluster();
    client = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), { fieldManager: 'tests' });
    await cluster.installSnapshotCrds();
    await cluster.apply(customResourceDefinition(volumeSnapshotBackup));
    const { plural, group } = volumeSnapshotBackup;
    const established = ['wait', '--for=condition=Established', '--timeout=60s', `crd/${plural}.${group}`];
    await cluster.kubectl(established);
    namespace = await cluster.makeNamespace();
    await cluster.apply(claim({ namespace, name: 'db', storageClass: 'rbd', size: '1Gi' }));
    // Of a class that nobody serves: it never ends, and must not hold anything.
    await client.of(resourceOf(volumeSnapshotBackup)).create({
      metadata: { namespace, name: 'unserved' },
      spec: {
        ...{ volumeSnapshotContent: { name: 'theirs' }, protectedNamespace: 'velero' },
        ...{ backupTarget: 'bucket', dataMoverClass: 'theirs' },
      },
    });
  }, 180_000);
  afterAll(async () => {
    client.close();
    await cluster.stop();
  });

  /** A VolumeSnapshot and its content, of a class with policy Retain, as snapshot-controller leaves them. */
  async function shoot(name: string, of = 'db'): Promise<void> {
    await cluster.apply(snapshotOf({ namespace, name, claim: of, snapshotClass: 'retaining' }));
    const { uid } = (await client.of(SNAPSHOTS).get(namespace, name)).metadata;
    await client.of(SNAPSHOT_CONTENTS).create({
      metadata: { name: `content-of-${name}` },
      spec: {
        ...{ driver: 'rook-ceph.rbd.csi.ceph.com', deletionPolicy: 'Retain', source: { volumeHandle: 'v' } },
        volumeSnapshotRef: { namespace, name, uid },
      },
    });
    await client
      .of(SNAPSHOTS)
      .patch(
        ...([namespace, name] as const),
        { status: { boundVolumeSnapshotContentName: `content-of-${name}` } },
        { subresource: 'status' },
      );
  }

  const settle = (snapshot: string, keep: 'Last' | 'None' = 'Last'): Promise<void> =>
    settleSnapshots(client, { namespace, claim: 'db', snapshot, transfer: 'vsb', isBase: true }, () => keep);
  const left = async (): Promise<string[]> =>
    (await client.of(SNAPSHOTS).list({ namespace })).items.map(({ metadata }) => metadata.name).sort();
  const contentOf = (name: string) => client.of(SNAPSHOT_CONTENTS).get(undefined, `content-of-${name}`);

  test('the last one stays, to go from the storage with its claim; a copy that a user made of it is the user’s', async () => {
    await shoot('first');
    await settle('first');
    const { metadata } = await client.of(SNAPSHOTS).get(namespace, 'first');
    const { uid } = (await client.of(CLAIMS).get(namespace, 'db')).metadata;
    expect(metadata).toMatchObject({
      labels: { [LABELS.baseOf]: uid, 'velero.io/exclude-from-backup': 'true' },
      annotations: { [ANNOTATIONS.keptAs]: metadata.uid },
      ownerReferences: [{ name: 'db', uid }],
    });
    expect(await contentOf('first')).toMatchObject({
      metadata: { labels: { 'velero.io/exclude-from-backup': 'true' } },
      spec: { deletionPolicy: 'Delete' },
    });
    const { labels = {}, annotations = {} } = metadata;
    await client.of(SNAPSHOTS).create({
      metadata: { namespace, name: 'copy', labels, annotations },
      spec: { source: { persistentVolumeClaimName: 'db' } },
    });
    await shoot('second');
    await settle('second');
    expect(await left()).toEqual(['copy', 'second']);
  }, 60_000);

  test('one that does not stay goes from the storage, too', async () => {
    await shoot('third');
    await settle('third', 'None');
    expect(await left()).toEqual(['copy']);
    expect((await contentOf('third')).spec.deletionPolicy).toBe('Delete');
    expect((await contentOf('second')).spec.deletionPolicy).toBe('Delete');
  }, 60_000);

  test('while a transfer of the claim runs, resolved or not, none goes; one of another claim holds nothing', async () => {
    const transfers = client.of(resourceOf(volumeSnapshotBackup));
    const run = async (name: string, content: string): Promise<void> => {
      await transfers.create({
        metadata: { namespace, name, finalizers: [FINALIZER] },
        spec: {
          ...{ volumeSnapshotContent: { name: content }, protectedNamespace: 'velero' },
          backupTarget: 'bucket',
        },
      });
    };
    await shoot('of-logs', 'logs');
    await shoot('older');
    await settle('older');
    await run('unresolved', 'content-of-older');
    await shoot('newer');
    await settle('newer');
    expect(await left()).toEqual(['copy', 'newer', 'of-logs', 'older']);
    const status = { sourcePVCData: { name: 'db' } };
    await transfers.patch(namespace, 'unresolved', { status }, { subresource: 'status' });
    await settle('newer');
    expect(await left()).toEqual(['copy', 'newer', 'of-logs', 'older']);
    await transfers.patch(namespace, 'unresolved', { metadata: { finalizers: [] } });
    await run('elsewhere', 'content-of-of-logs');
    await settle('newer', 'None');
    expect(await left()).toEqual(['copy', 'of-logs']);
    await transfers.patch(namespace, 'elsewhere', { metadata: { finalizers: [] } });
    await client.of(SNAPSHOTS).delete(namespace, 'of-logs');
  }, 60_000);

  test('what another snapshot’s content is called leads to nothing', async () => {
    await shoot('theirs');
    await shoot('fourth');
    await client
      .of(SNAPSHOTS)
      .patch(
        ...([namespace, 'fourth'] as const),
        { status: { boundVolumeSnapshotContentName: 'content-of-theirs' } },
        { subresource: 'status' },
      );
    await settle('fourth', 'None');
    expect(await left()).toEqual(['copy', 'theirs']);
    expect((await contentOf('theirs')).spec.deletionPolicy).toBe('Retain');
  }, 60_000);
});
