/**
 * What a storage has to offer so that its volumes can be carried (docs/drivers.md). One object per storage and connection;
 * everything that `plan…` gives is a printable value, and nothing is changed on the storage before `hold` or `openTarget`.
 *
 *     backup:   identify -> planRead -> hold -> (feed beside readRanges) -> done -> keepBase -> release -> close
 *     restore:  planTarget -> openTarget -> write… -> finish -> (readBack) -> close, or discard
 */
export interface VolumeDriver<Read extends ReadPlan = ReadPlan, Target extends TargetPlan = TargetPlan> {
  readonly name: DriverName;
  /** It never tells changes: nobody needs to look for bases. */
  readonly readsWhole?: true;

  /** Looks at what `location` names. Throws where it does not exist or its name could mean something else to a command. */
  identify(location: string, signal?: AbortSignal): Promise<SourceVolume>;

  /**
   * Says what has to be read so that, together with one of `bases`, the whole volume is known, and how the changes are known.
   * The newest base that the storage can still tell changes from is taken; with none, everything is read.
   */
  planRead(source: SourceVolume, request: ReadRequest, signal?: AbortSignal): Promise<Read>;

  /** Keeps the snapshot and its base from vanishing while they are read. A volume may be held more than once at a time. */
  hold(plan: Read, signal?: AbortSignal): Promise<HeldRead>;

  /** Leaves on the storage what the next backup needs to build on this one (a bookmark, a snap), and takes older such things away. */
  keepBase(plan: Read): Promise<void>;

  /** Looks at the target, its space and its properties, and says what will be made of it. Throws a refusal. */
  planTarget(location: string, need: TargetNeed, signal?: AbortSignal): Promise<Target>;

  /** Makes the target, or opens the one that is there. */
  openTarget(plan: Target, signal?: AbortSignal): Promise<VolumeTarget>;

  /** Where chains of send streams are received; undefined of a storage that has none. */
  readonly streams?: StreamReceiver;

  /**
   * Takes away what killed transfers of ours left behind on this volume: holds, helper images. Gives a line for each; what a
   * transfer that lives still uses stays. `location`: of the volume, or of a snapshot of it; it need not be there.
   */
  cleanUp(location: string, signal?: AbortSignal): Promise<string[]>;

  /**
   * What `cleanUp` has left, since nobody can tell here whether whoever made it is still at work, or since somebody has it open: a line
   * for each, with what to do. Absent of a storage that one machine alone reaches.
   */
  left?(location: string, signal?: AbortSignal): Promise<string[]>;

  /** Ends what stays open between calls, such as a connection; always called when the driver is not needed any more. Never throws. */
  close(): Promise<void>;
}

export type DriverName = 'file' | 'zfs' | 'rbd';

/** Identity and facts of a volume's snapshot, as the storage tells them. */
export interface SourceVolume {
  readonly driver: DriverName;
  /** As it was named, in the storage's own spelling: `tank/db@monday`, `pool/image@snap`, `/dev/vg/disk`. */
  readonly location: string;
  /** Images restore onto any block storage; streams only where they came from. */
  readonly format: 'image' | 'stream';
  /** Bytes of the image; of a dataset, the bytes that it refers to. */
  readonly bytes: number;
  /** What `volume.json` keeps under the driver's name: identity (guid, ids), and properties to make the volume again. JSON. */
  readonly record: Readonly<Record<string, unknown>>;
}

/** An earlier backup of the volume. */
export interface BaseBackup {
  /** Of restic. */
  readonly snapshotId: string;
  readonly bytes: number;
  /** `SourceVolume.record` of that backup, unchecked: it comes from the repository. Absent if another driver made it. */
  readonly record?: unknown;
}

export interface ReadRequest {
  /** The newest first. */
  readonly bases: readonly BaseBackup[];
  /** Only this base (a restic snapshot's id) will do: refused, with the reason, where the storage cannot tell changes from it. */
  readonly mustUse?: string;
  /** What the storage says of changes was found wrong: nothing of it may be used, neither of changes nor of what is allocated. */
  readonly distrusted?: boolean;
}

export interface ReadPlan {
  readonly source: SourceVolume;
  /** The backup that gives what is not read; undefined where everything is read. */
  readonly base?: BaseBackup;
  readonly changes: ChangeKnowledge;
  /** Bytes that the storage expects to send, if it says so: an estimate. */
  readonly estimateBytes?: number;
  /** A sentence for whoever relies on the backup: what may be less than a snapshot of one moment. */
  readonly caution?: string;
}

/** How the changes since the base are known; the best that the storage allows. On the status and in `--stats`. */
export interface ChangeKnowledge {
  readonly mechanism:
    | 'zfs-send-increment'
    /** librbd's diff between two snaps of one image, as `rbd export-diff` gives it. */
    | 'rbd-export-diff'
    /** librbd's diff by the ids of snaps: of images that have a parent in common. */
    | 'rbd-diff-by-snap-id'
    /** Object maps: whole objects. */
    | 'rbd-object-map'
    /** No base: what is allocated is read, and known blobs are not stored again. */
    | 'allocated-extents'
    | 'everything';
  /** Why nothing better: the reason of a fall-back, part of a sentence. */
  readonly because?: string;
}

