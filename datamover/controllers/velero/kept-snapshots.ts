import type { KeepSnapshot } from '../../../api/data-mover-class.ts';
import { LABELS } from '../../../api/names.ts';
import type { VolumeSnapshot } from '../../../api/neighbours/snapshot.ts';
import { VELERO } from '../../../api/neighbours/velero.ts';
import { FINAL_PHASES } from '../../../api/transfer.ts';
import { volumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
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
  const kept = claim === undefined ? [] : (await snapshots.list({ namespace, labelSelector })).items;
  const { items } = await client.of(resourceOf(volumeSnapshotBackup)).list({ namespace });
  const plan = planSnapshots({
    ...{ own: own && dated(own), kept: kept.map(dated), isBase, hasClaim: claim !== undefined },
    keep: claim === undefined ? 'None' : wanted(claim),
    othersRun: items.some(
      ({ metadata, status }) =>
        metadata.name !== transfer &&
        // Before it is resolved nobody knows whose it is.
        (status?.sourcePVCData?.name ?? name) === name &&
        FINAL_PHASES.every((phase) => phase !== status?.phase),
    ),
  });
  if (plan.keep !== undefined && own !== undefined && claim !== undefined)
    await keepAsBase(client, own, claim.metadata);
  for (const old of plan.remove) await orMissing(snapshots.delete(namespace, old));
}

/** It goes with its claim, and no backup of Velero's takes it, or its content, for the user's. */
async function keepAsBase(
  client: Client,
  { metadata, status }: Stored<VolumeSnapshot>,
  claim: { readonly name: string; readonly uid: string },
): Promise<void> {
  const { name, uid } = claim;
  const content = status?.boundVolumeSnapshotContentName;
  const excluded = { [VELERO.excluded]: 'true' };
  if (content !== undefined)
    await client.of(SNAPSHOT_CONTENTS).patch(undefined, content, { metadata: { labels: excluded } });
  await client.of(SNAPSHOTS).patch(metadata.namespace, metadata.name, {
    metadata: {
      labels: { ...excluded, [LABELS.baseOf]: uid },
      ownerReferences: [{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, uid }],
    },
  });
}

function dated({ metadata }: Stored<VolumeSnapshot>): DatedSnapshot {
  return { name: metadata.name, created: metadata.creationTimestamp ?? '' };
}
