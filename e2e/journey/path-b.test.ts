import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { startSystem, SYSTEM_PEERS, type System } from '../cluster/system.ts';
import { describePeers } from '../servers/describe-peers.ts';
import {
  awaitDeletion,
  backUp,
  change,
  deleteBackup,
  digestsOf,
  loseApplication,
  makeApplication,
  MEBIBYTE,
  recordsOf,
  restic,
  restore,
  snapshotIds,
  type Application,
} from './application.ts';

describePeers(
  [...SYSTEM_PEERS, 'restic-current'],
  'plain CSI backups of Velero, moved from Ceph and back',
  () => {
    let system: System;
    let application: Application;

    beforeAll(async () => {
      system = await startSystem({
        veleroArgs: ['--garbage-collection-frequency=3s', '--concurrent-backups=3'],
      });
      application = await makeApplication(system, ['data', 'logs']);
    }, 600_000);
    afterAll(() => system.stop(), 120_000);

    /** The most transfers that one node was seen to have at once while something else went on. */
    async function busiestDuring<T>(
      work: Promise<T>,
    ): Promise<{ readonly outcome: T; readonly most: number }> {
      let over = false;
      let most = 0;
      const look = async (): Promise<void> => {
        const found = await system.cluster.kubectl(['get', 'vsb', '--all-namespaces', '--output=json']);
        const { items } = JSON.parse(found) as { readonly items: readonly VolumeSnapshotBackup[] };
        const busy = items.filter(({ status }) => status?.batchingStatus === 'Processing');
        for (const { status } of busy)
          most = Math.max(most, busy.filter((other) => other.status?.node === status?.node).length);
      };
      const watching = (async () => {
        while (!over) await look().then(() => delay(3_000));
      })();
      try {
        const outcome = await work;
        return { outcome, most };
      } finally {
        over = true;
        await watching;
      }
    }

    test('a backup ends as Completed, and restic finds it whole', async () => {
      await backUp(system, 'first', [application.namespace]);
      const snapshots = JSON.parse(await restic(system, application.namespace, 'snapshots')) as unknown[];
      expect(snapshots).toHaveLength(2);
      await restic(system, application.namespace, 'check', '--read-data');
    }, 600_000);

    test('the lost namespace comes back byte for byte, and at the same time into another one', async () => {
      await loseApplication(system, application);
      const { namespace, digests } = application;
      await Promise.all([
        restore(system, 'back', 'first'),
        restore(system, 'beside', 'first', '--namespace-mappings', `${namespace}:${namespace}-two`),
      ]);
      for (const restored of [namespace, `${namespace}-two`])
        expect(await digestsOf(system, restored, digests.keys())).toEqual(digests);
    }, 600_000);

    test('a later backup reads what has changed, and comes back as it was then', async () => {
      // The volume is another one since the restore: what changed is told by its content.
      const earlier = await snapshotIds(system, application.namespace);
      await backUp(system, 'second', [application.namespace]);
      const second = await recordsOf(system, 'second');
      await change(system, application, 'data', 20 * MEBIBYTE, 4096);
      await backUp(system, 'third', [application.namespace]);
      const third = await recordsOf(system, 'third');
      for (const claim of ['data', 'logs']) {
        const { status } = third.get(claim) ?? {};
        expect(earlier).toContain(second.get(claim)?.status?.base?.snapshotID);
        expect(second.get(claim)?.status?.amounts?.uploaded).toBeLessThan(MEBIBYTE);
        expect(status?.base).toEqual({ snapshotID: second.get(claim)?.status?.snapshotID });
        expect(status?.amounts?.changed).toBeLessThanOrEqual(claim === 'data' ? OBJECT : 0);
        expect(status?.amounts?.read).toBeLessThanOrEqual(2 * OBJECT);
      }
      await loseApplication(system, application);
      await restore(system, 'again', 'third');
      const { namespace, digests } = application;
      expect(await digestsOf(system, namespace, digests.keys())).toEqual(digests);
    }, 600_000);

    test('three at once: fifty claims, a few, and those of a schedule', async () => {
      const { velero, cluster } = system;
      const names = Array.from({ length: MANY }, (_, at) => `claim-${at}`);
      const many = await makeApplication(system, names, 8, names.slice(0, 4));
      const kiosk = await makeApplication(system, ['till'], 8);
      const scheduled = ['--schedule=@every 1h', '--include-namespaces', kiosk.namespace];
      await velero.cli('schedule', 'create', 'hourly', ...scheduled);
      const spec = (changed: object) =>
        cluster.kubectl([
          ...['patch', 'schedule.velero.io', 'hourly', '--namespace', velero.namespace, '--type=merge'],
          `--patch=${JSON.stringify({ spec: changed })}`,
        ]);
      await until(
        async () => (await velero.cli('schedule', 'get')).includes('Enabled'),
        () => 'the schedule is not enabled',
      );
      // An hour in no time: Velero looks at a schedule that was changed at once.
      await delay(2_000);
      await spec({ schedule: '@every 1s' });
      const find = ['get', 'backup.velero.io', '--selector=velero.io/schedule-name=hourly', '--output=name'];
      const scheduling = async (): Promise<string> => {
        let name = '';
        await until(
          async () => {
            name = (await cluster.kubectl([...find, '--namespace', velero.namespace])).trim();
            return name !== '';
          },
          () => 'the schedule makes no backup',
        );
        await spec({ paused: true });
        await cluster.kubectl([
          ...['wait', '--for=jsonpath={.status.phase}=Completed', ...name.split('\n'), '--timeout=400s'],
          ...['--namespace', velero.namespace],
        ]);
        return name;
      };
      const { outcome, most } = await busiestDuring(
        Promise.all([
          backUp(system, 'many', [many.namespace]),
          backUp(system, 'few', [application.namespace]),
          scheduling(),
        ]),
      );
      const [described, , name] = outcome;
      const moved = [...(await recordsOf(system, 'many')).values()];
      expect(moved.map(({ status }) => status?.phase)).toEqual(names.map(() => 'Completed'));
      // Each with its bytes, and no node with more at once than it may have.
      expect(described.match(/Plugin:\s+datamover\.io\/move-snapshot/g)).toHaveLength(MANY);
      expect(described.match(/8388608 of 8388608 complete \(Bytes\)/g)).toHaveLength(MANY);
      expect(most).toBe(PER_NODE);
      expect(await snapshotIds(system, many.namespace)).toHaveLength(MANY);
      expect(await snapshotIds(system, kiosk.namespace)).toHaveLength(name.split('\n').length);
    }, 900_000);

    test('a deleted backup and one that expires free their data, and no other’s', async () => {
      const { velero, cluster } = system;
      const kept = [...(await recordsOf(system, 'few')).values()].map(({ status }) => status?.snapshotID);
      const before = await snapshotIds(system, application.namespace);
      // Both at once.
      await cluster.kubectl([
        ...['patch', 'backup.velero.io', 'second', '--namespace', velero.namespace, '--type=merge'],
        `--patch=${JSON.stringify({ status: { expiration: '2020-01-01T00:00:00Z' } })}`,
      ]);
      await deleteBackup(system, 'first');
      await awaitDeletion(system, 'second');
      const left = await snapshotIds(system, application.namespace);
      expect(left).toEqual(expect.arrayContaining(kept));
      expect(left).toHaveLength(before.length - 4);
      await restic(system, application.namespace, 'check', '--read-data');
    }, 600_000);
  },
);

/** An RBD image's: what its map of objects tells changes by. */
const OBJECT = 4 * MEBIBYTE;
/** Of 8 MiB each. */
const MANY = 50;
/** The default of `--max-transfers-per-node`. */
const PER_NODE = 2;
