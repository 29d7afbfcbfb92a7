import type { ImageName } from './image-name.ts';
import type { ParentSnap } from './record.ts';

/** What an image is; of one that is open at a snap, what it was then. */
export interface RbdImage {
  /** Ceph's own id: stays when the image is renamed, and is another when one of the same name is made anew. */
  readonly id: string;
  readonly bytes: number;
  readonly objectBytes: number;
  readonly features: readonly string[];
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  /** Where the data is, if not in the image's pool. */
  readonly dataPool?: string;
  /** Of a clone that is not flattened: what it shows. */
  readonly parent?: CloneParent;
}

/** What a clone shows of another image, as it is now. */
export interface CloneParent extends ParentSnap {
  /** Bytes from the clone's start. */
  readonly overlap: number;
}

export interface RbdSnap {
  /** Ascends with time within a pool; never used twice. */
  readonly id: number;
  readonly name: string;
  readonly bytes: number;
  /** Only snaps of kind `user` can be named in commands; deleted ones that clones still need are `trash`. */
  readonly kind: SnapKind;
  /** What a snap in the trash was called. */
  readonly originalName?: string;
}

export type SnapKind = 'user' | 'group' | 'trash' | 'mirror' | 'unknown';

/** An image, by its name or, where it may be renamed or in the trash of its pool meanwhile, by its id (the name is for messages then). */
export interface ImagePlace extends ImageName {
  readonly imageId?: string;
}

/** An image and all of its snaps, the oldest first; also those in the trash namespace. */
export interface ImageLook {
  readonly image: RbdImage;
  readonly snaps: readonly RbdSnap[];
  /** Whether this librbd tells changes between snaps by their ids. */
  readonly diffById: boolean;
}
