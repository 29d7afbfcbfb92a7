import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunningAgent } from '../../datamover/agent/testing/site.ts';
import { BACKUPS, type Backup } from '../../datamover/agent/transfer.ts';
import { Informer } from '../../datamover/kubernetes/informer.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../servers/kubernetes.ts';
import type { Restartable } from '../servers/restartable.ts';
import { FleetSite, TARGETS } from './fleet-site.ts';

const NODES = ['n1', 'n2', 'n3'] as const;
const LIMITS = { cluster: 5, node: 2, target: 3 } as const;
/** The first namespace has as many as all others together, and was first. */
const CROWDS = [120, 20, 20, 20, 20] as const;
type Counts = Record<string, number>;

describePeers(
  [...KUBERNETES_PEERS, 'helm'],
  '200 VolumeSnapshotBackups at once: real controller, three real agents, doubles of their children and of ZFS',
  () => {
    let site: FleetSite;
    let controller: Restartable;
    let agents: readonly RunningAgent[];
    let done: readonly Backup[] = [];
    /** Of every state that the watch has shown: the most that ran at once. */
    const most = { cluster: 0, node: 0, target: 0 };
    const claimedOrder: string[] = [];
    const watching = new AbortController();

    beforeAll(async () => {
      site = await FleetSite.create();
      for (const [crowd, count] of CROWDS.entries()) {
        // Targets are not in step with nodes.
        await site.makeCrowd(`crowd-${crowd}`, count, (at) => ({
          node: NODES[at % NODES.length] ?? 'n1',
          secret: TARGETS[Math.floor(at / NODES.length) % TARGETS.length] ?? 'one',
        }));
      }
      const backups = new Informer(site.agents.controller.of(BACKUPS), {
        ...{ signal: watching.signal, onHandlerFailure: (error) => fail(error) },
      });
      await backups.synced;
      backups.onChange(({ type, object }) => look(type, object, backups.list()));
      agents = await Promise.all(
        NODES.map((node) =>
          site.agents.agent(node, { drivers: ['zfs'], maxTransfers: 2, command: FleetSite.CHILD }),
        ),
      );
      controller = await site.startController('controller', [
        ...['--max-transfers', String(LIMITS.cluster), '--max-transfers-per-node', String(LIMITS.node)],
        ...['--max-transfers-per-target', String(LIMITS.target)],
      ]);
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
      await site.remove();
    }, 60_000);

    const failures: unknown[] = [];
    const fail = (error: unknown): void => void failures.push(error);

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
      const { cluster, mover } = site.agents;
      const left = await cluster.kubectl(['get', 'leases,secrets', '--namespace', mover, '--output=name']);
      expect(left).not.toContain('datamover-transfer-');
      for (const node of NODES) {
        const [own = ''] = await readdir(site.agents.scratch(node));
        expect(await readdir(join(site.agents.scratch(node), own))).toEqual(['lock']);
      }
    });

    test('the controller’s metrics tell what became of them', async () => {
      const said = await site.metrics('controller');
      expect(said).toContain('datamover_objects{operation="backup",phase="Completed"} 200');
      const lastSuccesses = said.filter((line) =>
        line.startsWith('datamover_volume_last_success_timestamp_seconds{'),
      );
      expect(lastSuccesses).toHaveLength(200);
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
      const names = (await readdir(join(site.agents.folder, target))).filter((name) =>
        name.endsWith('.children'),
      );
      const texts = await Promise.all(
        names.map((name) => readFile(join(site.agents.folder, target, name), 'utf8')),
      );
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

async function memory(pid: number, field: 'VmHWM' | 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}
