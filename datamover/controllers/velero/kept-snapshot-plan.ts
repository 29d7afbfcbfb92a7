import type { KeepSnapshot } from '../../../api/data-mover-class.ts';

/** A VolumeSnapshot of a claim, as far as it matters which is the newest. */
export interface DatedSnapshot {
  readonly name: string;
  /** RFC 3339, to the second. */
  readonly created: string;
}

export interface SnapshotView {
  /** The one that Velero left to the mover; undefined where it is gone. */
  readonly own: DatedSnapshot | undefined;
  /** Whether a backup knows it, on a storage where a snapshot has to be there for the next one to build on it. */
  readonly isBase: boolean;
  readonly keep: KeepSnapshot;
  /** Whether the claim is still there: what stays goes with it. */
  readonly hasClaim: boolean;
  /** Those of the claim that were kept before. */
  readonly kept: readonly DatedSnapshot[];
  /** Another transfer of the claim has not ended: it may be reading from one of those. */
  readonly othersRun: boolean;
}

export interface SnapshotPlan {
  readonly keep: string | undefined;
  readonly remove: readonly string[];
}

/** Of each claim the newest snapshot that was moved stays, whatever order uploads end in, and nothing that somebody reads from goes. */
export function planSnapshots({ own, isBase, keep, hasClaim, kept, othersRun }: SnapshotView): SnapshotPlan {
  const wanted = keep === 'Last' && hasClaim;
  const before = kept.filter(({ name }) => name !== own?.name);
  const newestBefore = before.reduce<DatedSnapshot | undefined>(
    (newest, one) => (newest === undefined || one.created > newest.created ? one : newest),
    undefined,
  );
  // Seconds are all that names tell: of two within one the later upload's is as good.
  const isNewest = own !== undefined && (newestBefore === undefined || own.created >= newestBefore.created);
  const ownStays = wanted && isBase && isNewest;
  const stays = ownStays ? own.name : wanted ? newestBefore?.name : undefined;
  const old = othersRun ? [] : before.filter(({ name }) => name !== stays).map(({ name }) => name);
  return {
    keep: ownStays ? own.name : undefined,
    remove: own === undefined || ownStays ? old : [own.name, ...old],
  };
}
