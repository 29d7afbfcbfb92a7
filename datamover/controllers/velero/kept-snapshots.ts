import type { KeepSnapshot } from '../../../api/data-mover-class.ts';
import { ANNOTATIONS, FINALIZER, LABELS } from '../../../api/names.ts';
import type { VolumeSnapshot } from '../../../api/neighbours/snapshot.ts';
import { VELERO } from '../../../api/neighbours/velero.ts';
import { FINAL_PHASES } from '../../../api/transfer.ts';
import { volumeSnapshotBackup, type VolumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { isApiError, orMissing } from '../../kubernetes/api-error.ts';
import type { Client } from '../../kubernetes/client.ts';
import { SNAPSHOT_CONTENTS, SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import type { Stored } from '../../kubernetes/object.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import { CLAIMS } from '../../kubernetes/storage-resources.ts';
import { planSnapshots, type DatedSnapshot } from './kept-snapshot-plan.ts';

/** An upload that has ended. */
export interface EndedUpload {
  readonly namespace: string;
  readonly claim: string;
  /** The VolumeSnapshot that Velero made for it. */
  readonly snapshot: string;
  /** The VolumeSnapshotBackup that moved it. */
  readonly transfer: string;
  readonly isBase: boolean;
}

/** Keeps the last VolumeSnapshot of a claim as the base of its next backup (K-37), and removes those that are of no use any more. */
export async function settleSnapshots(
  client: Client,
  { namespace, claim: name, snapshot, transfer, isBase }: EndedUpload,
  wanted: (claim: Stored<{ readonly metadata: VolumeSnapshot['metadata'] }>) => KeepSnapshot,
): Promise<void> {
  const snapshots = client.of(SNAPSHOTS);
  const claim = await orMissing(client.of(CLAIMS).get(namespace, name));
  const own = await orMissing(snapshots.get(namespace, snapshot));
  const labelSelector = `${LABELS.baseOf}=${claim?.metadata.uid ?? ''}`;
  const kept =
    claim === undefined ? [] : (await snapshots.list({ namespace, labelSelector })).items.filter(isKept);
  const { items } = await client.of(resourceOf(volumeSnapshotBackup)).list({ namespace });
  const others = items.filter((other) => other.metadata.name !== transfer && runs(other));
  const claims = await Promise.all(others.map((other) => claimOf(client, other)));
  const plan = planSnapshots({
    ...{ own: own && dated(own), kept: kept.map(dated), isBase, hasClaim: claim !== undefined },
    keep: claim === undefined ? 'None' : wanted(claim),
    // Whose objects are gone may have been anybody's.
    othersRun: claims.some((other) => other === undefined || other === name),
  });
  if (plan.keep !== undefined && own !== undefined && claim !== undefined)
    await keepAsBase(client, own, claim.metadata);
  const removed = [...kept, ...(own === undefined ? [] : [own])].filter(({ metadata }) =>
    plan.remove.includes(metadata.name),
  );
  for (const old of removed) {
    await letContentGo(client, old);
    const { name: which, uid } = old.metadata;
    await deleteExactly(client, { namespace, name: which, uid });
  }
}

/** Whether an upload of ours made it stay. Labels alone prove nothing: copies have them. */
export function isKept({
  metadata: { uid, annotations },
}: Pick<Stored<VolumeSnapshot>, 'metadata'>): boolean {
  return annotations?.[ANNOTATIONS.keptAs] === uid;
}

/** Whether a transfer reads, or will, from a snapshot. What nobody of ours serves never ends, and reads nothing. */
export function runs({
  metadata,
  status,
}: Pick<Stored<VolumeSnapshotBackup>, 'metadata' | 'status'>): boolean {
  const ours = metadata.finalizers?.includes(FINALIZER) === true || status?.transferID !== undefined;
  return ours && !FINAL_PHASES.some((phase) => phase === status?.phase);
}

/** The claim that a transfer reads a snapshot of. Nobody comes back to what stayed for one that was not resolved yet, so it is looked up. */
async function claimOf(
  client: Client,
  { metadata: { namespace }, spec, status }: Stored<VolumeSnapshotBackup>,
): Promise<string | undefined> {
  if (status?.sourcePVCData !== undefined) return status.sourcePVCData.name;
  const contents = client.of(SNAPSHOT_CONTENTS);
  const content = await orMissing(contents.get(undefined, spec.volumeSnapshotContent.name));
  const { namespace: home, name } = content?.spec.volumeSnapshotRef ?? {};
  if (name === undefined || home !== namespace) return undefined;
  const snapshot = await orMissing(client.of(SNAPSHOTS).get(namespace, name));
  return snapshot?.spec.source.persistentVolumeClaimName;
}

/** One of that name that somebody made meanwhile is another. */
async function deleteExactly(
  client: Client,
  { namespace, name, uid }: { readonly namespace: string; readonly name: string; readonly uid: string },
): Promise<void> {
  try {
    await orMissing(client.of(SNAPSHOTS).delete(namespace, name, { uid }));
  } catch (error) {
    if (!isApiError(error, 'conflict')) throw error;
  }
}

/** With a class of policy Retain the storage would keep every snapshot that was ever moved, and nobody would know of them. */
async function letContentGo(
  client: Client,
  { metadata, status }: Stored<VolumeSnapshot>,
  labels?: Readonly<Record<string, string>>,
): Promise<void> {
  const contents = client.of(SNAPSHOT_CONTENTS);
  const name = status?.boundVolumeSnapshotContentName;
  const content = name === undefined ? undefined : await orMissing(contents.get(undefined, name));
  // A content that says otherwise is another snapshot's, whatever this one's status says.
  if (content?.spec.volumeSnapshotRef.uid !== metadata.uid) return;
  const { deletionPolicy } = content.spec;
  if (deletionPolicy === 'Delete' && labels === undefined) return;
  await orMissing(
    contents.patch(undefined, content.metadata.name, {
      metadata: { uid: content.metadata.uid, ...(labels && { labels }) },
      spec: { deletionPolicy: 'Delete' },
    }),
  );
}

/** It goes with its claim and from the storage, and no backup of Velero's takes it, or its content, for the user's. */
async function keepAsBase(
  client: Client,
  snapshot: Stored<VolumeSnapshot>,
  claim: { readonly name: string; readonly uid: string },
): Promise<void> {
  const { name, uid } = claim;
  const { metadata } = snapshot;
  const excluded = { [VELERO.excluded]: 'true' };
  await letContentGo(client, snapshot, excluded);
  await client.of(SNAPSHOTS).patch(metadata.namespace, metadata.name, {
    metadata: {
      // Not one that was made anew under its name.
      uid: metadata.uid,
      labels: { ...excluded, [LABELS.baseOf]: uid },
      annotations: { [ANNOTATIONS.keptAs]: metadata.uid },
      ownerReferences: [{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, uid }],
    },
  });
}

function dated({ metadata }: Stored<VolumeSnapshot>): DatedSnapshot {
  return { name: metadata.name, created: metadata.creationTimestamp ?? '' };
}
