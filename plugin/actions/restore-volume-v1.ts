import { RESOURCES } from '../kubernetes/resources.ts';
import { openSite } from '../moving/cluster.ts';
import { waitForEnd } from '../moving/wait.ts';
import type { RestoreItemAction } from './contract.ts';
import { WHILE_WAITING_MS } from './move-snapshot-v1.ts';
import { BACKUPS, CLAIMS } from './moved-resources.ts';
import { beginRestore } from './restore-volume.ts';
import { prepareClaim } from './restore-claim.ts';

/**
 * The same as restore-volume for Velero servers without operations. Records come after the claims and pods in Velero's order, so all
 * volumes are on their way when the first one is waited for. An order that puts records first would wait for claims that are not there yet.
 */
export const restoreVolumeV1: RestoreItemAction = {
  kind: 'RestoreItemAction',
  name: 'datamover.io/restore-volume-v1',
  timeLimit: WHILE_WAITING_MS,
  appliesTo: () => ({ includedResources: [BACKUPS] }),
  async execute(input, context) {
    const started = await beginRestore(input, context);
    if (started === undefined) return { skipRestore: true };
    const { settings } = await openSite(context);
    const { signal } = context;
    await waitForEnd(started.client, RESOURCES.volumeSnapshotRestore, started.transfer, {
      ...{ timeoutMs: settings.timeoutMs, signal },
    });
    return { skipRestore: true };
  },
};

/** Starts the volume of a backup by version 1 at once; of one by version 2, whose claim does not say enough, the record does in its turn. */
export const restoreClaimV1: RestoreItemAction = {
  kind: 'RestoreItemAction',
  name: 'datamover.io/restore-claim-v1',
  appliesTo: () => ({ includedResources: [CLAIMS] }),
  execute: (input, context) => prepareClaim(input, context, 'in its turn'),
};
