import type { Messages } from '../../../proto/wire.ts';
import { AskAgain, type OperationProgress } from '../contract.ts';

type Timestamp = Messages['google.protobuf.Timestamp'];

/** Go's zero time: what Velero reads as "not set"; without a timestamp it reads 1970 and takes the operation for started. */
const ZERO_TIME: Timestamp = { seconds: -62_135_596_800, nanos: 0 };

function timestamp(date: Date | undefined): Timestamp {
  if (date === undefined || Number.isNaN(date.getTime())) return ZERO_TIME;
  const seconds = Math.floor(date.getTime() / 1000);
  return { seconds, nanos: (date.getTime() - seconds * 1000) * 1_000_000 };
}

/** Velero's answer to Progress: always whole, for a missing part makes the server panic. */
export function writeProgress(progress: OperationProgress): Messages['generated.OperationProgress'] {
  if (progress.state === 'failed') {
    // An empty error with `completed` would count as success.
    const err = progress.message === '' ? 'the operation failed and gave no reason' : progress.message;
    const nothing = { nCompleted: 0, nTotal: 0, operationUnits: 'Bytes', description: '' };
    return { completed: true, err, ...nothing, started: ZERO_TIME, updated: ZERO_TIME };
  }
  return {
    completed: progress.state === 'completed',
    err: '',
    nCompleted: bytes(progress.done),
    nTotal: bytes(progress.total),
    operationUnits: 'Bytes',
    description: progress.description,
    started: timestamp(progress.started),
    updated: timestamp(progress.updated),
  };
}

function bytes(count = 0): number {
  return Number.isFinite(count) && count > 0 ? Math.floor(count) : 0;
}

/** Asks an action how far it is; a passing hindrance is "not yet", where an error would be the operation's end. */
export async function askProgress(
  progress: () => Promise<OperationProgress>,
): Promise<Messages['generated.OperationProgress']> {
  try {
    return writeProgress(await progress());
  } catch (error) {
    if (error instanceof AskAgain) return writeProgress({ state: 'running', description: error.message });
    throw error;
  }
}
