import { DatamoverError } from '../errors.ts';
import { FINGERPRINT_BYTES } from '../repository/crypto/fingerprint.ts';
import type { Repository } from '../repository/repository.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import {
  BLOCKS_FILE,
  decodeVolumeRecord,
  FINGERPRINTS_FILE,
  IMAGE_FOLDER,
  RECORDS_FILE,
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

/** A stream of a chain: in two files, or in one, as older versions wrote it. Positions are within each file. */
export type StreamFiles =
  | { readonly kind: 'apart'; readonly records: ContentFile; readonly blocks: ContentFile }
  | { readonly kind: 'whole'; readonly send: ContentFile };

/** Reads a volume's layout from a snapshot, segment by segment. */
export class VolumeReader {
  readonly record: VolumeRecord;
  readonly #repository: Repository;
  readonly #snapshot: Id;
  readonly #root: readonly TreeNode[];
  readonly #signal: AbortSignal | undefined;
  #segments: Promise<readonly TreeNode[]> | undefined;
  #streams: Promise<readonly TreeNode[]> | undefined;

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

  /** The files in order of an image, or of streams that nobody looked into; each tree is loaded when it is its turn. */
  async *files(): AsyncGenerator<ContentFile> {
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

  /** A stream of a chain by its number. */
  async stream(number: number): Promise<StreamFiles> {
    const folder = (await this.streamFolders())[number];
    const nodes = folder && (await this.#load(folder));
    const files = nodes && this.#streamFiles(folder, nodes);
    if (files === undefined || bytesOf(files) !== this.record.streams?.[number]?.bytes) {
      throw this.#damaged(`its stream ${number} is not what ${VOLUME_FILE} says`);
    }
    return files;
  }

  #streamFiles(folder: TreeNode, nodes: readonly TreeNode[]): StreamFiles {
    const file = (name: string, node: TreeNode | undefined): ContentFile =>
      contentFile(`${STREAMS_FOLDER}/${folder.name}/${name}`, 0, node);
    const send = findFile(nodes, STREAM_FILE);
    if (send !== undefined) return { kind: 'whole', send: file(STREAM_FILE, send) };
    const records = findFile(nodes, RECORDS_FILE);
    if (records === undefined)
      throw this.#damaged(`folder ${folder.name} has neither a file ${RECORDS_FILE} nor ${STREAM_FILE}`);
    const blocks = file(BLOCKS_FILE, findFile(nodes, BLOCKS_FILE));
    return { kind: 'apart', records: file(RECORDS_FILE, records), blocks };
  }

  async #file(folder: TreeNode, position: number): Promise<ContentFile> {
    const image = this.record.format === 'image';
    const name = image ? SEGMENT_FILE : STREAM_FILE;
    const nodes = await this.#load(folder);
    const node = findFile(nodes, name);
    if (node === undefined) throw this.#damaged(`folder ${folder.name} has no file ${name}`);
    const path = `${image ? IMAGE_FOLDER : STREAMS_FOLDER}/${folder.name}/${name}`;
    const file = contentFile(path, position, node, findFile(nodes, FINGERPRINTS_FILE));
    const { bytes } = file;
    // Told before anything is written beyond the end, or in the wrong place.
    const rest = this.record.bytes - position;
    if (bytes > rest || (image && bytes !== Math.min(SEGMENT_BYTES, rest))) {
      throw this.#damaged(`${folder.name} has ${bytes} bytes, ${VOLUME_FILE} leaves ${rest} for it`);
    }
    return file;
  }

  /** The folders of a volume's streams, in order. */
  async streamFolders(): Promise<readonly TreeNode[]> {
    this.#streams ??= this.#streamFolders();
    return this.#streams;
  }

  async #streamFolders(): Promise<readonly TreeNode[]> {
    const folders = await this.#folder(this.#root, STREAMS_FOLDER);
    const recorded = this.record.streams ?? [];
    const bytes = recorded.reduce((sum, stream) => sum + stream.bytes, 0);
    if (
      folders.length !== recorded.length ||
      recorded.some(({ folder }, i) => folders[i]?.name !== folder) ||
      bytes !== this.record.bytes
    ) {
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

function findFile(nodes: readonly TreeNode[], name: string): TreeNode | undefined {
  return nodes.find((node) => node.name === name && node.type === 'file');
}

/** A file that is not there is one of no bytes. */
function contentFile(
  path: string,
  position: number,
  node: TreeNode | undefined,
  fingerprints?: TreeNode,
): ContentFile {
  const { size = 0, content = [] } = node ?? {};
  return { path, position, bytes: size, content, fingerprints: fingerprints?.content ?? [] };
}

function bytesOf(files: StreamFiles): number {
  return files.kind === 'whole' ? files.send.bytes : files.records.bytes + files.blocks.bytes;
}
