import { beforeAll, expect, test } from '@jest/globals';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import type { System } from '../cluster/system.ts';
import { backUp, failingBackUp, makeApplication, oneLine, type Application } from './application.ts';

/**
 * Failures on the way, with everything real: what a mover's double shows of Velero's side is in e2e/velero/path-b.test.ts. For a system
 * that gives up soon.
 */
export function failures(running: () => System): void {
  let system: System;
  let application: Application;

  beforeAll(async () => {
    system = running();
    application = await makeApplication(system, ['data']);
  }, 600_000);

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

  test.each([
    // A port on which nobody listens.
    ['away', () => 'http://127.0.0.1:9', /127\.0\.0\.1:9/],
    ['refusing', () => system.s3.endpoint, /InvalidAccessKeyId|access key/i],
  ])(
    'a store that is %s is a failure, with one sentence on describe and on the record',
    async (name, endpoint, cause) => {
      const { cluster, velero, mover } = system;
      await cluster.apply({
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: velero.namespace } },
        stringData: {
          ...{ RESTIC_REPOSITORY: `s3:${endpoint()}/${velero.bucket}`, RESTIC_PASSWORD: mover.password },
          ...{ AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'secret-of-nobody' },
          AWS_DEFAULT_REGION: 'us-east-1',
        },
      });
      await patch('configmap', 'datamover', velero.namespace, { data: { resticSecret: name } });
      const described = await failingBackUp(system, name, [application.namespace]);
      await patch('configmap', 'datamover', velero.namespace, { data: { resticSecret: null } });
      const record = await recordOf(name);
      expect(record?.status?.phase).toBe('Failed');
      expect(record?.status?.message).toMatch(cause);
      expect(record?.status?.message).not.toContain('secret-of-nobody');
      expect(oneLine(described)).toContain(oneLine(record?.status?.message ?? ''));
    },
    600_000,
  );

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
}
