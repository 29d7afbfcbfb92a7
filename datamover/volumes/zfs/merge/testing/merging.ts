import { mergeStreams } from '../synthetic-full.ts';

/** A stream as a repository would give it. */
export async function* inChunks(bytes: Uint8Array, chunkBytes = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

export async function merged(streams: readonly Uint8Array[], chunkBytes?: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of mergeStreams(streams.map((bytes) => inChunks(bytes, chunkBytes))))
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
