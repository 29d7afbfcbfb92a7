import type { FileInfo, Store } from '../store/store.ts';
import { isId } from './id.ts';

/** The packs that the store has. Files with other names (of an upload that broke off, of other programs) are none. */
export async function* listPacks(store: Store, signal?: AbortSignal): AsyncGenerator<FileInfo> {
  for await (const file of store.list(['data'], signal)) if (isId(file.name)) yield file;
}
