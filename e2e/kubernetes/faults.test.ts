import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { transferIdOf } from '../../api/derived-names.ts';
import { LEASES } from '../../api/names.ts';
import type { RunningAgent } from '../../datamover/agent/testing/site.ts';
import type { Backup } from '../../datamover/agent/transfer.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../servers/kubernetes.ts';
import { FleetSite, VELERO } from './fleet-site.ts';

interface Where {
  readonly site: FleetSite;
  readonly backup: Backup;
  readonly namespace: string;
  readonly id: string;
}
type Fault = (where: Where) => Promise<void>;

const remove =
  (kind: string, name: (where: Where) => string, namespaced = true): Fault =>
  async (where) => {
    await where.site.cluster.kubectl([
      ...['delete', kind, name(where), '--wait=false'],
      ...(namespaced ? [`--namespace=${where.namespace}`] : []),
    ]);
  };

const HOUR_MS = 3_600_000;

/** What happens while its child runs, and must not change what comes of it. */
const SURVIVED: readonly (readonly [string, Fault])[] = [
  [
    'etcd is killed and comes back',
    async ({ site: { cluster } }) => {
      await cluster.etcdServer.kill();
      await cluster.etcdServer.start();
    },
  ],
  [
    'the API server is killed and comes back',
    async ({ site: { cluster } }) => {
      await cluster.apiServer.kill();
      await cluster.apiServer.start();
    },
  ],
  [
    'a gap in the watch: what happened is forgotten when the API server comes back',
    async ({ site: { cluster } }) => {
      await cluster.apiServer.kill();
      await cluster.compact();
      await cluster.apiServer.start();
    },
  ],
  [
    'the VolumeSnapshotContent is deleted',
    remove('volumesnapshotcontent', ({ id }) => `content-${id}`, false),
  ],
  ['the VolumeSnapshot is deleted', remove('volumesnapshot', ({ id }) => `snap-${id}`)],
  ['the claim is deleted', remove('pvc', ({ id }) => `db-${id}`)],
  [
    "the user's secret is deleted",
    async ({ site }) => {
      await site.cluster.kubectl(['delete', 'secret', 'one', `--namespace=${VELERO}`]);
    },
  ],
  ["the user's password is changed", ({ site }) => site.makeSecret('one', 'another password')],
  [
    'K-19: the clocks of controllers and agent jump an hour forwards, then to an hour before',
    async ({ site, backup }) => {
      const leader = await site.leader();
      for (const aheadMs of [HOUR_MS, -HOUR_MS]) {
        await site.setClocks(aheadMs);
        // Both leases are renewed, and the transfer is looked at, by the new clock.
        for (const lease of [
          LEASES.controller,
          LEASES.transfer(transferIdOf('VolumeSnapshotBackup', backup.metadata.uid)),
        ])
          await until(
            async () => Math.abs((await site.renewal(lease)) - Date.now() - aheadMs) < HOUR_MS / 2,
            () => `${lease} to be renewed by the clock that jumped`,
          );
        expect(await site.leader()).toBe(leader);
      }
    },
  ],
  [
    'the leading controller is killed: the one that stood by goes on',
    async ({ site }) => {
      const first = await site.leader();
      await site.controllers.get(first)?.kill();
      await until(
        async () => (await site.leader()) !== first,
        () => 'another leader',
      );
    },
  ],
];

describePeers(
  [...KUBERNETES_PEERS, 'helm'],
  'while a transfer runs: two real controllers, a real agent, doubles of its children and of ZFS',
  () => {
    let site: FleetSite;
    let agent: RunningAgent;
    let next = 0;

    beforeAll(async () => {
      site = await FleetSite.create();
      await site.startController('first');
      await site.startController('second');
      const options = { drivers: ['zfs' as const], command: FleetSite.CHILD, leaseSeconds: 30 };
      agent = await site.agents.agent('n1', options, site.clockEnvironment);
    }, 240_000);
    beforeEach(async () => {
      await site.makeSecret('one', 'a password');
      for (const controller of site.controllers.values()) await controller.start();
      await site.setClocks(0);
    });
    afterAll(async () => site.remove(), 60_000);

    /** A backup whose child has begun and does not end before `letGo`. */
    const begin = async (): Promise<Where & { letGo: () => Promise<void>; begun: () => Promise<number> }> => {
      const namespace = `fault-${next++}`;
      const place = `${site.agents.folder}/one/${namespace}`;
      await writeFile(`${place}.hold`, '');
      await site.makeCrowd(namespace, 1, () => ({ node: 'n1', secret: 'one' }));
      const id = `${namespace}-0`;
      const backup = await site.backup(namespace, `vsb-${id}`);
      const begun = async (): Promise<number> => {
        const notes = await readFile(`${place}.children`, 'utf8').catch(() => '');
        return notes.split('\n').filter((line) => line.endsWith(' begins')).length;
      };
      await until(
        async () => (await begun()) === 1,
        () => 'a child',
      );
      return { site, backup, namespace, id, begun, letGo: () => rm(`${place}.hold`) };
    };
    const childGone = async (): Promise<void> => {
      const pid = await agent.childPid();
      expect(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).toBe('');
    };
    const final = (backup: Backup): Promise<Backup> =>
      site.agents.seen(
        backup,
        ({ status, metadata }) =>
          ['Completed', 'Failed', 'Canceled'].includes(status?.phase ?? '') &&
          metadata.finalizers === undefined,
        180_000,
      );

    test.each(SURVIVED)(
      '%s',
      async (_, fault) => {
        const where = await begin();
        await fault(where);
        await where.letGo();
        const { status } = await final(where.backup);
        expect(status).toMatchObject({ phase: 'Completed', attempts: 1 });
        expect(await where.begun()).toBe(1);
      },
      240_000,
    );

    test('of two controllers one leads, and both are ready', async () => {
      const leader = await site.leader();
      expect([...site.controllers.keys()]).toContain(leader);
      for (const [name] of site.controllers) expect(await site.isReady(name)).toBe(true);
    });

    test('its VolumeSnapshotBackup is deleted: the child stops, and the object goes', async () => {
      const where = await begin();
      const { name } = where.backup.metadata;
      const scope = `--namespace=${where.namespace}`;
      await site.cluster.kubectl(['delete', 'vsb', name, scope, '--timeout=120s']);
      expect(await site.cluster.kubectl(['get', 'vsb', scope, '--output=name'])).toBe('');
      await childGone();
    }, 180_000);

    test('its namespace is deleted: the child stops, and the namespace goes', async () => {
      const where = await begin();
      await site.cluster.kubectl(['delete', 'namespace', where.namespace, '--timeout=120s']);
      await childGone();
    }, 180_000);
  },
);
