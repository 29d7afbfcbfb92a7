import { copyFile, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { customResourceDefinition } from '../../api/schema/kind.ts';
import { volumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, type Cluster } from '../../e2e/servers/kubernetes.ts';
import { isApiError, orMissing, type ApiErrorReason } from './api-error.ts';
import { makeClient, type Client, type KindClient } from './client.ts';
import { loadConfiguration } from './configuration.ts';
import { configMapValues, CONFIG_MAPS, secretValues, SECRETS, type ConfigMap } from './core-resources.ts';
import type { KubernetesObject } from './object.ts';
import { inCluster } from './service-account.ts';
import { withCondition } from './conditions.ts';
import { defineResource, resourceOf } from './resource.ts';

interface Claim extends KubernetesObject {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly phase?: string; readonly conditions?: readonly object[] };
}

const CLAIMS = defineResource<Claim>({
  ...{
    group: '',
    version: 'v1',
    kind: 'PersistentVolumeClaim',
    plural: 'persistentvolumeclaims',
    namespaced: true,
  },
});

const NAMESPACES = defineResource({
  ...{ group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false },
});

async function reasonOf(promise: Promise<unknown>): Promise<ApiErrorReason | undefined> {
  const error: unknown = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  return isApiError(error) ? error.reason : undefined;
}

