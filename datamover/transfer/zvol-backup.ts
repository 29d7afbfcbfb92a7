import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import type { Save, StreamInput } from '../repository/saver/saver.ts';
import type { ZvolBase, ZvolFacts } from '../volumes/zfs/zvol-image.ts';
import { saveFedImage, type BaseImage, type FedImage, type ImageFacts } from './fed-image.ts';
import type { VolumeRecord } from './layout.ts';
import type { KeepingOptions } from './progress.ts';

export const ZVOL_SCRIPT = new URL('./zvol-thread.js', import.meta.url);

export interface ZvolThreadData {
  readonly base: ZvolBase | undefined;
}

export type ZvolImageFacts = ZvolFacts & ImageFacts;

/** Saves a zvol's send stream as an image; see saveFedImage. */
export async function saveZvol(
  repository: Repository,
  session: BackupSession,
  input: StreamInput,
  base: BaseImage | undefined,
  options: KeepingOptions,
  watch: (save: Save) => Promise<unknown>,
): Promise<FedImage<ZvolImageFacts> & { readonly zfs: NonNullable<VolumeRecord['zfs']> }> {
  const known = base && { guid: base.record.zfs?.guid, bytes: base.record.bytes, name: base.name };
  const feed = {
    script: ZVOL_SCRIPT,
    input,
    data: { base: known } satisfies ZvolThreadData,
  };
  const saved = await saveFedImage<ZvolImageFacts>(repository, session, feed, base, options, watch);
  const { guid, fromGuid, snapshot, blockBytes = base?.record.zfs?.volblocksize } = saved.facts;
  return {
    ...saved,
    zfs: {
      guid,
      ...(fromGuid !== undefined && { fromGuid }),
      snapshot,
      ...(blockBytes !== undefined && { volblocksize: blockBytes }),
    },
  };
}
