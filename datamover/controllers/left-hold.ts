import { CONDITIONS, REASONS } from '../../api/names.ts';
import { findCondition } from '../kubernetes/conditions.ts';
import type { Stored } from '../kubernetes/object.ts';
import { isBackup, transferIdOfObject, type TransferObject } from './transfer-object.ts';

/** Ends of an attempt that was not ended in order. */
const LOST: ReadonlySet<string | undefined> = new Set([
  REASONS.nodeLost,
  REASONS.nodeUnavailable,
  REASONS.agentDied,
]);

/**
 * What a backup that has ended may still hold on the storage, and what lets it go: whoever carries a transfer lets go what it held
 * wherever it was (ADR 19), and nobody carries this one any more. A snapshot of ceph-csi is an image of its own, which no later backup
 * cleans up. On ZFS the next backup of the dataset does that.
 */
export function leftHold(object: Stored<TransferObject>): string | undefined {
  const { status } = object;
  if (!isBackup(object) || status?.storage?.driver !== 'rbd' || status.startTimestamp === undefined)
    return undefined;
  const transferred = findCondition(status.conditions, CONDITIONS.transferred);
  const assigned = findCondition(status.conditions, CONDITIONS.assigned);
  // Unknown while it is carried. It is taken away where the next attempt waits, and what came of the last one is told there until it begins.
  const lost =
    transferred === undefined
      ? assigned?.status === 'True' || LOST.has(assigned?.reason)
      : transferred.status === 'Unknown';
  if (!lost) return undefined;
  const volume = `rbd:${status.storage.location}`;
  const where = status.node === undefined ? '' : ` on node ${status.node}`;
  return `${volume} may still be held by what carried it${where}, and cannot be deleted then (DATAMOVER_TRANSFER=${transferIdOfObject(object)} datamover cleanup ${volume} lets it go)`;
}
