import { SEAL_OVERHEAD } from '../repository/crypto/cipher.ts';
import { toBytes } from '../repository/id.ts';
import type { Repository } from '../repository/repository.ts';
import { KnownChunks, MAX_CHUNK } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import { fingerprintAt } from './fingerprints.ts';
import { openParent } from './known-image.ts';

/** The chunks of an earlier backup of a plain stream; undefined where there is none to compare with. Fails no backup. */
export async function knownStream(
  repository: Repository,
  parent: Id | undefined,
  signal?: AbortSignal,
): Promise<KnownChunks | undefined> {
  const reader = await openParent(repository, parent, signal);
  const streams = reader?.record.streams ?? [];
  if (reader?.record.format !== 'stream' || streams.length !== 1 || streams[0]?.zfs !== undefined)
    return undefined;
  try {
    for await (const file of reader.files()) {
      const fingerprints = await reader.loadFingerprints(file);
      if (fingerprints === undefined) continue;
      const { content } = file;
      return KnownChunks.of(content.length, (chunk) => {
        const id = toBytes(content[chunk] ?? '');
        return { id, length: lengthOf(repository, id), fingerprint: fingerprintAt(fingerprints, chunk) };
      });
    }
  } catch {
    signal?.throwIfAborted();
  }
  return undefined;
}

/** Plain bytes of a blob; 0 where nothing good is known of it, and then nobody expects it. */
function lengthOf({ index }: Repository, id: Uint8Array): number {
  const place = index.lookup('data', id);
  if (place === undefined) return 0;
  const length = place.uncompressedLength || place.length - SEAL_OVERHEAD;
  return length <= MAX_CHUNK ? length : 0;
}
