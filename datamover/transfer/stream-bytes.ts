import { DatamoverError } from '../errors.ts';
import { cancelled, loadReads } from '../repository/loader/loader.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import { Refusal } from '../volumes/refusal.ts';
import { joinedStream, type ChunkOwner } from '../volumes/zfs/joined-stream.ts';
import { packSource } from './pack-source.ts';
import type { TransferOptions } from './progress.ts';
import { orderedReads, piecesInOrder } from './restore-reads.ts';
import type { SharedReadAhead } from './shared-read-ahead.ts';
import type { ContentFile, StreamFiles, VolumeReader } from './volume-reader.ts';
import { loadOptions } from './volume-restore.ts';

/** Blobs of records on their way: each brings a hundred times its size of blocks along, or little is to be loaded beside them. */
const RECORDS_AHEAD = 3;
const CHUNK_BESIDE_OTHERS = 128 << 10;

/** A stream's bytes from its beginning; the chunks are the reader's. Who stops reading stops the loading. */
export async function* streamBytes(
  repository: Repository,
  volume: VolumeReader,
  stream: number,
  options: TransferOptions,
): AsyncGenerator<Uint8Array> {
  const files = await volume.stream(stream);
  if (files.kind === 'apart') yield* joined(repository, files, options, 'given');
  else for await (const chunk of fileBytes(repository, files.send, options)) yield Buffer.from(chunk);
}

/** The same without a copy: a chunk may only be read until the next is asked for. */
export async function* lentStreamBytes(
  repository: Repository,
  volume: VolumeReader,
  stream: number,
  options: TransferOptions,
): AsyncGenerator<Uint8Array> {
  const files = await volume.stream(stream);
  if (files.kind === 'apart') yield* joined(repository, files, options, 'lent');
  else yield* fileBytes(repository, files.send, options);
}

/**
 * The same for who reads as many streams as a chain has at once: without threads, and with memory that all of them share. A chunk may only be read until the next is asked for.
 */
export async function* streamBytesBesideOthers(
  ahead: SharedReadAhead,
  volume: VolumeReader,
  stream: number,
  { signal }: TransferOptions,
): AsyncGenerator<Uint8Array> {
  const files = await volume.stream(stream);
  if (files.kind === 'whole') {
    yield* ahead.pieces(files.send.content);
    return;
  }
  const { records, blocks } = files;
  const parts = [ahead.pieces(records.content), ahead.pieces(blocks.content)] as const;
  const together = joinedStream(...parts, 'lent', CHUNK_BESIDE_OTHERS);
  yield* explained(together, records, signal);
}

function joined(
  repository: Repository,
  { records, blocks }: Extract<StreamFiles, { kind: 'apart' }>,
  options: TransferOptions,
  chunks: ChunkOwner,
): AsyncGenerator<Uint8Array> {
  const { signal } = options;
  const stream = joinedStream(
    blobsOf(repository, records.content, signal),
    fileBytes(repository, blocks, options),
    chunks,
  );
  return explained(stream, records, signal);
}

/** Says whose files do not fit each other. */
async function* explained(
  stream: AsyncGenerator<Uint8Array>,
  records: ContentFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    // Who is stopped while it loads records says nothing that anybody could use.
    if (signal?.aborted === true && !(error instanceof DatamoverError)) throw cancelled();
    if (!(error instanceof Refusal)) throw error;
    throw new DatamoverError({
      operation: 'put together',
      subject: records.path,
      cause: error,
      hint: 'run check; another backup of the volume may be whole',
      kind: 'incomplete',
    });
  }
}

/** Blobs one after the other, the next ones on their way. */
async function* blobsOf(
  repository: Repository,
  ids: readonly Id[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array>[] = [];
  try {
    for (let next = 0; next < ids.length || ahead.length > 0;) {
      for (; next < ids.length && ahead.length < RECORDS_AHEAD; next++) {
        const loading = repository.loadBlob('data', ids[next] ?? '', signal);
        // Told when its turn comes.
        loading.catch(() => undefined);
        ahead.push(loading);
      }
      const blob = await ahead.shift();
      if (blob !== undefined) yield blob;
    }
  } finally {
    await Promise.allSettled(ahead);
  }
}

/** A file's bytes in order. A chunk may only be read until the next is asked for. */
async function* fileBytes(
  repository: Repository,
  file: ContentFile,
  options: TransferOptions,
): AsyncGenerator<Uint8Array> {
  if (file.bytes === 0) return;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const chunks = new Handover();
  const loading = loadReads(packSource(repository), orderedReads(repository, file), {
    ...loadOptions({ ...options, signal }),
    ordered: true,
    deliver: async (packRead, plain) => {
      for (const { from, to, times } of piecesInOrder(packRead)) {
        for (let i = 0; i < times; i++) await chunks.give(plain.subarray(from, to));
      }
    },
  }).then(
    () => chunks.end(undefined),
    (error: unknown) => chunks.end({ error }),
  );
  try {
    for (let chunk = await chunks.take(); chunk !== undefined; chunk = await chunks.take()) yield chunk;
  } finally {
    stop.abort();
    chunks.abandon();
    await loading;
  }
}

/** Passes chunks from one side to the other, one at a time. */
class Handover {
  #chunk: Uint8Array | undefined;
  #taken = false;
  #end: { readonly failure: { readonly error: unknown } | undefined } | undefined;
  #abandoned = false;
  #wakeTaker: (() => void) | undefined;
  #wakeGiver: (() => void) | undefined;

  /** Resolves when the chunk was taken and used: its memory is the giver's again. */
  async give(chunk: Uint8Array): Promise<void> {
    if (this.#abandoned) return;
    this.#chunk = chunk;
    const used = new Promise<void>((resolve) => (this.#wakeGiver = resolve));
    this.#wakeTaker?.();
    await used;
  }

  end(failure: { readonly error: unknown } | undefined): void {
    this.#end = { failure };
    this.#wakeTaker?.();
  }

  /** Gives the chunk before back. Undefined at the end. */
  async take(): Promise<Uint8Array | undefined> {
    if (this.#taken) {
      this.#taken = false;
      this.#chunk = undefined;
      this.#wakeGiver?.();
    }
    while (this.#chunk === undefined) {
      if (this.#end?.failure !== undefined) throw this.#end.failure.error;
      if (this.#end !== undefined) return undefined;
      await new Promise<void>((resolve) => (this.#wakeTaker = resolve));
    }
    this.#taken = true;
    return this.#chunk;
  }

  abandon(): void {
    this.#abandoned = true;
    this.#wakeGiver?.();
  }
}