/** Sockets that this process holds. */
async function countSockets(): Promise<number> {
  const files = await readdir('/proc/self/fd');
  const targets = await Promise.all(files.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return targets.filter((target) => target.startsWith('socket:')).length;
}

describePeers(KUBERNETES_PEERS, 'Kubernetes client', () => {
  let cluster: Cluster;
  let client: Client;
  let namespace: string;
  let maps: KindClient<ConfigMap>;
  beforeAll(async () => {
    cluster = await startCluster();
    client = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), { fieldManager: 'tests' });
    namespace = await cluster.makeNamespace();
    maps = client.of(CONFIG_MAPS);
  }, 120_000);
  afterAll(async () => {
    client.close();
    await cluster.stop();
  });

  test('makes, reads, changes and deletes', async () => {
    const made = await maps.create({ metadata: { namespace, name: 'plain' }, data: { a: '1', b: '2' } });
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    await maps.patch(namespace, 'plain', { data: { a: '3', b: null } });
    const read = await maps.get(namespace, 'plain');
    expect(configMapValues(read)).toEqual(new Map([['a', '3']]));
    const replaced = await maps.update({ ...read, data: { c: '4' } });
    expect(replaced.data).toEqual({ c: '4' });
    await maps.delete(namespace, 'plain');
    expect(await orMissing(maps.get(namespace, 'plain'))).toBeUndefined();
  });

  test('reads what a Secret holds', async () => {
    const data = { password: 'p\u00e4ss\nword' };
    await cluster.apply({
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'secret', namespace } },
      stringData: data,
    });
    const secret = await client.of(SECRETS).get(namespace, 'secret');
    expect(secretValues(secret).get('password')?.toString()).toBe(data.password);
  });

  test('tells failures apart, each in a sentence that names the object', async () => {
    const object = { metadata: { namespace, name: 'errors' } };
    const made = await maps.create(object);
    await maps.patch(namespace, 'errors', { data: { changed: 'yes' } });
    expect(await reasonOf(maps.get(namespace, 'none'))).toBe('missing');
    expect(await reasonOf(maps.create(object))).toBe('exists');
    expect(await reasonOf(maps.update({ ...made, data: {} }))).toBe('conflict');
    expect(await reasonOf(maps.delete(namespace, 'errors', { uid: 'of-another-one' }))).toBe('conflict');
    expect(await reasonOf(maps.create({ metadata: { namespace, name: 'Not A Name' } }))).toBe('invalid');
    expect(await reasonOf(maps.list({ limit: 1, continue: 'nonsense' }))).toBe('invalid');
    expect(await reasonOf(client.of({ ...CONFIG_MAPS, plural: 'inventions' }).list())).toBe('missing');
    await expect(maps.get(namespace, 'none')).rejects.toThrow(
      `get ConfigMap ${namespace}/none: configmaps "none" not found`,
    );
  });

  test('knows no rights and no credentials from each other', async () => {
    await cluster.kubectl(['create', 'serviceaccount', 'nobody', `--namespace=${namespace}`]);
    const kubeconfig = await cluster.kubeconfigOf(namespace, 'nobody');
    const nobody = makeClient(loadConfiguration({ kubeconfig }), { fieldManager: 'tests' });
    expect(await reasonOf(nobody.of(SECRETS).list({ namespace }))).toBe('forbidden');
    nobody.close();
    const folder = await mkdtemp(join(tmpdir(), 'datamover-account-'));
    await copyFile(cluster.caFile, join(folder, 'ca.crt'));
    await writeFile(join(folder, 'namespace'), `${namespace}\n`);
    await writeFile(join(folder, 'token'), 'made-up');
    const { hostname, port } = new URL(cluster.server);
    const configuration = inCluster(
      { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
      folder,
    );
    const stranger = makeClient(configuration, { fieldManager: 'tests' });
    expect(await reasonOf(stranger.of(SECRETS).list({ namespace }))).toBe('unauthorized');
    stranger.close();
    const { users } = JSON.parse(await readFile(kubeconfig, 'utf8')) as {
      users: { user: { token: string } }[];
    };
    await writeFile(join(folder, 'token'), users[0]?.user.token ?? '');
    const inPod = makeClient(
      inCluster({ KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port }, folder),
      {
        fieldManager: 'tests',
      },
    );
    expect(inPod.namespace).toBe(namespace);
    expect(await reasonOf(inPod.of(SECRETS).list({ namespace }))).toBe('forbidden');
    inPod.close();
    await rm(folder, { recursive: true });
  });

  test('says that nobody answers, also in good time when the server hangs', async () => {
    const kubeconfig = cluster.kubeconfig;
    const configuration = loadConfiguration({ kubeconfig });
    const nowhere = makeClient(
      { ...configuration, server: 'https://127.0.0.1:1' },
      { fieldManager: 'tests' },
    );
    expect(await reasonOf(nowhere.of(CONFIG_MAPS).list())).toBe('unreachable');
    const stop = AbortSignal.abort();
    expect(await reasonOf(maps.list({ signal: stop }))).toBe('cancelled');
  });

  test('applies only the fields it owns, and takes away those it no longer names', async () => {
    const metadata = { namespace, name: 'applied' };
    await maps.apply({ metadata, data: { mine: '1', passing: '2' } });
    await maps.patch(namespace, 'applied', { metadata: { labels: { theirs: 'x' } } });
    const again = await maps.apply({ metadata, data: { mine: '3' } });
    expect(again.data).toEqual({ mine: '3' });
    expect(again.metadata.labels).toEqual({ theirs: 'x' });
    const other = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), {
      fieldManager: 'other',
    });
    const contested = other.of(CONFIG_MAPS).apply({ metadata, data: { mine: '4' } }, { force: false });
    await expect(contested).rejects.toMatchObject({ reason: 'conflict' });
    other.close();
  });

  test('applies a status and leaves the rest of it to others', async () => {
    const claims = client.of(CLAIMS);
    await claims.create({
      metadata: { namespace, name: 'claim' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'none',
        resources: { requests: { storage: '1Gi' } },
      },
    });
    const condition = { type: 'Resizing', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const claim = await claims.applyStatus(namespace, 'claim', { conditions: [condition] });
    expect(claim.status?.conditions).toMatchObject([condition]);
    expect(claim.status?.phase).toBe('Pending');
    expect(await reasonOf(claims.applyStatus(namespace, 'none', {}))).toBe('missing');
  });

  test('speaks the kinds of api/, and their rules answer', async () => {
    await cluster.apply(customResourceDefinition(volumeSnapshotBackup));
    const crd = `crd/${volumeSnapshotBackup.plural}.${volumeSnapshotBackup.group}`;
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', crd]);
    const backups = client.of(resourceOf(volumeSnapshotBackup));
    const spec = {
      volumeSnapshotContent: { name: 'content' },
      protectedNamespace: 'velero',
      backupTarget: 'main',
    };
    const made = await backups.create({ metadata: { namespace, name: 'typed' }, spec });
    expect(made.spec.volumeSnapshotContent.name).toBe('content');
    const conditions = withCondition(made.status?.conditions, {
      ...{ type: 'Assigned', status: 'True', reason: 'NodeFound', message: 'on node a' },
    });
    const started = await backups.applyStatus(namespace, 'typed', { phase: 'InProgress', conditions });
    expect(started.status).toMatchObject({ phase: 'InProgress', conditions });
    const silent = backups.applyStatus(namespace, 'typed', { phase: 'Failed' });
    await expect(silent).rejects.toThrow(/a failure says why/);
    await expect(silent).rejects.toMatchObject({ reason: 'invalid', retryable: false });
  });

  test('lists in pages', async () => {
    const names = Array.from({ length: 7 }, (_, i) => `page-${i}`);
    const labels = { paged: 'yes' };
    await Promise.all(names.map((name) => maps.create({ metadata: { namespace, name, labels } })));
    const selection = { namespace, labelSelector: 'paged=yes', limit: 3 };
    const seen: string[] = [];
    let next: string | undefined;
    do {
      const page = await maps.list({ ...selection, continue: next });
      seen.push(...page.items.map(({ metadata }) => metadata.name));
      next = page.continue;
    } while (next !== undefined);
    expect(seen.toSorted()).toEqual(names);
  });

  test('serves kinds without a namespace', async () => {
    const read = await client.of(NAMESPACES).get(undefined, namespace);
    expect(read.metadata.name).toBe(namespace);
  });

  test('writes nothing when its guard says so', async () => {
    const guarded = client.guarded(() => {
      throw new Error('not now');
    });
    const object = { metadata: { namespace, name: 'guarded' } };
    await expect(guarded.of(CONFIG_MAPS).create(object)).rejects.toThrow('not now');
    await expect(guarded.of(CONFIG_MAPS).delete(namespace, 'guarded')).rejects.toThrow('not now');
    expect(await orMissing(guarded.of(CONFIG_MAPS).get(namespace, 'guarded'))).toBeUndefined();
  });

  test('1,300 requests go through a bounded number of connections', async () => {
    const before = await countSockets();
    let most = 0;
    for (let round = 0; round < 13; round++) {
      await Promise.all(Array.from({ length: 100 }, () => maps.list({ namespace, limit: 1 })));
      most = Math.max(most, (await countSockets()) - before);
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(16);
  });
});
