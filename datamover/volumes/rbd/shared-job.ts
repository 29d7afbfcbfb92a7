import type { ProducerCommand } from '../driver.ts';
import type { RbdConnection } from './command.ts';
import type { PinnedSnap } from './export-job.ts';
import type { ImageName } from './image-name.ts';
import { libraryCommand } from './library-command.ts';

/** The image that two snaps have in common: itself, or as the parent that they are clones of. It may be in the trash. */
export interface SharedImage {
  /** As it was called; it is opened by its id. */
  readonly name: ImageName;
  readonly imageId: string;
  readonly objectBytes: number;
  /** It is a clone itself: where it has nothing its parent shows through, so that nothing is no zeros. */
  readonly clone: boolean;
}

/**
 * What shared-main.ts prints as a diff of version 1: what changed from one snap to another, which are not of one image, or cannot
 * be named in commands. Plain JSON: it travels as an argument.
 */
export interface SharedJob {
  readonly connection: RbdConnection;
  readonly mechanism: 'snap-id' | 'object-map';
  readonly source: PinnedSnap;
  readonly bytes: number;
  readonly base: PinnedSnap;
  readonly image: SharedImage;
  /** The moments of the shared image that the base and the source show, by the ids of snaps; they may be the same. */
  readonly from: number;
  readonly to: number;
  /** Clones may have data of their own over what they show. */
  readonly clones: readonly PinnedSnap[];
  /** From this byte on at least one of them shows nothing of the shared image. */
  readonly overlap: number;
}

export function sharedCommand(job: SharedJob): ProducerCommand {
  return libraryCommand(job.connection, 'shared-main', [JSON.stringify(job)]);
}

/** What is asked of snap-facts-main.ts. */
export interface SnapFactsJob {
  readonly connection: RbdConnection;
  readonly image: SharedImage;
  readonly snapIds: readonly number[];
}

export interface SnapFacts {
  /** Whether this librbd tells changes between snaps by their ids. */
  readonly diffById: boolean;
  /** Of each snap that was asked for: 0 if its object map is valid, fast-diff too. */
  readonly flags: readonly number[];
}
