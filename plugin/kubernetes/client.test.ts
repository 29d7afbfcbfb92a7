import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { KINDS } from '../../api/kinds.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startOwnCluster, type OwnCluster } from '../../e2e/servers/kubernetes.ts';
import { isApiError } from './api-error.ts';
import { KubernetesClient } from './client.ts';
import { loadConfiguration } from './configuration.ts';
import { readKubeconfig } from './kubeconfig.ts';
import { RESOURCES } from './resources.ts';

interface Kubeconfig {
  clusters: { cluster: Record<string, unknown> }[];
  users: { user: Record<string, unknown> }[];
}

describe('a kubeconfig', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const valid = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster: { server: 'https://127.0.0.1:6443/' } }],
    users: [{ name: 'u', user: { token: 'abc' } }],
  };

  async function file(name: string, content: object): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, stringify(content));
    return path;
  }

  test('gives server, trust and identity, inline or from files beside it', async () => {
    await writeFile(join(directory, 'ca.crt'), 'authority');
    await writeFile(join(directory, 'token'), 'from-file\n');
    const path = await file('files', {
      ...valid,
      clusters: [{ name: 'k', cluster: { server: 'https://h', 'certificate-authority': 'ca.crt' } }],
      users: [{ name: 'u', user: { tokenFile: 'token', 'client-key-data': btoa('key') } }],
    });
    const read = await readKubeconfig([path]);
    const { server, tls } = read;
    expect(server).toBe('https://h');
    expect(String(tls.ca)).toBe('authority');
    expect(String(tls.key)).toBe('key');
    expect(await read.authorization()).toBe('Bearer from-file');
  });

  test('of several files the first that says something counts, and one that is missing is passed over', async () => {
    const first = await file('first', { users: [{ name: 'u', user: { token: 'first' } }] });
    const second = await file('second', valid);
    const read = await readKubeconfig([join(directory, 'none'), first, second]);
    expect(read.server).toBe('https://127.0.0.1:6443');
    expect(await read.authorization()).toBe('Bearer first');
  });

  test.each([
    [{ ...valid, 'current-context': 'd' }, /has no context "d"$/],
    [{ ...valid, 'current-context': '' }, /has no current-context$/],
    [{ ...valid, users: [] }, /has no user "u"$/],
    [{ ...valid, users: [{ name: 'u', user: { exec: {} } }] }, /credentials by exec, .* give a token/],
    [{ ...valid, clusters: [{ name: 'k', cluster: { server: 'http://h' } }] }, /is no https:\/\/ address$/],
    [
      { ...valid, clusters: [{ name: 'k', cluster: { server: 'https://h', 'proxy-url': 'x' } }] },
      /names a proxy/,
    ],
  ])('that cannot be used is refused: %j', async (content, sentence) => {
    await expect(readKubeconfig([await file('refused', content)])).rejects.toThrow(sentence);
  });

  test('that does not exist is named', async () => {
    await expect(loadConfiguration('/nowhere/config')).rejects.toThrow(
      'the kubeconfig /nowhere/config does not exist',
    );
  });
});

test('the names of our kinds are api/’s', () => {
  const named = Object.values(RESOURCES).map(({ group, version, plural, kind }) => ({
    ...{ group, version, plural, kind },
  }));
  const ours = KINDS.filter(({ kind, group }) =>
    named.some((resource) => resource.kind === kind && resource.group === group),
  );
  expect(ours).toHaveLength(4);
  for (const { group, version, plural, kind } of ours)
    expect(named).toContainEqual({ group, version, plural, kind });
});

