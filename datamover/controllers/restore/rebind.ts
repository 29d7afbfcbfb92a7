import { ANNOTATIONS, LABELS } from '../../../api/names.ts';
import type { Stored } from '../../kubernetes/object.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../kubernetes/storage-resources.ts';

/** On a volume that changes hands: the policy that it gets back. */
export const RECLAIM_POLICY = 'datamover.io/reclaim-policy';
const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';

export interface RebindView {
  /** UID of the VolumeSnapshotRestore. */
  readonly restore: string;
  readonly transfer: string;
  readonly helper: Stored<PersistentVolumeClaim> | undefined;
  readonly volume: Stored<PersistentVolume> | undefined;
  readonly claim: Stored<PersistentVolumeClaim> | undefined;
}

type VolumePatch = Readonly<Record<string, unknown>>;

export type RebindStep =
  | { readonly do: 'patchVolume'; readonly patch: VolumePatch }
  | { readonly do: 'patchClaim'; readonly patch: VolumePatch }
  | { readonly do: 'deleteHelper' }
  | { readonly do: 'wait'; readonly because: string }
  | { readonly do: 'done'; readonly volume: string };

/**
 * The next step in which a volume goes over from the helper claim to the claim that waits for it: kept, let go by the helper, taken
 * by the claim, bound, with its old policy again. Each step is seen in the objects, so that any process can go on from there.
 */
export function planRebind({ restore, transfer, helper, volume, claim }: RebindView): RebindStep {
  if (volume === undefined) return { do: 'wait', because: 'its volume is not there' };
  if (claim === undefined) return { do: 'wait', because: 'it waits for the claim' };
  const { metadata, spec, status } = volume;
  const ours =
    spec.claimRef?.name === claim.metadata.name && spec.claimRef.namespace === claim.metadata.namespace;
  const mine = claim.metadata.annotations?.[ANNOTATIONS.restoredBy] === restore;
  if (
    !ours &&
    (spec.persistentVolumeReclaimPolicy !== 'Retain' || metadata.labels?.[LABELS.transfer] !== transfer)
  ) {
    const policy = metadata.annotations?.[RECLAIM_POLICY] ?? spec.persistentVolumeReclaimPolicy ?? 'Delete';
    return {
      do: 'patchVolume',
      patch: {
        metadata: { labels: { [LABELS.transfer]: transfer }, annotations: { [RECLAIM_POLICY]: policy } },
        spec: { persistentVolumeReclaimPolicy: 'Retain' },
      },
    };
  }
  if (!ours && helper !== undefined) {
    return helper.metadata.deletionTimestamp === undefined
      ? { do: 'deleteHelper' }
      : { do: 'wait', because: 'the helper claim is being deleted' };
  }
  if (!mine || claim.spec.volumeName !== metadata.name) {
    return {
      do: 'patchClaim',
      patch: {
        metadata: {
          annotations: {
            [ANNOTATIONS.restoredBy]: restore,
            [BIND_COMPLETED]: null,
            [BOUND_BY_CONTROLLER]: null,
          },
        },
        spec: { volumeName: metadata.name },
      },
    };
  }
  if (!ours) {
    const { name, namespace } = claim.metadata;
    return {
      do: 'patchVolume',
      patch: {
        metadata: {
          // Velero's claims select the volume by a label, so that nothing else binds or provisions them.
          labels: selectedLabels(claim),
          annotations: { [BOUND_BY_CONTROLLER]: null },
        },
        spec: {
          claimRef: {
            ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name },
            ...{ uid: null, resourceVersion: null },
          },
        },
      },
    };
  }
  if (status?.phase !== 'Bound' || claim.status?.phase !== 'Bound')
    return { do: 'wait', because: 'it waits for the claim to be bound to its volume' };
  const policy = metadata.annotations?.[RECLAIM_POLICY];
  if (policy !== undefined || metadata.labels?.[LABELS.transfer] !== undefined) {
    return {
      do: 'patchVolume',
      patch: {
        metadata: { labels: { [LABELS.transfer]: null }, annotations: { [RECLAIM_POLICY]: null } },
        spec: policy === undefined ? {} : { persistentVolumeReclaimPolicy: policy },
      },
    };
  }
  return { do: 'done', volume: metadata.name };
}

/** By the label of a transfer its volumes are found: who makes a claim must not put that of another one onto a volume. */
function selectedLabels(claim: PersistentVolumeClaim): Readonly<Record<string, string>> {
  const selected = Object.entries(claim.spec.selector?.matchLabels ?? {});
  return Object.fromEntries(selected.filter(([name]) => name !== LABELS.transfer));
}
