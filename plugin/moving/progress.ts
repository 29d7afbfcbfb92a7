import { FINAL_PHASES, type FinalPhase } from '../../api/transfer.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import type { OperationProgress } from '../actions/contract.ts';

export type Transfer = VolumeSnapshotBackup | VolumeSnapshotRestore;

/** `NAMESPACE/NAME` of a transfer: what Velero keeps of it between two calls. */
export function operationIdOf({ metadata }: Transfer): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}

export function readOperationId(operationID: string): readonly [namespace: string, name: string] {
  const [namespace, name, ...more] = operationID.split('/');
  if (!namespace || !name || more.length > 0)
    throw new Error(`${JSON.stringify(operationID)} is no operation of this plugin`);
  return [namespace, name];
}

export function finalPhaseOf({ status }: Transfer): FinalPhase | undefined {
  return FINAL_PHASES.find((phase) => phase === status?.phase);
}

/** Why a transfer came to nothing, as its own status says it. */
export function failureOf(transfer: Transfer, phase: Exclude<FinalPhase, 'Completed'>): string {
  const message = transfer.status?.message ?? '';
  if (message !== '') return message;
  const subject = `${transfer.kind} ${operationIdOf(transfer)}`;
  return phase === 'Canceled' ? `${subject} was canceled` : `${subject} failed and does not say why`;
}

export function progressOf(transfer: Transfer): OperationProgress {
  const { status } = transfer;
  const phase = finalPhaseOf(transfer);
  if (phase !== undefined && phase !== 'Completed')
    return { state: 'failed', message: failureOf(transfer, phase) };
  const started = date(status?.startTimestamp);
  const updated = date(status?.completionTimestamp);
  return {
    state: phase === undefined ? 'running' : 'completed',
    description: describe(transfer),
    done: status?.progress?.bytesDone ?? 0,
    total: status?.progress?.totalBytes ?? 0,
    ...(started === undefined ? {} : { started }),
    ...(updated === undefined ? {} : { updated }),
  };
}

/** The phase; before one is there or an agent has it, why nothing moves. */
function describe({ status }: Transfer): string {
  if (status?.phase === undefined) return 'New';
  return status.phase === 'InProgress' && status.batchingStatus === 'Queued'
    ? 'InProgress, Queued'
    : status.phase;
}

function date(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}