describePeers(KUBERNETES_PEERS, 'the plugin’s client on a real API server', () => {
  let cluster: OwnCluster;
  let namespace: string;
  let client: KubernetesClient;
  beforeAll(async () => {
    cluster = await startOwnCluster();
    namespace = await cluster.makeNamespace();
    client = new KubernetesClient(await loadConfiguration(cluster.kubeconfig));
  }, 120_000);
  afterAll(() => cluster.stop());

  const map = (name: string, data: Record<string, string> = {}) => ({
    ...{ metadata: { namespace, name, labels: { test: 'yes' } }, data },
  });

  test('makes an object once: the second call gives the first one', async () => {
    await client.create(RESOURCES.configMap, map('once', { a: '1' }));
    const again = await client.create(RESOURCES.configMap, map('once', { a: '2' }));
    expect(again.data).toEqual({ a: '1' });
  });

  test('changes, reads and deletes, and what is missing is undefined', async () => {
    await client.create(RESOURCES.configMap, map('changed', { a: '1', b: '2' }));
    await client.merge(RESOURCES.configMap, namespace, 'changed', { data: { a: null, c: '3' } });
    const found = await client.get(RESOURCES.configMap, namespace, 'changed');
    expect(found?.data).toEqual({ b: '2', c: '3' });
    await client.delete(RESOURCES.configMap, namespace, 'changed', 'another');
    expect(await client.get(RESOURCES.configMap, namespace, 'changed')).toBeDefined();
    await client.delete(RESOURCES.configMap, namespace, 'changed', found?.metadata.uid);
    await client.delete(RESOURCES.configMap, namespace, 'changed', found?.metadata.uid);
    expect(await client.get(RESOURCES.configMap, namespace, 'changed')).toBeUndefined();
    expect(await client.merge(RESOURCES.configMap, namespace, 'changed', {})).toBeUndefined();
    expect(await client.list(RESOURCES.dataProtectionApplication, namespace)).toBeUndefined();
  });

  test('a list is whole, however many pages it has', async () => {
    await cluster.apply(
      ...Array.from({ length: 510 }, (_, n) => ({ apiVersion: 'v1', kind: 'ConfigMap', ...map(`n-${n}`) })),
    );
    const all = await client.list(RESOURCES.configMap, namespace, 'test=yes');
    expect(all?.filter(({ metadata }) => metadata.name?.startsWith('n-') === true)).toHaveLength(510);
  }, 120_000);

  test('a failure is one sentence with its reason', async () => {
    const failure = async (work: Promise<unknown>) => work.catch((error: unknown) => error);
    const invalid = await failure(client.create(RESOURCES.configMap, map('Not a name')));
    expect(isApiError(invalid, 'invalid')).toBe(true);
    expect(String(invalid)).toMatch(
      /create ConfigMap test-.*\/Not a name: ConfigMap "Not a name" is invalid/,
    );
    await cluster.kubectl(['create', 'serviceaccount', 'nobody', `--namespace=${namespace}`]);
    const nobody = await cluster.kubeconfigOf(namespace, 'nobody');
    const stranger = new KubernetesClient(await loadConfiguration(nobody));
    expect(isApiError(await failure(stranger.list(RESOURCES.configMap, namespace)), 'forbidden')).toBe(true);
    const config = JSON.parse(await readFile(nobody, 'utf8')) as Kubeconfig;
    config.clusters[0]!.cluster = { server: cluster.server };
    const untrusting = join(cluster.home, 'untrusting');
    await writeFile(untrusting, JSON.stringify(config));
    const untrusted = new KubernetesClient(await loadConfiguration(untrusting));
    const refused = await failure(untrusted.get(RESOURCES.configMap, namespace, 'once'));
    expect(isApiError(refused, 'unreachable')).toBe(true);
    expect(String(refused)).toMatch(/does not answer: .*certificate/);
  });

  test('a server that is away for a moment is waited for; a hopeless one is not for ever', async () => {
    await cluster.apiServer.kill();
    const asked = client.get(RESOURCES.configMap, namespace, 'once').catch((error: unknown) => error);
    expect(isApiError(await asked, 'unreachable')).toBe(true);
    await cluster.apiServer.start();
    expect(await client.get(RESOURCES.configMap, namespace, 'once')).toBeDefined();
  }, 120_000);
});
