import type { ImageName } from './image-name.ts';
import type { Moment } from './record.ts';

/** A snap that must still be there, under this name and with these ids, when all of it was read. */
export interface PinnedSnap extends Moment {
  readonly name: ImageName & { readonly snap: string };
}

/** What is read of a snap, as a diff of version 1. Plain JSON. */
export interface ReadJob {
  readonly source: PinnedSnap;
  readonly bytes: number;
  readonly reading:
    /** What the snap has allocated, as Ceph knows it. */
    | { readonly kind: 'allocated' }
    /** The base is of this very snap. */
    | { readonly kind: 'unchanged' }
    /** Every byte, whatever Ceph says is allocated. */
    | { readonly kind: 'everything' }
    | SharedChanges;
}

/** What changed from one snap to another by an image that both show: of which they are, or of which they are clones. */
export interface SharedChanges {
  readonly kind: 'changes';
  readonly by: 'snap-id' | 'snap-name' | 'object-map';
  readonly base: PinnedSnap;
  readonly image: SharedImage;
  /** The moments of the shared image that the base and the source show, by the ids of snaps; they may be the same. */
  readonly from: number;
  readonly to: number;
  /** What of it has a name, beside the source: it is held. */
  readonly held: readonly PinnedSnap[];
  /** Clones may have data of their own over what they show. */
  readonly clones: readonly PinnedSnap[];
  /** From this byte on at least one of them shows nothing of the shared image. */
  readonly overlap: number;
}

/** The image that two snaps have in common: itself, or as the parent that they are clones of. It may be in the trash. */
export interface SharedImage {
  /** As it was called; it is opened by its id. */
  readonly name: ImageName;
  readonly imageId: string;
  readonly objectBytes: number;
  /** It is a clone itself: where it has nothing its parent shows through, so that nothing is no zeros. */
  readonly clone: boolean;
}
