import { setTimeout as delay } from 'node:timers/promises';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isGone } from '../../datamover/process/owner.ts';
import { run } from '../../datamover/process/spawn.ts';
import { claim } from '../servers/claims.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { scratchDirectory } from '../servers/scratch.ts';
import { KEEPER_VARIABLE } from '../servers/shared.ts';
import type { ClusterState } from './state.ts';
import { SYSTEM_PEERS } from './system.ts';

const PATIENCE = 900_000;

/** Processes by id, and their parents'. */
function parents(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = existsSync(`/proc/${name}/stat`) ? readStat(name) : undefined;
    if (stat !== undefined) found.set(Number(name), stat);
  }
  return found;
}

function readStat(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It ended meanwhile.
    return undefined;
  }
}

/** A process and all that it started. */
function family(root: number): number[] {
  const all = parents();
  const found = [root];
  for (const member of found) for (const [pid, parent] of all) if (parent === member) found.push(pid);
  return found;
}

describePeers(
  [...SYSTEM_PEERS, 'openzfs', 'restic-current'],
  'make cluster-up ZFS=1, demo-cluster, cluster-down',
  () => {
    let home: string;
    let stateFile: string;

    beforeAll(async () => {
      home = await scratchDirectory('cluster');
      stateFile = join(home, 'velero-datamover/cluster/state.json');
    });
    afterAll(async () => {
      await call('down');
      await rm(home, { recursive: true, force: true });
    }, PATIENCE);

    const call = async (program: 'up' | 'demo' | 'down'): Promise<string> => {
      const file = fileURLToPath(new URL(`${program}.js`, import.meta.url));
      // Servers of its own, and nobody's cluster but this test's.
      const env = { XDG_STATE_HOME: home, [KEEPER_VARIABLE]: undefined, ZFS: '1' };
      return (await run({ file: process.execPath, args: ['--no-warnings', file], env })).stdout;
    };
    const state = (): ClusterState => JSON.parse(readFileSync(stateFile, 'utf8')) as ClusterState;

    test(
      'the demonstration starts the cluster, loses a namespace and brings it back',
      async () => {
        const said = await call('demo');
        const sums = [...said.matchAll(/sha256 of (\w+) *(?:now)?: ([0-9a-f]{64})/g)];
        const [database, photos] = ['database', 'photos'].map((name) =>
          sums.filter(([, of]) => of === name).map(([, , sum]) => sum),
        );
        expect([database?.length, new Set(database).size]).toEqual([2, 1]);
        expect([photos?.length, new Set(photos).size]).toEqual([2, 1]);
        expect(said.match(/completed with status: Completed/g)).toHaveLength(3);
        expect(said).toContain('no errors were found');
        // It is no terminal.
        expect(said).not.toContain('\u001b');
      },
      PATIENCE,
    );

    test(
      'with ZFS=1 a claim on OpenEBS ZFS is backed up, too',
      async () => {
        const { storageClasses: [storageClass = ''] = [], pool } = state().access?.zfs ?? {};
        const wish = claim({ namespace: 'zoo', name: 'lion', storageClass, size: '16Mi' });
        const script = `. ${join(home, 'velero-datamover/cluster/env')}
        zfs list -H -o name
        kubectl create namespace zoo
        echo "$CLAIM" | kubectl apply -f -
        kubectl wait pvc/lion --namespace zoo --for=jsonpath={.status.phase}=Bound --timeout=300s
        velero backup create lion --include-namespaces zoo --wait
        kubectl get vsb --namespace zoo`;
        const { stdout } = await run({
          ...{ file: 'sh', args: ['-ec', script], env: { CLAIM: JSON.stringify(wish) } },
        });
        expect(stdout).toContain(pool);
        expect(stdout).toContain('Backup completed with status: Completed');
        expect(stdout).toMatch(/lion +\S+ +Completed +Completed +zfs/);
      },
      PATIENCE,
    );

    test(
      'a second start says that it is up, and how it is used; the end leaves no process',
      async () => {
        const { owner, pid, since } = state();
        const said = await call('up');
        expect(said).toContain('The cluster is up already.');
        const kubeconfig = /export KUBECONFIG=(\S+)/.exec(said)?.[1] ?? '';
        const environment = join(home, 'velero-datamover/cluster/env');
        const script = `. ${environment}; [ "$KUBECONFIG" = ${kubeconfig} ]; kubectl get vsb; velero backup get`;
        const { stdout } = await run({ file: 'sh', args: ['-ec', script] });
        expect(stdout).toMatch(/first-\d+ +Completed/);
        expect(state().owner).toBe(owner);
        const running = family(pid);
        // etcd, API server, controller-manager, Ceph's two, MinIO, Velero, sidecars, controller, agents.
        expect(running.length).toBeGreaterThan(12);

        expect(await call('down')).toContain('The cluster is down');
        expect(isGone(owner, since, 'one machine')).toBe(true);
        // The process that talks to Ceph for a mover lets go when that ends, and gives up after some seconds without a cluster.
        for (let i = 0; i < 150 && running.some((one) => parents().has(one)); i++) await delay(100);
        expect(running.filter((one) => parents().has(one))).toEqual([]);
        expect(existsSync(stateFile) || existsSync(environment)).toBe(false);
        expect(await call('down')).toContain('No cluster is up.');
      },
      PATIENCE,
    );
  },
);