export interface HeldRead {
  /** Where the bytes come from; valid until `release`. */
  readonly feed: VolumeFeed;
  /**
   * Of a storage that begins to read before it holds: resolves when nothing of what is read can go any more. Where it cannot hold,
   * the feed fails as well, and what went before that fails it at its end.
   */
  readonly held?: Promise<void>;
  /**
   * Reads ranges of the held snapshot, in their order and each in one piece that is good until the next is asked for, to check
   * "unchanged" parts against the base. They may wait until the feed is read, which goes first. Undefined where the storage has no
   * cheap way to read at random.
   */
  readonly readRanges?: (ranges: readonly ByteRange[], signal?: AbortSignal) => AsyncIterable<RangeContent>;
  /** Asked after all is read, where the storage could not hold still: a sentence if what was read may be of two moments. */
  readonly changedMeanwhile?: () => Promise<string | undefined>;
  /** All that is read of it has been read: a storage may begin to let it go, beside what is left to do. */
  done?(): void;
  /** Always called, also after a failure; never throws for what is gone already. */
  release(): Promise<void>;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface RangeContent {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export type VolumeFeed =
  /** Read at random, where it has data; with `readHoles` where it says that it has none as well. */
  | { readonly kind: 'file'; readonly path: string; readonly readHoles?: boolean }
  /** What a program prints; its exit status counts. An increment has only what changed since the plan's base. */
  | ({
      readonly kind: 'zvol-send';
      readonly command: ProducerCommand;
      readonly increment: boolean;
    } & LateEstimate)
  | { readonly kind: 'rbd-diff'; readonly pipe: FeedPipe; readonly increment: boolean }
  /** A send stream that is kept as it is. */
  | ({ readonly kind: 'zfs-stream'; readonly command: ProducerCommand } & LateEstimate);

/** In place of the plan's estimate, where that takes a storage a while. */
interface LateEstimate {
  /** Known some time while the bytes are read; undefined where the storage does not say. Never rejects. */
  readonly estimate?: Promise<number | undefined>;
}

/** The end of a pipe that a process of the driver's writes to. What was read counts only after `finish`. */
export interface FeedPipe {
  readonly fd: number;
  /** Fires when the producer has failed: nothing that still comes counts. */
  readonly failed: AbortSignal;
  /**
   * Nobody reads any more: closes the pipe, and gives what the producer says of it, `cut off` if it had more to say. Throws what
   * went wrong at its side, which tells more than a stream that ends early.
   */
  finish(): Promise<'ended' | 'cut off'>;
}

export interface ProducerCommand {
  readonly file: string;
  readonly args: readonly string[];
}

export interface TargetNeed {
  readonly bytes: number;
  /** Of the backup, if the same driver made it: properties that are to be as they were. Unchecked. */
  readonly record?: unknown;
  /** Write over a volume that is there. */
  readonly force: boolean;
  readonly wishes?: TargetWishes;
}

/** How a new volume is to be made, where it is not to be as it was. A driver refuses a wish that means nothing to it. */
export interface TargetWishes {
  /** ZFS: whether space is reserved for the whole volume. */
  readonly thick?: boolean;
  /** ZFS: bytes. */
  readonly volblocksize?: number;
  /** ZFS: properties to set. */
  readonly properties?: Readonly<Record<string, string>>;
  /** RBD: bytes. */
  readonly objectBytes?: number;
  /** RBD: the pool that holds the data. */
  readonly dataPool?: string;
  /** RBD: features, and no others. */
  readonly features?: readonly string[];
}

export interface TargetPlan {
  readonly location: string;
  /** Of the volume that will be there: at least as many as the backup's. */
  readonly bytes: number;
  /** `create` makes it, and takes it away again when the restore fails; an existing one is left as it is then. */
  readonly action: 'create' | 'overwrite';
}

/** An open target of an image. */
export interface VolumeTarget {
  /** `ascending`: each write begins where the one before ended, or later; what is left out stays zero if `startsAsZeros`. */
  readonly order: 'any' | 'ascending';
  /** Whether parts that are never written read as zeros. */
  readonly startsAsZeros: boolean;
  /** Resolves when `bytes` may be reused. */
  write(position: number, bytes: Uint8Array): Promise<void>;
  writeZeros(position: number, length: number): Promise<void>;
  /** Everything is written: makes it durable. */
  finish(): Promise<void>;
  /** After `finish`: all of the volume in order, past every cache that can be passed. */
  readBack(signal?: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
  /** Instead of `close`: half a volume must not look like a whole one. */
  discard(): Promise<void>;
}

/**
 * A storage that receives send streams. It needs a way of its own beside `planTarget`: streams are no bytes at positions, the
 * storage applies them one after the other, knows itself how far it came when it was interrupted, and goes on from there.
 */
export interface StreamReceiver<Plan extends StreamTargetPlan = StreamTargetPlan> {
  /** Looks at the target and says which streams it still needs. Throws a refusal. */
  plan(location: string, need: StreamNeed, signal?: AbortSignal): Promise<Plan>;
  /** Receives them. What was received stays after a failure, and the next plan goes on with it. `onBytes`: handed over since the last call. */
  receive(plan: Plan, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<void>;
}

/** One of the streams that a volume is received from, in their order. Guids are decimal. */
export interface StoredStream {
  readonly guid: string;
  /** Undefined of a full stream. */
  readonly fromGuid?: string;
  readonly bytes: number;
  /** The stream's bytes from its beginning, each time it is asked. */
  open(signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface StreamNeed {
  /** A full stream and its increments, in their order. */
  readonly streams: readonly StoredStream[];
  /** What the backup recorded of the volume; unchecked. */
  readonly record?: unknown;
  /** Write over a volume that is there and has no snapshots. */
  readonly force?: boolean;
  readonly wishes?: TargetWishes;
}

export interface StreamTargetPlan {
  readonly location: string;
  /** `resume`: some of it was received before. */
  readonly action: 'create' | 'overwrite' | 'resume';
  /** What is left to receive. */
  readonly streams: readonly StoredStream[];
}
