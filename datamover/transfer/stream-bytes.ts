import { loadReads } from '../repository/loader/loader.ts';
import type { PackRead } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { packSource } from './pack-source.ts';
import type { TransferOptions } from './progress.ts';
import { orderedReads, piecesInOrder } from './restore-reads.ts';
import type { VolumeReader } from './volume-reader.ts';
import { loadOptions } from './volume-restore.ts';

/** A stream's bytes from its beginning. Who stops reading stops the loading. */
export async function* streamBytes(
  repository: Repository,
  volume: VolumeReader,
  stream: number,
  options: TransferOptions,
): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const chunks = new Handover();
  const reads = async function* (): AsyncGenerator<PackRead> {
    for await (const file of volume.files(stream)) yield* orderedReads(repository, file);
  };
  const loading = loadReads(packSource(repository), reads(), {
    ...loadOptions({ ...options, signal }),
    ordered: true,
    deliver: async (packRead, plain) => {
      for (const { from, to, times } of piecesInOrder(packRead)) {
        // Copied: the reader may keep it for longer than this memory is ours.
        for (let i = 0; i < times; i++) await chunks.give(Buffer.from(plain.subarray(from, to)));
      }
    },
  }).then(
    () => chunks.end(undefined),
    (error: unknown) => chunks.end({ error }),
  );
  try {
    for (;;) {
      const chunk = await chunks.take();
      if (chunk === undefined) return;
      yield chunk;
    }
  } finally {
    stop.abort();
    chunks.abandon();
    await loading;
  }
}

/** Passes chunks from one side to the other, one at a time. */
class Handover {
  #chunk: Uint8Array | undefined;
  #end: { readonly failure: { readonly error: unknown } | undefined } | undefined;
  #abandoned = false;
  #wakeTaker: (() => void) | undefined;
  #wakeGiver: (() => void) | undefined;

  /** Resolves when the chunk was taken. */
  async give(chunk: Uint8Array): Promise<void> {
    if (this.#abandoned) return;
    this.#chunk = chunk;
    const taken = new Promise<void>((resolve) => (this.#wakeGiver = resolve));
    this.#wakeTaker?.();
    await taken;
  }

  end(failure: { readonly error: unknown } | undefined): void {
    this.#end = { failure };
    this.#wakeTaker?.();
  }

  /** Undefined at the end. */
  async take(): Promise<Uint8Array | undefined> {
    while (this.#chunk === undefined) {
      if (this.#end?.failure !== undefined) throw this.#end.failure.error;
      if (this.#end !== undefined) return undefined;
      await new Promise<void>((resolve) => (this.#wakeTaker = resolve));
    }
    const chunk = this.#chunk;
    this.#chunk = undefined;
    this.#wakeGiver?.();
    return chunk;
  }

  abandon(): void {
    this.#abandoned = true;
    this.#wakeGiver?.();
  }
}
