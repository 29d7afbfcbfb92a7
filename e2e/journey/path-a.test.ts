import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DataUpload } from '../../api/neighbours/velero.ts';
import { parseSnapshotReference } from '../../api/snapshot-reference.ts';
import { startSystem, SYSTEM_PEERS, type System } from '../cluster/system.ts';
import { describePeers } from '../servers/describe-peers.ts';
import {
  awaitBackup,
  backUp,
  change,
  deleteBackup,
  digestsOf,
  failingBackUp,
  loseApplication,
  makeApplication,
  MEBIBYTE,
  oneLine,
  restic,
  restore,
  snapshotIds,
  type Application,
} from './application.ts';
import { failures } from './failures.suite.ts';

const MOVE = ['--snapshot-move-data', '--data-mover', 'datamover.io'] as const;

describePeers([...SYSTEM_PEERS, 'restic-current'], "Velero's own way to move data, with our mover", () => {
  let system: System;
  let second: System | undefined;
  let application: Application;

  beforeAll(async () => {
    system = await startSystem({ controllerArgs: ['--retries=1', '--retry-backoff=1s'] });
    application = await makeApplication(system, ['data', 'logs']);
  }, 600_000);
  afterAll(async () => {
    await second?.stop();
    await system.stop();
  }, 180_000);

  /** The DataUploads of a backup, by claim. */
  async function uploadsOf(backup: string): Promise<ReadonlyMap<string, DataUpload>> {
    const { cluster, velero } = system;
    const selector = `--selector=velero.io/backup-name=${backup}`;
    const where = ['--namespace', velero.namespace, '--output=json'];
    const found = await cluster.kubectl(['get', 'datauploads.velero.io', selector, ...where]);
    const { items } = JSON.parse(found) as { readonly items: readonly DataUpload[] };
    return new Map(items.map((upload) => [upload.spec.sourcePVC, upload]));
  }

  /** The snapshots that stay, and nothing else of the mover does. */
  async function keptSnapshots(): Promise<string[]> {
    const left = ['get', 'volumesnapshot,vsb', '--namespace', application.namespace, '--output=name'];
    const found = await system.cluster.kubectl([...left, '--sort-by=.metadata.name']);
    return found
      .trim()
      .split('\n')
      .map((line) => line.replace('volumesnapshot.snapshot.storage.k8s.io/', ''))
      .sort();
  }

  const snapshotOf = ({ spec }: DataUpload) => spec.csiSnapshot?.volumeSnapshot ?? '';
  const snapshotsIn = () => snapshotIds(system, application.namespace);

  test('a backup ends as Completed, and describe shows its bytes', async () => {
    const described = await backUp(system, 'first', [application.namespace], ...MOVE);
    expect(described).toMatch(/Data Movement:/);
    expect(described).toMatch(/Data Mover: datamover\.io/);
    expect(described).toMatch(/Moved data Size \(bytes\): 33554432/);
    expect(described).not.toMatch(/(Errors|Warnings):\s+[1-9]/);
    const uploads = await uploadsOf('first');
    expect([...uploads.keys()].sort()).toEqual(['data', 'logs']);
    const moved = [...uploads.values()].map(
      ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
    );
    expect(await snapshotsIn()).toEqual(moved.toSorted());
    await restic(system, application.namespace, 'check', '--read-data');
    expect(await keptSnapshots()).toEqual([...uploads.values()].map(snapshotOf).sort());
  }, 600_000);

  test('K-37: a second one reads what has changed, by the first one’s snapshot, and takes its place', async () => {
    await change(system, application, 'data', 20 * MEBIBYTE, 4096);
    await backUp(system, 'second', [application.namespace], ...MOVE);
    const [before, after] = [await uploadsOf('first'), await uploadsOf('second')];
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
    expect(await keptSnapshots()).toEqual([...after.values()].map(snapshotOf).sort());
  }, 600_000);

  test('the lost namespace comes back byte for byte', async () => {
    await loseApplication(system, application);
    await restore(system, 'back', 'second');
    const { namespace, digests } = application;
    expect(await digestsOf(system, namespace, digests.keys())).toEqual(digests);
  }, 600_000);

  test('it goes into another namespace beside it', async () => {
    const { namespace, digests } = application;
    await restore(system, 'beside', 'second', '--namespace-mappings', `${namespace}:${namespace}-two`);
    expect(await digestsOf(system, `${namespace}-two`, digests.keys())).toEqual(digests);
  }, 600_000);

  test('deleting a backup frees its data, and no other’s', async () => {
    const kept = [...(await uploadsOf('second')).values()].map(
      ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
    );
    await deleteBackup(system, 'first');
    expect(await snapshotsIn()).toEqual(kept.toSorted());
    await restic(system, application.namespace, 'check', '--read-data');
  }, 600_000);

  test('another cluster on the same bucket restores both ways of backups', async () => {
    const { namespace, digests } = application;
    await backUp(system, 'plain', [namespace]);
    const { velero, mover, s3 } = system;
    second = await startSystem({
      shared: { bucket: velero.bucket, password: mover.password },
      veleroArgs: ['--backup-sync-period=2s'],
    });
    expect(second.s3.endpoint).toBe(s3.endpoint);
    expect(second.cluster.server).not.toBe(system.cluster.server);
    for (const backup of ['second', 'plain']) {
      await awaitBackup(second, backup);
      await restore(second, `from-${backup}`, backup, '--namespace-mappings', `${namespace}:${backup}`);
      expect(await digestsOf(second, backup, digests.keys())).toEqual(digests);
    }
    // It also frees what the first one has moved.
    const moved = [...(await uploadsOf('second')).values()].map(
      ({ status }) => parseSnapshotReference(status?.snapshotID ?? '').snapshotID,
    );
    expect(await snapshotsIn()).toEqual(expect.arrayContaining(moved));
    await deleteBackup(second, 'second');
    const left = await snapshotsIn();
    expect(moved.filter((id) => left.includes(id))).toEqual([]);
    await second.stop();
    second = undefined;
  }, 900_000);

  test('a wrong password and a missing class are failures, with the same sentence everywhere', async () => {
    const { cluster, velero } = system;
    const patch = (password: string) => `--patch={"stringData":{"RESTIC_PASSWORD":"${password}"}}`;
    const secret = ['patch', 'secret', 'dm-credential', '--namespace', velero.namespace, '--type=merge'];
    const annotate = ['annotate', 'pvc', 'logs', '--namespace', application.namespace];
    await cluster.kubectl([...secret, patch('not the password')]);
    await cluster.kubectl([...annotate, 'datamover.io/class=gone']);
    const described = await failingBackUp(system, 'locked', [application.namespace], ...MOVE);
    await cluster.kubectl([...secret, patch(system.mover.password)]);
    await cluster.kubectl([...annotate, 'datamover.io/class-']);
    const uploads = await uploadsOf('locked');
    for (const [claim, cause] of [
      ['data', /password/],
      ['logs', /there is no DataMoverClass gone/],
    ] as const) {
      const { phase, message } = uploads.get(claim)?.status ?? {};
      expect(phase).toBe('Failed');
      expect(message).toMatch(cause);
      expect(oneLine(described)).toContain(oneLine(message ?? ''));
    }
  }, 600_000);

  describe('and failures of the other way', () => failures(() => system));
});

/** An RBD image's: what its map of objects tells changes by. */
const OBJECT = 4 * MEBIBYTE;
