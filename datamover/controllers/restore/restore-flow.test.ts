import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ANNOTATIONS, LABELS } from '../../../api/names.ts';
import { volumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../../../e2e/servers/kubernetes.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import { CLAIMS, VOLUMES } from '../../kubernetes/storage-resources.ts';
import { until } from '../../kubernetes/testing/waiting.ts';
import { DEFAULTS } from '../settings.ts';
import { ControllerBench, MOVER, SECRET, VELERO, type Restore } from '../testing/bench.ts';
import { transferIdOfObject } from '../transfer-object.ts';
import { helperName } from './helper.ts';
import { RestoreFlow } from './restore-flow.ts';

const SIZE = '1Gi';

describePeers(
  [...KUBERNETES_PEERS, 'helm'],
  'somebody who may make claims, and a volume that is not his',
  () => {
    let bench: ControllerBench;
    let flow: RestoreFlow;
    let namespace: string;
    let restore: Restore;

    beforeAll(async () => {
      bench = await ControllerBench.create();
      const settings = {
        ...DEFAULTS,
        namespace: MOVER,
        protectedNamespaces: [VELERO],
        veleroNamespace: VELERO,
      };
      flow = new RestoreFlow({ client: bench.client, settings }, () => []);
      namespace = await bench.cluster.makeNamespace();
      const victim = await bench.cluster.makeNamespace();
      await bench.cluster.apply({
        ...{ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'victim' } },
        spec: {
          ...{ accessModes: ['ReadWriteOnce'], capacity: { storage: SIZE }, storageClassName: 'rbd' },
          ...{ persistentVolumeReclaimPolicy: 'Retain', claimRef: { namespace: victim, name: 'db' } },
          csi: { driver: 'rbd.csi.ceph.com', volumeHandle: 'victim' },
        },
      });
      await bench.cluster.apply(claim(victim, 'db'));
      await until(
        async () => (await bench.client.of(VOLUMES).get(undefined, 'victim')).status?.phase === 'Bound',
        () => 'the volume is bound',
      );
      restore = await bench.client.of(resourceOf(volumeSnapshotRestore)).create({
        metadata: { namespace, name: 'restore' },
        spec: {
          protectedNamespace: VELERO,
          resticSecretRef: { name: SECRET },
          volumeSnapshotMoverBackupRef: {
            sourcePVCData: { name: 'db', size: SIZE, storageClassName: 'rbd' },
          },
          target: { claimName: 'db' },
        },
      });
      await bench.cluster.apply(claim(namespace, helperName(restore)));
    }, 180_000);
    afterAll(() => bench.remove());

    function claim(of: string, name: string, annotations: Readonly<Record<string, string>> = {}): object {
      return {
        ...{
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { namespace: of, name, annotations },
        },
        spec: {
          ...{ accessModes: ['ReadWriteOnce'], storageClassName: 'rbd', volumeName: 'victim' },
          resources: { requests: { storage: SIZE } },
        },
      };
    }

    async function expectUntouched(): Promise<void> {
      const volume = await bench.client.of(VOLUMES).get(undefined, 'victim');
      expect(volume.spec.persistentVolumeReclaimPolicy).toBe('Retain');
      expect(volume.spec.claimRef?.name).toBe('db');
      expect(volume.spec.claimRef?.namespace).not.toBe(namespace);
      expect(volume.metadata.labels?.[LABELS.transfer]).toBeUndefined();
    }

    test('a claim with the name of the helper does not hand it over', async () => {
      await bench.client.of(CLAIMS).create({
        metadata: { namespace, name: 'db' },
        spec: {
          ...{ accessModes: ['ReadWriteOnce'], storageClassName: 'rbd' },
          ...{ selector: { matchLabels: { [LABELS.transfer]: transferIdOfObject(restore) } } },
          resources: { requests: { storage: SIZE } },
        },
      });
      expect(await flow.finish(restore)).toMatchObject({ because: 'its volume is not there' });
      await expectUntouched();
    });

    test('a claim that says it was restored does not hand it over', async () => {
      await bench.client.of(CLAIMS).delete(namespace, 'db');
      await bench.client.of(CLAIMS).delete(namespace, helperName(restore));
      await bench.cluster.apply(claim(namespace, 'db', { [ANNOTATIONS.restoredBy]: restore.metadata.uid }));
      expect(await flow.finish(restore)).toMatchObject({ because: 'its volume is not there' });
      await expectUntouched();
    });

    test('the end of a failed restore takes the claim away and leaves the volume', async () => {
      await bench.cluster.apply(claim(namespace, helperName(restore)));
      expect(await flow.cleanUp(restore)).toEqual([`PersistentVolumeClaim ${helperName(restore)}`]);
      await expectUntouched();
    });
  },
);
