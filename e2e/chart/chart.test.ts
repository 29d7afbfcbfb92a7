import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { describePeers } from '../servers/describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, type Cluster } from '../servers/kubernetes.ts';
import { CHART, helm, renderChart } from './render.ts';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
  readonly spec?: { readonly template?: { readonly spec: Pod } };
}

interface Pod {
  readonly containers: readonly { readonly args: readonly string[]; readonly securityContext: object }[];
  readonly volumes: readonly { readonly hostPath?: { readonly path: string } }[];
}

const parse = (yaml: string): Manifest[] =>
  parseAllDocuments(yaml).flatMap((document) => (document.toJS() as Manifest | null) ?? []);

describePeers([...KUBERNETES_PEERS, 'helm'], 'the chart', () => {
  let cluster: Cluster;
  let namespace: string;
  let velero: string;
  let full: object;

  beforeAll(async () => {
    cluster = await startCluster();
    [namespace, velero] = [await cluster.makeNamespace(), await cluster.makeNamespace()];
    full = {
      ...{ protectedNamespaces: [velero], veleroNamespace: velero, zfsNamespace: velero },
      ceph: { csiConfig: `${velero}/ceph-csi-config`, secretNamespaces: [velero], hostConfig: '/etc/ceph' },
      controller: { flags: { 'max-transfers': 7 } },
    };
  }, 120_000);
  afterAll(() => cluster.stop());

  test('lint finds nothing', async () => {
    expect(await helm(['lint', '--strict', '--kube-version=1.36.0', CHART])).toContain('0 chart(s) failed');
  });

  test('a real API server takes all of it, and knows every field', async () => {
    const values = { zfsNamespace: namespace };
    for (const [name, chosen] of Object.entries({ standard: values, full })) {
      const input = await renderChart({ namespace, values: chosen });
      const args = ['apply', '--server-side', '--dry-run=server', '--validate=strict', '--filename=-'];
      const said = await cluster.kubectl(args, { input });
      expect([name, said.trim().split('\n').length]).toEqual([name, parse(input).length]);
      expect(said).toMatch(/daemonset\.apps\/datamover-agent serverside-applied/);
      expect(said).toMatch(/deployment\.apps\/datamover-controller serverside-applied/);
    }
  });

  test('its flags are those that the command knows', async () => {
    const manifests = parse(await renderChart({ namespace, values: full }));
    const argsOf = (kind: string): readonly string[] =>
      manifests.find((manifest) => manifest.kind === kind)?.spec?.template?.spec.containers[0]?.args ?? [];
    expect(argsOf('Deployment')).toEqual([
      ...['controller', '--child-memory=512Mi', '--http-address=:8080', '--log-level=info'],
      `--protected-namespaces=${velero}`,
      ...[
        `--velero-namespace=${velero}`,
        `--zfs-namespace=${velero}`,
        `--ceph-csi-config=${velero}/ceph-csi-config`,
      ],
      '--max-transfers=7',
    ]);
    expect(argsOf('DaemonSet')).toEqual([
      ...['agent', '--drivers=zfs,rbd', '--max-transfers=2', '--child-memory=512Mi', '--grace-period=600s'],
      ...['--http-address=:8081', '--log-level=info', '--ceph-conf=/etc/ceph/ceph.conf'],
    ]);
  });

  test('no role is wide: nothing by star, and no list of secrets', async () => {
    const manifests = parse(await renderChart({ namespace, values: full }));
    const rules = manifests.flatMap((manifest) =>
      (manifest.rules ?? []).map((rule) => ({ ...rule, of: manifest.kind })),
    );
    expect(rules.length).toBeGreaterThan(10);
    for (const { resources, verbs, of } of rules) {
      expect([...resources, ...verbs]).not.toContain('*');
      if (!resources.includes('secrets')) continue;
      expect(of).toBe('Role');
      expect(verbs).not.toEqual(expect.arrayContaining(['list']));
      expect(verbs).not.toEqual(expect.arrayContaining(['watch']));
    }
  });

  test('only where there is ZFS an agent is privileged and sees the devices', async () => {
    const pod = async (drivers: string[]): Promise<Pod | undefined> =>
      parse(
        await renderChart({ namespace, values: { agent: { drivers } }, only: ['templates/agent.yaml'] }),
      )[0]?.spec?.template?.spec;
    const zfs = await pod(['zfs']);
    expect(zfs?.containers[0]?.securityContext).toMatchObject({ privileged: true });
    expect(zfs?.volumes.flatMap(({ hostPath }) => hostPath?.path ?? [])).toEqual(['/dev']);
    const rbd = await pod(['rbd']);
    expect(rbd?.containers[0]?.securityContext).toMatchObject({
      ...{ runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    });
    expect(rbd?.volumes.flatMap(({ hostPath }) => hostPath?.path ?? [])).toEqual([]);
  });
});
