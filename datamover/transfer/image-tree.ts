import type { BackupSession } from '../repository/backup-session.ts';
import { CELL_BYTES, type CellRun } from '../repository/saver/saver.ts';
import { sha256, toBytes } from '../repository/id.ts';
import { encodeFileTree, encodeTree, folderNode, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import { ContentList } from './content-list.ts';
import { FingerprintList, saveFingerprints } from './fingerprints.ts';
import { CELLS_PER_SEGMENT, SEGMENT_BYTES, SEGMENT_FILE, segmentName } from './layout.ts';

/** Where the trees go, and the fingerprints beside them. */
export type TreeSink = Pick<BackupSession, 'saveTree' | 'saveData'>;

interface Segment {
  readonly content: ContentList;
  readonly fingerprints: FingerprintList;
}

/** Of whole cells, and of the last cells of this process's images: a hash of a MiB takes 1 ms. */
const zeroIds = new Map<number, Id>();

/** The id of a blob of zeros. */
export function zeroBlobId(length: number): Id {
  const id = zeroIds.get(length) ?? sha256(new Uint8Array(length));
  zeroIds.set(length, id);
  return id;
}

/**
 * The trees of an image, written segment by segment as the ids of its cells arrive: memory holds the segments that are in
 * work, not the image. Cells that nobody reads are holes and get the id of the zero blob.
 */
export class ImageTree {
  readonly #imageBytes: number;
  readonly #sink: TreeSink;
  readonly #cells: number;
  /** Cells of each segment that are still to come; one number per GiB. */
  readonly #missing: Uint16Array;
  readonly #open = new Map<number, Segment>();
  readonly #folders: (Id | undefined)[];
  readonly #writing = new Set<Promise<void>>();
  readonly #zeroCell = toBytes(zeroBlobId(CELL_BYTES));
  #holeSegment: Promise<Id> | undefined;
  #failure: unknown;
  #failed = false;

  /** `runs`: the cells that will be set(), each once. */
  constructor(imageBytes: number, runs: readonly CellRun[], sink: TreeSink) {
    this.#imageBytes = imageBytes;
    this.#sink = sink;
    this.#cells = Math.ceil(imageBytes / CELL_BYTES);
    const segments = Math.ceil(imageBytes / SEGMENT_BYTES);
    this.#missing = new Uint16Array(segments);
    this.#folders = new Array<Id | undefined>(segments);
    for (const { first, count } of runs) {
      for (let cell = first; cell < first + count; cell++) {
        const segment = Math.floor(cell / CELLS_PER_SEGMENT);
        this.#missing[segment] = (this.#missing[segment] ?? 0) + 1;
      }
    }
  }

  set(cell: number, id: Uint8Array, fingerprint: Uint8Array): void {
    const segment = Math.floor(cell / CELLS_PER_SEGMENT);
    let open = this.#open.get(segment);
    if (open === undefined) {
      open = this.#holes(segment);
      this.#open.set(segment, open);
    }
    open.content.set(cell % CELLS_PER_SEGMENT, id);
    open.fingerprints.set(cell % CELLS_PER_SEGMENT, fingerprint);
    const missing = (this.#missing[segment] ?? 0) - 1;
    this.#missing[segment] = missing;
    if (missing === 0) {
      this.#open.delete(segment);
      this.#track(this.#writeSegment(segment, open));
    }
  }

  /** Resolves when the segments that are complete are written: whoever sets many cells at once waits for them now and then. */
  async written(): Promise<void> {
    await Promise.all(this.#writing);
  }

  /** Writes what is left (segments that are one hole) and the image's own tree; answers that tree's id. */
  async finish(): Promise<Id> {
    await this.written();
    if (this.#failed) throw this.#failure;
    const missing = this.#missing.findIndex((cells) => cells !== 0);
    // Never taken for a hole: that would be zeros where data was.
    if (missing >= 0)
      throw new Error(`cells of segment ${missing} never came: a defect, nothing was backed up`);
    const nodes: TreeNode[] = [];
    for (let segment = 0; segment < this.#folders.length; segment++) {
      const folder = this.#folders[segment] ?? (await this.#writeHole(segment));
      nodes.push(folderNode(segmentName(segment), folder));
    }
    return this.#sink.saveTree(encodeTree(nodes));
  }

  #track(write: Promise<void>): void {
    const tracked = write.catch((error: unknown) => {
      this.#failed = true;
      this.#failure ??= error;
    });
    this.#writing.add(tracked);
    void tracked.finally(() => this.#writing.delete(tracked));
  }

  async #writeSegment(segment: number, content: Segment): Promise<void> {
    this.#folders[segment] = await this.#saveSegment(segment, content);
  }

  async #writeHole(segment: number): Promise<Id> {
    const whole = (segment + 1) * SEGMENT_BYTES <= this.#imageBytes;
    if (!whole) return this.#saveSegment(segment, this.#holes(segment));
    // All whole holes are one tree.
    this.#holeSegment ??= this.#saveSegment(segment, this.#holes(segment));
    return this.#holeSegment;
  }

  async #saveSegment(segment: number, { content, fingerprints }: Segment): Promise<Id> {
    const bytes = Math.min(SEGMENT_BYTES, this.#imageBytes - segment * SEGMENT_BYTES);
    const beside = await saveFingerprints(this.#sink, fingerprints, content.length);
    return this.#sink.saveTree(encodeFileTree(SEGMENT_FILE, bytes, content, beside));
  }

  /** A segment of holes. The image's last cell may be short: whoever plans the reading always has it read. */
  #holes(segment: number): Segment {
    const cells = Math.min(CELLS_PER_SEGMENT, this.#cells - segment * CELLS_PER_SEGMENT);
    const content = new ContentList();
    content.fill(this.#zeroCell, cells);
    return { content, fingerprints: new FingerprintList() };
  }
}
