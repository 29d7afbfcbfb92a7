import { inspectLocks } from '../../catalog/objects.ts';
import { describeLock, isOurs } from '../../repository/lock.ts';
import type { KnownLock } from '../../repository/locks.ts';
import { withRepository } from '../session.ts';
import { count } from '../units.ts';
import type { Verb } from '../verb.ts';

interface UnlockOptions {
  readonly removeAll?: boolean;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  datamover unlock
  datamover unlock --remove-all       only when you know that nobody works in the repository

Our own locks need no unlock: they expire after 30 minutes, at once when their process died on this machine.`;

export const verb: Verb = {
  configure(command, run) {
    command
      .description(
        'Removes locks that nobody holds any more: not refreshed for 30 minutes, or of a dead process here.',
      )
      .option('--remove-all', 'remove all locks, also those that are held')
      .option('-n, --dry-run', 'only show what would be removed')
      .addHelpText('after', EXAMPLES)
      .action((options: UnlockOptions) =>
        run((context) =>
          withRepository(context, { lock: 'none' }, async (repository) => {
            const { output } = context;
            const locks = await inspectLocks(repository);
            // A dead lock of ours tells the next backup to take up what was left; it keeps nobody out.
            const left = locks.filter(({ lock, stale }) => stale && lock !== undefined && isOurs(lock));
            const doomed =
              options.removeAll === true ? locks : locks.filter((lock) => lock.stale && !left.includes(lock));
            const dryRun = options.dryRun === true;
            for (const lock of doomed) {
              if (!dryRun) await repository.files.remove('locks', lock.id);
              output.detail(describe(lock));
            }
            const kept = locks.filter(({ stale }) => !stale && options.removeAll !== true).length;
            output.say(
              `${dryRun ? 'would remove' : 'removed'} ${count(doomed.length, 'lock')}` +
                (kept === 0 ? '' : `, ${count(kept, 'lock')} still held`) +
                (left.length === 0 || options.removeAll === true
                  ? ''
                  : `; ${count(left.length, 'lock')} of a crashed datamover left to the next backup`),
            );
            output.record({
              message_type: 'summary',
              removed: doomed.map(({ id }) => id),
              kept,
              dry_run: dryRun,
            });
          }),
        ),
      );
  },
};

function describe({ id, lock }: KnownLock): string {
  return `${id.slice(0, 8)}: ${lock === undefined ? 'unreadable' : describeLock(lock)}`;
}
