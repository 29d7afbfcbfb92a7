import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import type { Save, StreamInput } from '../repository/saver/saver.ts';
import type { DiffBase, DiffFacts } from '../volumes/rbd/diff-image.ts';
import { saveFedImage, type BaseImage, type FedImage, type ImageFacts } from './fed-image.ts';
import type { VolumeRecord } from './layout.ts';
import type { KeepingOptions } from './progress.ts';

export const DIFF_SCRIPT = new URL('./rbd-thread.js', import.meta.url);

export interface DiffThreadData {
  readonly base: DiffBase | undefined;
}

export type DiffImageFacts = DiffFacts & ImageFacts;

/** Saves a stream of rbd export-diff as an image; see saveFedImage. */
export async function saveDiff(
  repository: Repository,
  session: BackupSession,
  input: StreamInput,
  base: BaseImage | undefined,
  options: KeepingOptions,
  watch: (save: Save) => Promise<unknown>,
): Promise<FedImage<DiffImageFacts> & { readonly rbd: NonNullable<VolumeRecord['rbd']> }> {
  const known = base && { snap: base.record.rbd?.snap, bytes: base.record.bytes, name: base.name };
  const feed = {
    script: DIFF_SCRIPT,
    input,
    data: { base: known } satisfies DiffThreadData,
  };
  const saved = await saveFedImage<DiffImageFacts>(repository, session, feed, base, options, watch);
  const { snap, fromSnap } = saved.facts;
  return {
    ...saved,
    rbd: { ...(snap !== undefined && { snap }), ...(fromSnap !== undefined && { fromSnap }) },
  };
}
