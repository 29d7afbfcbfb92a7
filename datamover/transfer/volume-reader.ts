import { DatamoverError } from '../errors.ts';
import { FINGERPRINT_BYTES } from '../repository/crypto/fingerprint.ts';
import type { Repository } from '../repository/repository.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import {
  decodeVolumeRecord,
  FINGERPRINTS_FILE,
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
  /** Blobs of the file that has its blobs' fingerprints; none where there is no such file. */
  readonly fingerprints: readonly Id[];
}

/** Reads a volume's layout from a snapshot, segment by segment. */
export class VolumeReader {
  readonly record: VolumeRecord;
  readonly #repository: Repository;
  readonly #snapshot: Id;
  readonly #root: readonly TreeNode[];
  readonly #signal: AbortSignal | undefined;
  #segments: Promise<readonly TreeNode[]> | undefined;

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
    let position = 0;
    for (const [number, folder] of folders.entries()) {
      // A gap would shift what comes after it.
      if (image && folder.name !== segmentName(number))
        throw this.#damaged(`it lacks segment ${segmentName(number)}`);
      const file = await this.#file(folder, position);
      yield file;
      position += file.bytes;
    }
    if (position !== this.record.bytes) {
      throw this.#damaged(`its files have ${position} bytes, ${VOLUME_FILE} says ${this.record.bytes}`);
    }
  }

  /** One segment of an image; undefined where the image has no such one. */
  async segment(number: number): Promise<ContentFile | undefined> {
    this.#segments ??= this.#folder(this.#root, IMAGE_FOLDER);
    const folder = (await this.#segments)[number];
    return folder?.name === segmentName(number) ? this.#file(folder, number * SEGMENT_BYTES) : undefined;
  }

  /** 16 bytes for each blob of the file; undefined where they are not there, or not for each. */
  async loadFingerprints({ content, fingerprints }: ContentFile): Promise<Buffer | undefined> {
    const load = (blob: Id): Promise<Uint8Array> => this.#repository.loadBlob('data', blob, this.#signal);
    const loaded = Buffer.concat(await Promise.all(fingerprints.map(load)));
    return loaded.length === content.length * FINGERPRINT_BYTES && loaded.length > 0 ? loaded : undefined;
  }

  async #file(folder: TreeNode, position: number): Promise<ContentFile> {
    const image = this.record.format === 'image';
    const name = image ? SEGMENT_FILE : STREAM_FILE;
    const nodes = await this.#load(folder);
    const find = (wanted: string): TreeNode | undefined =>
      nodes.find((node) => node.name === wanted && node.type === 'file');
    const file = find(name);
    if (file === undefined) throw this.#damaged(`folder ${folder.name} has no file ${name}`);
    const bytes = file.size ?? 0;
    // Told before anything is written beyond the end, or in the wrong place.
    const rest = this.record.bytes - position;
    if (bytes > rest || (image && bytes !== Math.min(SEGMENT_BYTES, rest))) {
      throw this.#damaged(`${folder.name} has ${bytes} bytes, ${VOLUME_FILE} leaves ${rest} for it`);
    }
    return {
      path: `${image ? IMAGE_FOLDER : STREAMS_FOLDER}/${folder.name}/${name}`,
      position,
      bytes,
      content: file.content ?? [],
      fingerprints: find(FINGERPRINTS_FILE)?.content ?? [],
    };
  }

  async #streamFile(number: number): Promise<ContentFile> {
    const folder = (await this.streamFolders())[number];
    const file = folder && (await this.#file(folder, 0));
    if (file === undefined || file.bytes !== this.record.streams?.[number]?.bytes) {
      throw this.#damaged(`its stream ${number} is not what ${VOLUME_FILE} says`);
    }
    return file;
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
