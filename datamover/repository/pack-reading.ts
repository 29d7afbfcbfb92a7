import type { Store } from '../store/store.ts';
import { open } from './crypto/cipher.ts';
import { fileSubject } from './files.ts';
import { decodePackHeader, headerRange, TAIL_LENGTH } from './pack-header.ts';
import type { Id, MasterKey, PackedBlob } from './types.ts';

/** Headers are read with the pack's last bytes in one request: enough for some 400 blobs. */
const USUAL_TAIL = 16 * 1024;

/** The blobs of a pack by its own header; `size` is the size of the file in bytes. One request, two where there are many blobs. */
export async function readPackHeader(
  store: Store,
  key: MasterKey,
  { id, size }: { readonly id: Id; readonly size: number },
  signal?: AbortSignal,
): Promise<PackedBlob[]> {
  const subject = fileSubject('data', id);
  const read = (offset: number, length: number): Promise<Uint8Array> =>
    store.load({ type: 'data', name: id }, { range: { offset, length }, ...(signal && { signal }) });
  const tailLength = Math.min(size, USUAL_TAIL);
  const tail = size === 0 ? new Uint8Array(0) : await read(size - tailLength, tailLength);
  const { offset, length } = headerRange(tail, size, subject);
  const headerEnd = tailLength - TAIL_LENGTH;
  const sealed =
    length <= headerEnd ? tail.subarray(headerEnd - length, headerEnd) : await read(offset, length);
  return decodePackHeader(open(key, sealed, subject), offset, subject);
}
