/**
 * `open-index.ts` opens the repository of the environment, loads its index and prints how many blobs it has and how many bytes of
 * memory they take: a process of its own, so that its CPU time and memory are those of the index alone.
 */
import { Repository } from '../datamover/repository/repository.ts';
import { openStore } from '../datamover/store/location.ts';

const location = process.env['RESTIC_REPOSITORY'] ?? '';
const store = await openStore(location);
const repository = await Repository.open(store, process.env['RESTIC_PASSWORD'] ?? '');
const index = await repository.loadIndex();
const { blobs, packs } = index.share();
const bytes = [blobs, packs].reduce(
  (sum, { entries, slots }) => sum + entries.byteLength + slots.byteLength,
  0,
);
console.log(JSON.stringify({ blobs: index.blobCount, bytes }));
await repository.close();
await store.close();
