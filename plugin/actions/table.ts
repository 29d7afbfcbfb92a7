import type { RegisteredAction } from './contract.ts';
import { freeBackup } from './free-backup.ts';
import { freeDataUpload } from './free-data-upload.ts';
import { s3ObjectStore } from './object-store/provider.ts';

/**
 * What Velero is told we offer, in the order in which it asks (its own actions come first). One file for each; whatever is slow to
 * load (a Kubernetes client) is imported inside the method that needs it, for Velero starts a process every few seconds.
 */
export const actions: readonly RegisteredAction[] = [s3ObjectStore, freeBackup, freeDataUpload];
