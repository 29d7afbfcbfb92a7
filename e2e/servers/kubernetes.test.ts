import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeers } from './describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, startOwnCluster, type OwnCluster } from './kubernetes.ts';

describePeers([...KUBERNETES_PEERS, 'snapshot-controller'], 'Kubernetes', () => {
  let cluster: OwnCluster;
  beforeAll(async () => {
    cluster = await startOwnCluster();
  }, 120_000);
  afterAll(() => cluster.stop());

  test('says which version it is', async () => {
    const { serverVersion } = JSON.parse(await cluster.kubectl(['version', '--output=json'])) as {
      serverVersion: { gitVersion: string; minor: string };
    };
    expect(serverVersion.gitVersion).toMatch(/^v1\.\d+\.\d+$/);
    expect(serverVersion.gitVersion).toContain(`.${serverVersion.minor}.`);
  });

  test('serves the kinds of snapshots and checks their schema', async () => {
    await cluster.installSnapshotCrds();
    const snapshotClass = {
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshotClass',
      metadata: { name: 'servers-test' },
      driver: 'tests.example',
      deletionPolicy: 'Delete',
    };
    await cluster.apply(snapshotClass);
    const driver = await cluster.kubectl([
      ...['get', 'volumesnapshotclass', 'servers-test', '--output=jsonpath={.driver}'],
    ]);
    expect(driver).toBe('tests.example');
    await expect(cluster.apply({ ...snapshotClass, deletionPolicy: 'Sometimes' })).rejects.toThrow(
      /Unsupported value: "Sometimes"/,
    );
  });

  test('binds a claim to a volume', async () => {
    const namespace = await cluster.makeNamespace();
    const size = { storage: '1Gi' };
    const shape = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
    await cluster.apply(
      {
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: { name: namespace },
        spec: { ...shape, capacity: size, csi: { driver: 'tests.example', volumeHandle: 'v1' } },
      },
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'data', namespace },
        spec: { ...shape, volumeName: namespace, resources: { requests: size } },
      },
    );
    const bound = '--for=jsonpath={.status.phase}=Bound';
    await cluster.kubectl(['wait', bound, '--timeout=60s', `--namespace=${namespace}`, 'pvc/data']);
    await cluster.kubectl(['wait', bound, '--timeout=60s', `pv/${namespace}`]);
  });

  test('knows ServiceAccounts, and gives them no rights of themselves', async () => {
    const namespace = await cluster.makeNamespace();
    const scope = `--namespace=${namespace}`;
    await cluster.kubectl(['create', 'serviceaccount', 'reader', scope]);
    const kubeconfig = await cluster.kubeconfigOf(namespace, 'reader');
    const whoAmI = await cluster.kubectl(['auth', 'whoami', '--output=json'], { kubeconfig });
    expect(whoAmI).toContain(`system:serviceaccount:${namespace}:reader`);
    const read = () => cluster.kubectl(['get', 'configmaps', scope, '--output=name'], { kubeconfig });
    await expect(read()).rejects.toThrow(/cannot list resource "configmaps"/);
    await cluster.kubectl([
      ...['create', 'rolebinding', 'reads', '--clusterrole=view'],
      ...[`--serviceaccount=${namespace}:reader`, scope],
    ]);
    expect(await read()).toContain('configmap/kube-root-ca.crt');
  });

  test('keeps its objects when etcd and the API server are killed, but no compacted history', async () => {
    const namespace = await cluster.makeNamespace();
    const list = await cluster.kubectl(['get', '--raw', '/api/v1/namespaces']);
    const { metadata } = JSON.parse(list) as { metadata: { resourceVersion: string } };
    await cluster.makeNamespace();
    await cluster.compact();
    const { pid } = cluster.apiServer;
    await cluster.apiServer.kill();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await expect(cluster.kubectl(['get', 'namespaces'])).rejects.toThrow(/refused/);
    await cluster.etcdServer.kill();
    await cluster.etcdServer.start();
    await cluster.apiServer.start();
    expect(await cluster.kubectl(['get', 'namespace', namespace, '--output=name'])).toContain(namespace);
    const past = `/api/v1/namespaces?watch=true&resourceVersion=${metadata.resourceVersion}&timeoutSeconds=1`;
    expect(await cluster.kubectl(['get', '--raw', past])).toContain('too old resource version');
    // The controller-manager has survived: it alone empties and removes a namespace.
    await cluster.kubectl(['delete', 'namespace', namespace, '--timeout=90s']);
  }, 180_000);
});

describePeers(KUBERNETES_PEERS, 'The Kubernetes of a test run', () => {
  test('is shared', async () => {
    const [one, other] = await Promise.all([startCluster(), startCluster()]);
    expect(one.server).toBe(other.server);
    const namespace = await one.makeNamespace();
    await one.stop();
    expect(await other.kubectl(['get', 'namespace', namespace, '--output=name'])).toContain(namespace);
  }, 120_000);
});
