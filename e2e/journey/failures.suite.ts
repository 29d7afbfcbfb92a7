import { beforeAll, expect, test } from '@jest/globals';
import type { DataUpload } from '../../api/neighbours/velero.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import type { System } from '../cluster/system.ts';
import {
  backUp,
  failingBackUp,
  makeApplication,
  MEBIBYTE,
  MOVE,
  oneLine,
  patch,
  uploadsOf,
  type Application,
} from './application.ts';

/**
 * Failures on the way, with everything real: what a mover's double shows of Velero's side is in e2e/velero/path-b.test.ts. For a system
 * that gives up soon, and whose default DataMoverClass is called `ours`. What can be is tried in both ways at once: `NAME` is a plain CSI
 * backup, `NAME-moved` one of which Velero moves the data.
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

  /** The DataUpload of the only claim, once it is so. */
  async function uploadOf(backup: string, found: (upload: DataUpload) => boolean): Promise<DataUpload> {
    let upload: DataUpload | undefined;
    await until(
      async () => {
        upload = (await uploadsOf(system, backup)).get('data');
        return upload !== undefined && found(upload);
      },
      () => JSON.stringify(upload?.status),
      240_000,
    );
    if (upload === undefined) throw new Error(`${backup} has no DataUpload`);
    return upload;
  }

  /** K-37: what Velero left to the mover goes with a move that came to nothing. */
  const snapshotGoes = ({ spec }: DataUpload) =>
    system.cluster.kubectl([
      ...['wait', '--for=delete', `volumesnapshot/${spec.csiSnapshot?.volumeSnapshot ?? ''}`],
      ...['--namespace', application.namespace, '--timeout=120s'],
    ]);

  const plainAndMoved = <T>(
    run: (name: string, ...more: readonly string[]) => Promise<T>,
    name: string,
  ): Promise<readonly [plain: T, moved: T]> => Promise.all([run(name), run(`${name}-moved`, ...MOVE)]);
  const fail = (name: string, ...more: readonly string[]) =>
    failingBackUp(system, name, [application.namespace], ...more);

  test('a store that is away, and one that refuses, are failures, with one sentence on describe and on the record', async () => {
    const { cluster, velero, mover, s3 } = system;
    const stores = [
      // A port on which nobody listens.
      { name: 'away', endpoint: 'http://127.0.0.1:9', cause: /127\.0\.0\.1:9/ },
      { name: 'refusing', endpoint: s3.endpoint, cause: /InvalidAccessKeyId|access key/i },
    ];
    const useSecret = (resticSecret: string | null) =>
      patch(system, 'configmap', 'datamover', velero.namespace, { data: { resticSecret } });
    const failing: Promise<string>[] = [];
    for (const { name, endpoint } of stores) {
      await cluster.apply({
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: velero.namespace } },
        stringData: {
          ...{ RESTIC_REPOSITORY: `s3:${endpoint}/${velero.bucket}`, RESTIC_PASSWORD: mover.password },
          ...{ AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'secret-of-nobody' },
          AWS_DEFAULT_REGION: 'us-east-1',
        },
      });
      await useSecret(name);
      failing.push(fail(name));
      // From then on the plugin has read its settings.
      await eventually(name, () => true);
    }
    await useSecret(null);
    const described = await Promise.all(failing);
    for (const [at, { name, cause }] of stores.entries()) {
      const { status } = (await recordOf(name)) ?? {};
      expect(status?.phase).toBe('Failed');
      expect(status?.message).toMatch(cause);
      expect(status?.message).not.toContain('secret-of-nobody');
      expect(oneLine(described[at] ?? '')).toContain(oneLine(status?.message ?? 'no message'));
    }
  }, 600_000);

  test('without a running mover the item operation’s time limit ends the wait, and the transfers', async () => {
    const { agents, controller } = system.mover;
    for (const process of [controller, ...agents.values()]) await process.stop();
    const limited = (name: string, ...more: readonly string[]) =>
      fail(name, '--item-operation-timeout', '15s', ...more);
    for (const described of await plainAndMoved(limited, 'late'))
      expect(described).toContain('Asynchronous action timed out');
    const [record, upload] = [await recordOf('late'), (await uploadsOf(system, 'late-moved')).get('data')];
    expect([record?.spec.cancel, record?.status?.phase]).toEqual([true, undefined]);
    expect([upload?.spec.cancel, upload?.status?.phase ?? '']).toEqual([true, '']);
    await controller.start();
    await eventually('late', ({ status }) => status?.phase === 'Canceled');
    await snapshotGoes(await uploadOf('late-moved', ({ status }) => status?.phase === 'Canceled'));
  }, 600_000);

  test('what is canceled by hand is no success, and says so on both sides', async () => {
    // No agent runs.
    const failing = plainAndMoved(fail, 'stopped');
    const begun = await eventually('stopped', ({ status }) => status?.phase === 'InProgress');
    const accepted = await uploadOf('stopped-moved', ({ status }) => status?.phase === 'Accepted');
    const spec = { spec: { cancel: true } };
    await patch(system, 'vsb', begun.metadata.name ?? '', application.namespace, spec);
    await patch(system, 'dataupload', accepted.metadata.name ?? '', system.velero.namespace, spec);
    const [plain, moved] = await failing;
    const record = await eventually('stopped', ({ status }) => status?.phase === 'Canceled');
    expect(oneLine(plain)).toContain(oneLine(record.status?.message ?? 'no message'));
    // Velero has words of its own for it.
    expect(moved).toContain('DataUpload is canceled');
    await snapshotGoes(await uploadOf('stopped-moved', ({ status }) => status?.phase === 'Canceled'));
  }, 600_000);

  test('Velero that is killed while it waits goes on waiting, another node goes on with what a killed agent had, and the backups are Completed', async () => {
    const { cluster, velero, mover, s3 } = system;
    await cluster.apply(
      {
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'slow', namespace: velero.namespace } },
        stringData: {
          ...{ AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey },
          RESTIC_PASSWORD: mover.password,
        },
      },
      {
        ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'BackupTarget' },
        metadata: { name: 'slow', namespace: velero.namespace },
        spec: {
          ...{ location: `s3:${s3.endpoint}/${velero.bucket}/restic/slow`, region: s3.region },
          ...{ credentialsSecretRef: { name: 'slow' }, passwordSecretRef: { name: 'slow' } },
          // The claim's data are ten times as much.
          limits: { uploadBytesPerSecond: MEBIBYTE },
        },
      },
    );
    const target = (backupTarget: string | null) =>
      cluster.kubectl([
        ...['patch', 'datamoverclass', 'ours', '--type=merge'],
        `--patch=${JSON.stringify({ spec: { backupTarget } })}`,
      ]);
    await target('slow');
    // Without agents they wait.
    const completing = plainAndMoved(
      (name, ...more) => backUp(system, name, [application.namespace], ...more),
      'survives',
    );
    // One at a time: kubectl waits for one that is not there yet, but fails where two are not.
    for (const sign of ['create', 'jsonpath={.status.phase}=WaitingForPluginOperations'])
      for (const name of ['survives', 'survives-moved'])
        await cluster.kubectl([
          ...['wait', `--for=${sign}`, '--timeout=240s', '--namespace', velero.namespace],
          `backup.velero.io/${name}`,
        ]);
    await velero.server.kill();
    await velero.server.start();
    for (const agent of mover.agents.values()) await agent.start();
    const carried = await eventually('survives', ({ status }) => (status?.progress?.bytesDone ?? 0) > 0);
    const first = carried.status?.node ?? '';
    await mover.agents.get(first)?.kill();
    await completing;
    await target(null);
    const { status } = (await recordOf('survives')) ?? {};
    expect([status?.phase, status?.attempts]).toEqual(['Completed', 2]);
    expect(status?.node).not.toBe(first);
    expect((await uploadOf('survives-moved', () => true)).status?.phase).toBe('Completed');
  }, 600_000);
}
