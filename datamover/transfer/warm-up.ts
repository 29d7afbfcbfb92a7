import { READER_SCRIPT, warmWorkers } from '../repository/saver/saver.ts';
import { warmThread } from '../repository/saver/warm-threads.ts';
import type { BackupSource } from './backup-plan.ts';
import { SEND_SCRIPT } from './chain-backup.ts';
import { DIFF_SCRIPT } from './rbd-backup.ts';
import { ZVOL_SCRIPT } from './zvol-backup.ts';

/** Starts the threads that a backup of this source is going to need, as far as that is known before anything is asked of it. */
export function warmUp(source: BackupSource): void {
  const script = scriptOf(source);
  // An increment's cells come from a thread that helps the workers; the first backup of a volume starts one worker more.
  warmWorkers({ helps: script === DIFF_SCRIPT || script === ZVOL_SCRIPT });
  if (script !== undefined) warmThread(script);
}

function scriptOf(source: BackupSource): URL | undefined {
  switch (source.kind) {
    case 'driver':
      // A zvol or a dataset: who knows. Files are read by the workers.
      return source.driver.name === 'rbd' ? DIFF_SCRIPT : undefined;
    case 'rbd-diff':
      return DIFF_SCRIPT;
    case 'zvol-stream':
      return ZVOL_SCRIPT;
    case 'zfs-stream':
      return SEND_SCRIPT;
    case 'image-stream':
    case 'stream':
      return READER_SCRIPT;
  }
}
