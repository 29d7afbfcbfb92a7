import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { startSystem, SYSTEM_PEERS, type System } from '../cluster/system.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { backUp, failingBackUp, makeApplication, type Application } from './application.ts';

/** What a mover's double shows of Velero's side is in e2e/velero/path-b.test.ts; here the mover is the real one. */
describePeers([...SYSTEM_PEERS, 'restic-current'], 'failures on the way, with everything real', () => {
  let system: System;
  let application: Application;

  beforeAll(async () => {
    system = await startSystem({ controllerArgs: ['--retries=1', '--retry-backoff=1s'] });
    application = await makeApplication(system, ['data']);
  }, 600_000);
  afterAll(() => system.stop(), 180_000);

  async function recordOf(backup: string): Promise<VolumeSnapshotBackup | undefined> {
    const selector = `--selector=velero.io/backup-name=${backup}`;
    const where = ['--namespace', application.namespace, '--output=json'];
    const found = await system.cluster.kubectl(['get', 'vsb', selector, ...where]);
    return (JSON.parse(found) as { readonly items: readonly VolumeSnapshotBackup[] }).items[0];
  }

  async function eventually(
    backup: string,
    found: (record: VolumeSnapshotBackup) => boolean,
  ): Promise<VolumeSnapshotBackup> {
    let record: VolumeSnapshotBackup | undefined;
    await until(
      async () => {
        record = await recordOf(backup);
        return record !== undefined && found(record);
      },
      () => JSON.stringify(record?.status),
      240_000,
    );
    if (record === undefined) throw new Error(`${backup} has no record`);
    return record;
  }

  const patch = (kind: string, name: string, namespace: string, body: object) =>
    system.cluster.kubectl([
      ...['patch', kind, name, '--namespace', namespace, '--type=merge', `--patch=${JSON.stringify(body)}`],
    ]);

  test('a store that is away is a failure, with one sentence on describe and on the record', async () => {
    const { cluster, velero, mover } = system;
    await cluster.apply({
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'away', namespace: velero.namespace } },
      stringData: {
        // A port on which nobody listens.
        ...{ RESTIC_REPOSITORY: 's3:http://127.0.0.1:9/backups', RESTIC_PASSWORD: mover.password },
        ...{ AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_DEFAULT_REGION: 'us-east-1' },
      },
    });
    await patch('configmap', 'datamover', velero.namespace, { data: { resticSecret: 'away' } });
    const described = await failingBackUp(system, 'away', [application.namespace]);
    await patch('configmap', 'datamover', velero.namespace, { data: { resticSecret: null } });
    const record = await recordOf('away');
    expect(record?.status?.phase).toBe('Failed');
    expect(record?.status?.message).toContain('127.0.0.1:9');
    expect(oneLine(described)).toContain(oneLine(record?.status?.message ?? ''));
  }, 600_000);

  test('without a running agent the item operation’s time limit ends the wait, and the transfer', async () => {
    for (const agent of system.mover.agents.values()) await agent.kill();
    const limit = ['--item-operation-timeout', '15s'];
    const described = await failingBackUp(system, 'late', [application.namespace], ...limit);
    expect(described).toContain('Asynchronous action timed out');
    const record = await eventually('late', ({ status }) => status?.phase === 'Canceled');
    expect(record.spec.cancel).toBe(true);
  }, 600_000);

  test('what is canceled by hand is no success, and says so on both sides', async () => {
    const failing = failingBackUp(system, 'stopped', [application.namespace]);
    const { metadata } = await eventually('stopped', ({ status }) => status?.phase === 'InProgress');
    await patch('vsb', metadata.name ?? '', application.namespace, { spec: { cancel: true } });
    const described = oneLine(await failing);
    const record = await eventually('stopped', ({ status }) => status?.phase === 'Canceled');
    expect(described).toContain(oneLine(record.status?.message ?? 'no message'));
  }, 600_000);

  test('an agent that is killed at work comes back, and the backup is Completed', async () => {
    const { agents } = system.mover;
    for (const agent of agents.values()) await agent.start();
    const completing = backUp(system, 'survives', [application.namespace]);
    const taken = await eventually('survives', ({ status }) => (status?.claimedBy ?? '') !== '');
    const agent = agents.get(taken.status?.node ?? '');
    await agent?.kill();
    await agent?.start();
    await completing;
    expect((await recordOf('survives'))?.status?.phase).toBe('Completed');
  }, 600_000);
});

/** Sentences may hold runs of blanks. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
