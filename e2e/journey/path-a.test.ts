import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DataUpload } from '../../api/neighbours/velero.ts';
import { parseSnapshotReference } from '../../api/snapshot-reference.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { startSystem, SYSTEM_PEERS, type System } from '../cluster/system.ts';
import { describePeers } from '../servers/describe-peers.ts';
import {
  awaitBackup,
  backUp,
  change,
  deleteBackup,
  digestsOf,
  downloadsOf,
  failingBackUp,
  failingRestore,
  loseApplication,
  makeApplication,
  MEBIBYTE,
  MOVE,
  oneLine,
  patch,
  recordsOf,
  restic,
  restore,
  snapshotIds,
  toldOf,
  uploadsOf,
  type Application,
} from './application.ts';
import { failures } from './failures.suite.ts';

describePeers([...SYSTEM_PEERS, 'restic-current'], "Velero's own way to move data, with our mover", () => {
  let system: System;
  let second: System | undefined;
  let application: Application;

  beforeAll(async () => {
    system = await startSystem({
      controllerArgs: ['--retries=1', '--retry-backoff=1s'],
      // So long Velero waits for a claim to be bound whose restore by the plugin has failed.
      veleroArgs: ['--resource-timeout=15s'],
    });
    application = await makeApplication(system, ['data', 'logs']);
    const snapshotClass = ['get', 'volumesnapshotclass', system.rbd.snapshotClass, '--output=json'];
    const known = JSON.parse(await system.cluster.kubectl(snapshotClass)) as object;
    const classOf = (name: string, spec: object): object => ({
      ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'DataMoverClass', metadata: { name } },
      spec: { mover: 'datamover.io', ...spec },
    });
    await system.cluster.apply(
      { ...known, metadata: { name: 'retained' }, deletionPolicy: 'Retain' },
      classOf('ours', { default: true }),
      classOf('brief', { keepSnapshot: 'None' }),
    );
    await annotate('data', 'velero.io/csi-volumesnapshot-class=retained');
  }, 600_000);
  afterAll(async () => {
    await second?.stop();
    await system.stop();
  }, 180_000);

  const annotate = (claim: string, annotation: string) =>
    system.cluster.kubectl([
      ...['annotate', 'pvc', claim, annotation, '--overwrite', '--namespace', application.namespace],
    ]);
  const setPassword = (password: string) =>
    patch(system, 'secret', 'dm-credential', system.velero.namespace, {
      stringData: { RESTIC_PASSWORD: password },
    });

  /** Waits until so many snapshots are left on the storage itself, whatever is in the cluster. */
  async function snapshotsOnCeph(count: number): Promise<void> {
    let found: string[] = [];
    await until(
      async () => {
        found = (await system.rbd.images()).filter((name) => name.startsWith('csi-snap-'));
        return found.length === count;
      },
      () => found.join(),
    );
  }

  /** Waits until these snapshots are left in the cluster, and nothing else of the mover: it cleans up after it has told Velero the end. */
  async function left(uploads: readonly (DataUpload | undefined)[]): Promise<void> {
    const names = uploads.map((upload) => upload?.spec.csiSnapshot?.volumeSnapshot ?? '').sort();
    const get = ['get', 'volumesnapshot,vsb', '--namespace', application.namespace, '--output=name'];
    let found: string[] = [];
    await until(
      async () => {
        const lines = (await system.cluster.kubectl(get)).trim().split('\n');
        found = lines.map((line) => line.replace('volumesnapshot.snapshot.storage.k8s.io/', '')).sort();
        return found.join() === names.join();
      },
      () => `${found.join()} are left`,
    );
  }

  const snapshotsIn = () => snapshotIds(system, application.namespace);

  test('a backup ends as Completed, and describe shows its bytes', async () => {
    const described = await backUp(system, 'first', [application.namespace], ...MOVE);
    expect(described).toMatch(/Data Movement:/);
    expect(described).toMatch(/Data Mover: datamover\.io/);
    expect(described).toMatch(/Moved data Size \(bytes\): 33554432/);
    expect(described).not.toMatch(/(Errors|Warnings):\s+[1-9]/);
    const uploads = await uploadsOf(system, 'first');
    expect([...uploads.keys()].sort()).toEqual(['data', 'logs']);
    const moved = [...uploads.values()].map(
      ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
    );
    expect(await snapshotsIn()).toEqual(moved.toSorted());
    await restic(system, application.namespace, 'check', '--read-data');
    await left([...uploads.values()]);
    await snapshotsOnCeph(2);
  }, 600_000);

  test('K-37: a second one reads what has changed, by the first one’s snapshot, and takes its place', async () => {
    await change(system, application, 'data', 20 * MEBIBYTE, 4096);
    await annotate('logs', 'datamover.io/class=brief');
    await backUp(system, 'second', [application.namespace], ...MOVE);
    const [before, after] = [await uploadsOf(system, 'first'), await uploadsOf(system, 'second')];
    for (const claim of ['data', 'logs']) {
      const first = parseSnapshotReference(before.get(claim)?.status?.snapshotID ?? '');
      const { incrementalBytes, dataMoverResult } = after.get(claim)?.status ?? {};
      expect(dataMoverResult).toMatchObject({
        ...{ base: first.snapshotID, mechanism: expect.stringMatching(/^rbd-(diff-by-snap-id|object-map)$/) },
      });
      // One block was written to; distrust reads another one of those that are said to be unchanged.
      expect(incrementalBytes).toBeLessThanOrEqual(claim === 'data' ? OBJECT : 0);
      expect(Number(dataMoverResult?.['bytesRead'])).toBeLessThanOrEqual(2 * OBJECT);
    }
    expect(Number(before.get('data')?.status?.dataMoverResult?.['bytesRead'])).toBeGreaterThan(2 * OBJECT);
    // One class keeps none; the other snapshot class would have kept all of them.
    await left([after.get('data')]);
    await snapshotsOnCeph(1);
  }, 600_000);

  test('the lost namespace comes back byte for byte, and at the same time into another one', async () => {
    await loseApplication(system, application);
    await snapshotsOnCeph(0);
    const { namespace, digests } = application;
    await Promise.all([
      restore(system, 'back', 'second'),
      restore(system, 'beside', 'second', '--namespace-mappings', `${namespace}:${namespace}-two`),
    ]);
    for (const restored of [namespace, `${namespace}-two`])
      expect(await digestsOf(system, restored, digests.keys())).toEqual(digests);
  }, 600_000);

  const into = (namespace: string) => ['--namespace-mappings', `${application.namespace}:${namespace}`];
  const restoresIn = async (namespace: string): Promise<ReadonlyMap<string, VolumeSnapshotRestore>> => {
    const found = await system.cluster.kubectl(['get', 'vsr', '--namespace', namespace, '--output=json']);
    const { items } = JSON.parse(found) as { readonly items: readonly VolumeSnapshotRestore[] };
    return new Map(items.map((record) => [record.spec.target?.claimName ?? '', record]));
  };

  test('a wrong password and a missing class are failures, with the same sentence everywhere, on the way there and back', async () => {
    await backUp(system, 'plain', [application.namespace]);
    await setPassword('not the password');
    await annotate('logs', 'datamover.io/class=gone');
    const [described, ...restored] = await Promise.all([
      failingBackUp(system, 'locked', [application.namespace], ...MOVE),
      failingRestore(system, 'locked-moved', 'second', ...into('locked-moved')),
      failingRestore(system, 'locked-plain', 'plain', ...into('locked-plain')),
    ]);
    await setPassword(system.mover.password);
    await annotate('logs', 'datamover.io/class-');
    const uploads = await uploadsOf(system, 'locked');
    for (const [claim, cause] of [
      ['data', /password/],
      ['logs', /there is no DataMoverClass gone/],
    ] as const) {
      const { phase, message } = uploads.get(claim)?.status ?? {};
      expect(phase).toBe('Failed');
      expect(message).toMatch(cause);
      expect(oneLine(described)).toContain(oneLine(message ?? ''));
    }
    const downloads = await downloadsOf(system, 'locked-moved');
    const records = await restoresIn('locked-plain');
    for (const claim of ['data', 'logs'])
      for (const [object, namespace, said] of [
        [downloads.get(claim), 'locked-moved', restored[0]],
        [records.get(claim), 'locked-plain', restored[1]],
      ] as const) {
        const { phase, message = '' } = object?.status ?? {};
        expect([phase, message]).toEqual(['Failed', expect.stringMatching(/password/)]);
        expect(said).toContain(oneLine(message));
        // Nobody who sees a claim that waits for its volume thinks of a VolumeSnapshotRestore.
        const told = await toldOf(system, namespace, claim);
        expect(told.phase).toBe('Pending');
        expect(told.warnings).toContain(oneLine(message));
      }
    await system.cluster.kubectl(['delete', 'namespace', 'locked-moved', 'locked-plain', '--wait=false']);
  }, 600_000);

  test('a restore whose backup is gone, and one that is canceled, are failures, and each claim says so', async () => {
    const { mover, cluster, velero } = system;
    const { namespace, digests } = application;
    const lost = (await uploadsOf(system, 'first')).get('data')?.status?.snapshotID ?? '';
    await restic(system, namespace, 'forget', parseSnapshotReference(lost).snapshotID);
    // Nothing begins before they are canceled.
    mover.controller.pause();
    const restoring = Promise.all([
      failingRestore(system, 'gone', 'first', ...into('gone')),
      failingRestore(system, 'given-up', 'plain', ...into('given-up')),
    ]);
    await until(
      async () => {
        const download = (await downloadsOf(system, 'gone')).get('logs');
        const record = (await restoresIn('given-up')).get('logs');
        if (download === undefined || record === undefined) return false;
        const spec = { spec: { cancel: true } };
        await patch(system, 'datadownload', download.metadata.name ?? '', velero.namespace, spec);
        await patch(system, 'vsr', record.metadata.name ?? '', 'given-up', spec);
        return true;
      },
      () => 'no DataDownload and VolumeSnapshotRestore to be canceled',
      240_000,
    );
    mover.controller.resume();
    const [gone, givenUp] = await restoring;
    const downloads = await downloadsOf(system, 'gone');
    const { phase, message = '' } = downloads.get('data')?.status ?? {};
    expect([phase, message]).toEqual(['Failed', expect.stringMatching(/find snapshot/)]);
    expect(gone).toContain(oneLine(message));
    expect((await toldOf(system, 'gone', 'data')).warnings).toContain(oneLine(message));
    // Velero has words of its own for it.
    expect(downloads.get('logs')?.status?.phase).toBe('Canceled');
    expect(gone).toContain('DataDownload is canceled');
    expect((await toldOf(system, 'gone', 'logs')).warnings).toContain('restore gone/logs: it was canceled');
    const record = (await restoresIn('given-up')).get('logs')?.status;
    expect(record?.phase).toBe('Canceled');
    expect(givenUp).toContain(oneLine(record?.message ?? 'no message'));
    expect((await toldOf(system, 'given-up', 'logs')).warnings).toContain(oneLine(record?.message ?? ''));
    expect(await system.rbd.digest('given-up', 'data')).toBe(digests.get('data'));
    await cluster.kubectl(['delete', 'namespace', 'gone', 'given-up', '--wait=false']);
  }, 600_000);

  test('deleting a backup frees its data, and no other’s', async () => {
    const kept = [
      ...[...(await uploadsOf(system, 'second')).values()].map(
        ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
      ),
      ...[...(await recordsOf(system, 'plain')).values()].map(({ status }) => status?.snapshotID ?? ''),
    ];
    await deleteBackup(system, 'first');
    expect(await snapshotsIn()).toEqual(kept.toSorted());
    await restic(system, application.namespace, 'check', '--read-data');
  }, 600_000);

  test('another cluster on the same bucket restores both ways of backups', async () => {
    const { namespace, digests } = application;
    const { velero, mover, s3 } = system;
    second = await startSystem({
      shared: { bucket: velero.bucket, password: mover.password },
    });
    // Velero looks for backups when it starts, if it knows by then that the location is available; else after a minute.
    await second.velero.server.kill();
    await second.velero.server.start();
    expect(second.s3.endpoint).toBe(s3.endpoint);
    expect(second.cluster.server).not.toBe(system.cluster.server);
    const [other, backups] = [second, ['second', 'plain']];
    for (const backup of backups) await awaitBackup(other, backup);
    await Promise.all(
      backups.map((backup) =>
        restore(other, `from-${backup}`, backup, '--namespace-mappings', `${namespace}:${backup}`),
      ),
    );
    for (const backup of backups) expect(await digestsOf(other, backup, digests.keys())).toEqual(digests);
    // It also frees what the first one has moved.
    const moved = [...(await uploadsOf(system, 'second')).values()].map(
      ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
    );
    expect(await snapshotsIn()).toEqual(expect.arrayContaining(moved));
    await deleteBackup(other, 'second');
    const left = await snapshotsIn();
    expect(moved.filter((id) => left.includes(id))).toEqual([]);
    await other.stop();
    second = undefined;
  }, 900_000);

  describe('and failures of the other way', () => failures(() => system));
});

/** An RBD image's: what its map of objects tells changes by. */
const OBJECT = 4 * MEBIBYTE;
