import { DatamoverError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import {
  decodeVolumeRecord,
  IMAGE_FOLDER,
  SEGMENT_BYTES,
  SEGMENT_FILE,
  segmentName,
  STREAM_FILE,
  STREAMS_FOLDER,
  VOLUME_FILE,
  type VolumeRecord,
} from './layout.ts';

/** One file of a volume's content: a segment of the image or a stream. */
export interface ContentFile {
  /** `image/000003/data`. */
  readonly path: string;
  /** Where it begins in the volume's bytes. */
  readonly position: number;
  readonly bytes: number;
  readonly content: readonly Id[];
}

/** Reads a volume's layout from a snapshot, segment by segment. */
export class VolumeReader {
  readonly record: VolumeRecord;
  readonly #repository: Repository;
  readonly #snapshot: Id;
  readonly #root: readonly TreeNode[];
  readonly #signal: AbortSignal | undefined;

  private constructor(
    repository: Repository,
    snapshot: Id,
    root: readonly TreeNode[],
    record: VolumeRecord,
    signal: AbortSignal | undefined,
  ) {
    this.#signal = signal;
    this.#repository = repository;
    this.#snapshot = snapshot;
    this.#root = root;
    this.record = record;
  }

  /** `signal` ends every later read, too. */
  static async open(
    repository: Repository,
    id: Id,
    snapshot: Snapshot,
    signal?: AbortSignal,
  ): Promise<VolumeReader> {
    const root = decodeTree(
      await repository.loadBlob('tree', snapshot.tree, signal),
      `tree ${snapshot.tree.slice(0, 12)}`,
    );
    const file = root.find((node) => node.name === VOLUME_FILE && node.type === 'file');
    const blobs = file?.content ?? [];
    if (blobs.length === 0) {
      throw new DatamoverError({
        operation: 'read volume of snapshot',
        subject: id.slice(0, 8),
        cause: `it has no ${VOLUME_FILE}: it is not a backup of a volume`,
        hint: 'restic restore brings back what restic backed up',
      });
    }
    const parts = await Promise.all(blobs.map((blob) => repository.loadBlob('data', blob, signal)));
    return new VolumeReader(repository, id, root, decodeVolumeRecord(Buffer.concat(parts), id), signal);
  }

  /** The volume's files in order; each tree is loaded when it is its turn. `stream`: that one alone, from position 0. */
  async *files(stream?: number): AsyncGenerator<ContentFile> {
    if (stream !== undefined) {
      yield await this.#streamFile(stream);
      return;
    }
    const image = this.record.format === 'image';
    const folders = await this.#folder(this.#root, image ? IMAGE_FOLDER : STREAMS_FOLDER);
    const name = image ? SEGMENT_FILE : STREAM_FILE;
    let position = 0;
    for (const [number, folder] of folders.entries()) {
      // A gap would shift what comes after it.
      if (image && folder.name !== segmentName(number))
        throw this.#damaged(`it lacks segment ${segmentName(number)}`);
      const nodes = await this.#load(folder);
      const file = nodes.find((node) => node.name === name && node.type === 'file');
      if (file === undefined) throw this.#damaged(`folder ${folder.name} has no file ${name}`);
      const bytes = file.size ?? 0;
      // Told before anything is written beyond the end, or in the wrong place.
      const rest = this.record.bytes - position;
      if (bytes > rest || (image && bytes !== Math.min(SEGMENT_BYTES, rest))) {
        throw this.#damaged(`${folder.name} has ${bytes} bytes, ${VOLUME_FILE} leaves ${rest} for it`);
      }
      yield {
        path: `${image ? IMAGE_FOLDER : STREAMS_FOLDER}/${folder.name}/${name}`,
        position,
        bytes,
        content: file.content ?? [],
      };
      position += bytes;
    }
    if (position !== this.record.bytes) {
      throw this.#damaged(`its files have ${position} bytes, ${VOLUME_FILE} says ${this.record.bytes}`);
    }
  }

  async #streamFile(number: number): Promise<ContentFile> {
    const folder = (await this.streamFolders())[number];
    const bytes = this.record.streams?.[number]?.bytes;
    const nodes = folder === undefined ? [] : await this.#load(folder);
    const file = nodes.find(({ name, type }) => name === STREAM_FILE && type === 'file');
    if (folder === undefined || file === undefined || (file.size ?? 0) !== bytes) {
      throw this.#damaged(`its stream ${number} is not what ${VOLUME_FILE} says`);
    }
    const path = `${STREAMS_FOLDER}/${folder.name}/${STREAM_FILE}`;
    return { path, position: 0, bytes, content: file.content ?? [] };
  }

  /** The folders of a volume's streams, in order. */
  async streamFolders(): Promise<readonly TreeNode[]> {
    const folders = await this.#folder(this.#root, STREAMS_FOLDER);
    const recorded = this.record.streams ?? [];
    if (folders.length !== recorded.length || recorded.some(({ folder }, i) => folders[i]?.name !== folder)) {
      throw this.#damaged(`its folder ${STREAMS_FOLDER} is not what ${VOLUME_FILE} says`);
    }
    return folders;
  }

  async #folder(nodes: readonly TreeNode[], name: string): Promise<readonly TreeNode[]> {
    const folder = nodes.find((node) => node.name === name && node.type === 'dir');
    if (folder === undefined) throw this.#damaged(`it has no folder ${name}`);
    return this.#load(folder);
  }

  async #load(folder: TreeNode): Promise<TreeNode[]> {
    if (folder.type !== 'dir' || folder.subtree === undefined)
      throw this.#damaged(`${folder.name} is not a folder`);
    return decodeTree(
      await this.#repository.loadBlob('tree', folder.subtree, this.#signal),
      `tree ${folder.subtree.slice(0, 12)}`,
    );
  }

  #damaged(cause: string): DatamoverError {
    return new DatamoverError({
      operation: 'read volume of snapshot',
      subject: this.#snapshot.slice(0, 8),
      cause,
      hint: 'run check; other backups of the volume are not affected',
      kind: 'incomplete',
    });
  }
}
