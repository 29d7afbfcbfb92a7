import type { PackSource } from '../repository/loader/loader.ts';
import type { Repository } from '../repository/repository.ts';

const MAX_DOWNLOADS = 6;

/** Where the loader's threads get ranges of packs from. */
export function packSource(repository: Repository): PackSource {
  return {
    key: repository.key,
    downloads: Math.min(MAX_DOWNLOADS, repository.store.concurrency),
    loadPackRange: async (pack, offset, into, signal) => {
      await repository.store.load(
        { type: 'data', name: pack },
        { range: { offset, length: into.length }, into, signal },
      );
    },
  };
}
