import { mergeStreams } from '../synthetic-full.ts';

/** A stream as a repository would give it: whoever asks for the next chunk has given the last one's memory back. */
export async function* inChunks(bytes: Uint8Array, chunkBytes = 100_000): AsyncGenerator<Uint8Array> {
  const lent = Buffer.alloc(chunkBytes);
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const piece = bytes.subarray(at, at + chunkBytes);
    lent.set(piece);
    yield lent.subarray(0, piece.length);
    lent.fill(0xee);
  }
}

export async function merged(streams: readonly Uint8Array[], chunkBytes?: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of mergeStreams(streams.map((bytes) => inChunks(bytes, chunkBytes))))
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
