import { ANNOTATIONS } from '../../api/names.ts';
import { openSite } from '../moving/cluster.ts';
import type { RestoreItemAction } from './contract.ts';
import { CONTENTS, RESTORES, SNAPSHOTS } from './moved-resources.ts';

/**
 * Snapshots whose volumes were moved are not restored: their contents would name a snapshot that another cluster does not have, and
 * nothing would ever make them ready. Nor are VolumeSnapshotRestores, which would be orders to restore once more.
 */
export const skipMoved: RestoreItemAction = {
  kind: 'RestoreItemAction',
  name: 'datamover.io/skip-moved',
  appliesTo: () => ({ includedResources: [SNAPSHOTS, CONTENTS, RESTORES] }),
  async execute({ itemFromBackup: { kind, metadata } }, context) {
    if (kind === 'VolumeSnapshotRestore') return { skipRestore: true };
    if (metadata.annotations?.[ANNOTATIONS.movedBy] === undefined) return {};
    const { settings } = await openSite(context);
    return settings.enabled ? { skipRestore: true } : {};
  },
};
