import { FINAL_PHASES } from '../../api/transfer.ts';
import type { ClusterState, Operation } from '../http/metrics.ts';
import { isBackup, operationOf, type TransferObject } from './transfer-object.ts';

/** What metrics tell of the cluster, as it follows from the objects. */
export function clusterState(
  transfers: readonly TransferObject[],
  repositories: ClusterState['repositories'],
): ClusterState {
  const queue = new Map<string, { operation: Operation; state: 'queued' | 'processing'; count: number }>();
  const ended = new Map<string, { operation: Operation; phase: string; count: number }>();
  const lastSuccess = new Map<string, { namespace: string; claim: string; at: number }>();
  for (const object of transfers) {
    const operation = operationOf(object);
    const { phase, batchingStatus } = object.status ?? {};
    if (phase === undefined) continue;
    if (FINAL_PHASES.some((final) => final === phase)) {
      const key = `${operation} ${phase}`;
      const known = ended.get(key) ?? { operation, phase, count: 0 };
      ended.set(key, { ...known, count: known.count + 1 });
      noteSuccess(lastSuccess, object);
    } else {
      const state = batchingStatus === 'Processing' ? 'processing' : 'queued';
      const key = `${operation} ${state}`;
      const known = queue.get(key) ?? { operation, state, count: 0 };
      queue.set(key, { ...known, count: known.count + 1 });
    }
  }
  return {
    ...{ queue: [...queue.values()], ended: [...ended.values()] },
    ...{ lastSuccess: [...lastSuccess.values()], repositories },
  };
}

function noteSuccess(
  all: Map<string, { namespace: string; claim: string; at: number }>,
  object: TransferObject,
): void {
  if (!isBackup(object) || object.status?.phase !== 'Completed') return;
  const { completionTimestamp = '', sourcePVCData } = object.status;
  const namespace = object.metadata.namespace ?? '';
  const at = Date.parse(completionTimestamp) / 1000;
  const claim = sourcePVCData?.name;
  if (claim === undefined || !(at > (all.get(`${namespace}/${claim}`)?.at ?? 0))) return;
  all.set(`${namespace}/${claim}`, { namespace, claim, at });
}
