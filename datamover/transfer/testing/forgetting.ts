import { executePrune, planPrune } from '../../repository/prune.ts';
import { Repository } from '../../repository/repository.ts';
import type { Random } from '../../repository/testing/bytes.ts';
import type { Store } from '../../store/store.ts';
import { PASSWORD } from './volumes.ts';

/** Prunes this often on the way: what is left must be whole after each. */
const PRUNES = 4;

/**
 * Deletes more than half of the backups, in random order, and prunes so that nothing unused stays. Nobody else may have the
 * repository open. Gives the backups that are left.
 */
export async function forgetAtRandom<T extends { readonly id: string }>(
  store: Store,
  backups: readonly T[],
  random: Random,
): Promise<T[]> {
  const left = [...backups];
  const each = Math.ceil((backups.length * 0.6) / PRUNES);
  for (let prune = 0; prune < PRUNES; prune++) {
    for (let i = 0; i < each && left.length > 1; i++) {
      const [gone] = left.splice(random.below(left.length), 1);
      if (gone !== undefined) await store.remove({ type: 'snapshots', name: gone.id });
    }
    const repository = await Repository.open(store, PASSWORD);
    await executePrune(repository, await planPrune(repository, { maxUnused: { bytes: 0 } }));
    await repository.close();
  }
  return left;
}
