import type { IndexDocument } from './prune-usage.ts';
import type { Repository } from './repository.ts';

/** Index files that are loaded ahead of the one in hand: a few MiB each, unpacked. */
const AHEAD = 3;

/** The index files of the last listing in its order, each verified and unpacked. A file that is gone or damaged is an error. */
export async function* indexDocuments(
  repository: Repository,
  signal?: AbortSignal,
): AsyncGenerator<IndexDocument> {
  const files = repository.listed('index');
  const load = async (at: number): Promise<IndexDocument | undefined> => {
    const file = files[at];
    if (file === undefined) return undefined;
    return { id: file.name, size: file.size, json: await repository.loadFile('index', file.name, signal) };
  };
  const window: Promise<IndexDocument | undefined>[] = [];
  const fetch = (at: number): void => {
    const promise = load(at);
    // A failure is thrown when its turn comes; until then it must not count as unhandled.
    promise.catch(() => undefined);
    window.push(promise);
  };
  for (let at = 0; at < AHEAD; at++) fetch(at);
  for (let at = 0; at < files.length; at++) {
    fetch(at + AHEAD);
    const document = await window.shift();
    if (document !== undefined) yield document;
  }
}
