import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AgentSite, type RunningAgent } from '../../datamover/agent/testing/site.ts';
import { BACKUPS, type Backup } from '../../datamover/agent/transfer.ts';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from '../../datamover/controllers/testing/double-kinds.ts';
import { Informer } from '../../datamover/kubernetes/informer.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { answers } from '../servers/daemon.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../servers/kubernetes.ts';
import { freePorts } from '../servers/ports.ts';
import { startRestartable, type Restartable } from '../servers/restartable.ts';

const VELERO = 'velero';
const OPENEBS = 'openebs';
const NODES = ['n1', 'n2', 'n3'] as const;
const TARGETS = ['one', 'two'] as const;
const LIMITS = { cluster: 5, node: 2, target: 3 } as const;
/** The first namespace has as many as all others together, and was first. */
const CROWDS = [120, 20, 20, 20, 20] as const;
const COMMAND = fileURLToPath(new URL('../../../bin/datamover', import.meta.url));
const CHILD = fileURLToPath(new URL('../../datamover/agent/testing/child-double.js', import.meta.url));

type Counts = Record<string, number>;

describePeers(
  [...KUBERNETES_PEERS, 'helm'],
  '200 VolumeSnapshotBackups at once: real controller, three real agents, doubles of their children and of ZFS',
  () => {
    let site: AgentSite;
    let controller: Restartable;
    let agents: readonly RunningAgent[];
    let done: readonly Backup[] = [];
    /** Of every state that the watch has shown: the most that ran at once. */
    const most = { cluster: 0, node: 0, target: 0 };
    const claimedOrder: string[] = [];
    const watching = new AbortController();

    beforeAll(async () => {
      site = await AgentSite.create();
      const { cluster } = site;
      await cluster.installSnapshotCrds();
      await cluster.apply(...DOUBLE_CRDS);
      await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...DOUBLE_CRD_NAMES]);
      for (const name of [VELERO, OPENEBS]) await cluster.kubectl(['create', 'namespace', name]);
      for (const name of TARGETS) {
        await mkdir(join(site.folder, name));
        await cluster.apply({
          ...{ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: VELERO, name } },
          stringData: { RESTIC_REPOSITORY: join(site.folder, name), RESTIC_PASSWORD: 'a password' },
        });
      }
      for (const [place, count] of CROWDS.entries()) await makeCrowd(place, count);
      const backups = new Informer(site.controller.of(BACKUPS), {
        ...{ signal: watching.signal, onHandlerFailure: (error) => fail(error) },
      });
      await backups.synced;
      backups.onChange(({ type, object }) => look(type, object, backups.list()));
      agents = await Promise.all(
        NODES.map((node) => site.agent(node, { drivers: ['zfs'], maxTransfers: 2, command: CHILD })),
      );
      controller = await startController();
      await until(
        () =>
          (done = backups.list()).every(
            ({ metadata: { finalizers }, status }) =>
              status?.phase === 'Completed' && finalizers === undefined,
          ),
        () =>
          JSON.stringify(
            countBy(done, ({ status }) => `${status?.phase} ${status?.batchingStatus} ${status?.message}`),
            undefined,
            1,
          ),
        400_000,
      );
    }, 600_000);
    afterAll(async () => {
      watching.abort();
      await controller.kill();
      await site.remove();
    }, 60_000);

    const failures: unknown[] = [];
    const fail = (error: unknown): void => void failures.push(error);

    const startController = async (): Promise<Restartable> => {
      const address = `127.0.0.1:${await freePorts(1)}`;
      return startRestartable({
        file: COMMAND,
        args: [
          ...['controller', '--namespace', site.mover, '--kubeconfig', site.cluster.kubeconfig],
          ...['--http-address', address, '--protected-namespaces', VELERO, '--log-level', 'warn'],
          ...['--max-transfers', String(LIMITS.cluster), '--max-transfers-per-node', String(LIMITS.node)],
          ...['--max-transfers-per-target', String(LIMITS.target)],
        ],
        env: { KUBERNETES_SERVICE_HOST: undefined },
        ...{ logsToStderr: true, patience: 120_000, ready: () => answers(`http://${address}/readyz`) },
      });
    };

    /** Snapshots as zfs-localpv leaves them, and a VolumeSnapshotBackup for each. */
    const makeCrowd = async (place: number, count: number): Promise<void> => {
      const { cluster } = site;
      const namespace = `crowd-${place}`;
      await cluster.kubectl(['create', 'namespace', namespace]);
      const ids = Array.from({ length: count }, (_, at) => `${place}-${at}`);
      const nodeOf = (at: number): string => NODES[at % NODES.length] ?? '';
      const snapshot = 'snapshot.storage.k8s.io/v1';
      await cluster.apply(
        ...ids.flatMap((id, at) => [
          {
            ...{ apiVersion: snapshot, kind: 'VolumeSnapshot', metadata: { name: `snap-${id}`, namespace } },
            spec: { source: { persistentVolumeClaimName: `db-${id}` }, volumeSnapshotClassName: 'zfs' },
          },
          {
            ...{ apiVersion: snapshot, kind: 'VolumeSnapshotContent', metadata: { name: `content-${id}` } },
            spec: {
              ...{ driver: 'zfs.csi.openebs.io', deletionPolicy: 'Delete', volumeSnapshotClassName: 'zfs' },
              source: { volumeHandle: `pvc-${id}` },
              volumeSnapshotRef: { name: `snap-${id}`, namespace },
            },
          },
          {
            ...{ apiVersion: 'zfs.openebs.io/v1', kind: 'ZFSSnapshot' },
            metadata: { name: `snapshot-${id}`, namespace: OPENEBS },
            spec: { ownerNodeID: nodeOf(at), poolName: 'tank', capacity: '1048576', volumeType: 'ZVOL' },
          },
        ]),
      );
      await cluster.kubectl(['apply', '--server-side', '--subresource=status', '-f', '-'], {
        input: ids.map((id) => JSON.stringify(readyContent(id, namespace))).join('\n---\n'),
      });
      await cluster.apply(
        ...ids.map((id, at) => ({
          ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
          metadata: { name: `vsb-${id}`, namespace },
          spec: {
            ...{ volumeSnapshotContent: { name: `content-${id}` }, protectedNamespace: VELERO },
            // Not in step with the nodes.
            resticSecretRef: { name: TARGETS[Math.floor(at / NODES.length) % TARGETS.length] },
          },
        })),
      );
    };

    const look = (type: string, object: Backup, all: readonly Backup[]): void => {
      const running = all.filter(isRunning);
      const perNode = countBy(running, ({ status }) => status?.node ?? '');
      const perTarget = countBy(running, ({ spec }) => spec.resticSecretRef?.name ?? '');
      most.cluster = Math.max(most.cluster, running.length);
      most.node = Math.max(most.node, ...Object.values(perNode));
      most.target = Math.max(most.target, ...Object.values(perTarget));
      const { uid, namespace = '' } = object.metadata;
      const key = `${namespace} ${uid}`;
      if (type === 'updated' && (object.status?.claimedBy ?? '') !== '' && !claimedOrder.includes(key))
        claimedOrder.push(key);
    };

    test('all end well, and each was carried once', async () => {
      expect(done).toHaveLength(200);
      expect(done.map(({ status }) => status?.attempts)).toEqual(done.map(() => 1));
      expect(new Set(done.map(({ status }) => status?.snapshotID)).size).toBe(200);
      const notes = (await Promise.all(TARGETS.map(readNotes))).flat();
      const expected = done.flatMap(({ status }) => {
        const tag = `transfer=${status?.transferID ?? ''}`;
        return [`${tag} begins`, `${tag} ends`];
      });
      expect(notes.toSorted()).toEqual(expected.toSorted());
      expect(failures).toEqual([]);
    });

    test('K-16: at no moment were there more than the limits of node, target and cluster allow', () => {
      expect(most.cluster).toBeLessThanOrEqual(LIMITS.cluster);
      expect(most.node).toBeLessThanOrEqual(LIMITS.node);
      expect(most.target).toBeLessThanOrEqual(LIMITS.target);
      // And they were used.
      expect(most.cluster).toBeGreaterThanOrEqual(LIMITS.cluster - 1);
    });

    test('K-16: a namespace with 120 did not hold up those with 20 that came later', () => {
      expect(claimedOrder).toHaveLength(200);
      const small = claimedOrder.findLastIndex((key) => !key.startsWith('crowd-0 '));
      // Taking turns they end after some 100; oldest first it would be the very last.
      expect(small).toBeLessThan(150);
    });

    test('nothing of them is left: leases, secrets, folders of children', async () => {
      const { cluster, mover } = site;
      const left = await cluster.kubectl(['get', 'leases,secrets', '--namespace', mover, '--output=name']);
      expect(left).not.toContain('datamover-transfer-');
      for (const node of NODES) {
        const [own = ''] = await readdir(site.scratch(node));
        expect(await readdir(join(site.scratch(node), own))).toEqual(['lock']);
      }
    });

    describe('memory', () => {
      test('the controller took no more than 150 MiB at its height', async () => {
        expect(await memory(controller.pid, 'VmHWM')).toBeLessThanOrEqual(150);
      });

      test('an agent that is idle again takes no more than 100 MiB', async () => {
        for (const { pid } of agents) expect(await memory(pid, 'VmRSS')).toBeLessThanOrEqual(100);
      });
    });

    const readNotes = async (target: string): Promise<readonly string[]> => {
      const names = (await readdir(join(site.folder, target))).filter((name) => name.endsWith('.children'));
      const texts = await Promise.all(names.map((name) => readFile(join(site.folder, target, name), 'utf8')));
      return texts.flatMap((text) => text.split('\n').filter((line) => line !== ''));
    };
  },
);

/** As the queue counts it: from the assignment on, until the agent's part is over. */
function isRunning({ status }: Backup): boolean {
  const assigned = status?.conditions?.find(({ type }) => type === 'Assigned')?.status === 'True';
  return (
    status?.phase === 'InProgress' &&
    status.node !== undefined &&
    (assigned || (status.claimedBy ?? '') !== '')
  );
}

function countBy<T>(list: readonly T[], of: (one: T) => string): Counts {
  const counts: Counts = {};
  for (const one of list) counts[of(one)] = (counts[of(one)] ?? 0) + 1;
  return counts;
}

function readyContent(id: string, namespace: string): object {
  return {
    ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotContent' },
    metadata: { name: `content-${id}` },
    spec: { volumeSnapshotRef: { name: `snap-${id}`, namespace } },
    status: { snapshotHandle: `pvc-${id}@snapshot-${id}`, readyToUse: true, restoreSize: 1 << 20 },
  };
}

async function memory(pid: number, field: 'VmHWM' | 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}
