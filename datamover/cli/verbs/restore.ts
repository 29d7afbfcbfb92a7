import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { executeRestore, planRestore, type RestoreTarget } from '../../transfer/restore.ts';
import { volumeForms } from '../../volumes/open-driver.ts';
import { parseOutputFormat, type OutputFormat } from '../arguments.ts';
import { listStreamsOf } from '../stream-list.ts';
import { addFilterOptions, readOwnFilter, type FilterOptions } from '../filter.ts';
import { Reporter } from '../progress.ts';
import { printRestore } from '../restore-summary.ts';
import { withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import {
  addStorageOptions,
  closeStorage,
  openStorage,
  refuseStorageFlags,
  type StorageFlags,
} from '../storage-options.ts';
import { addTargetOptions, readWishes, type TargetFlags } from '../target-options.ts';
import { TransferStatus } from '../transfer-status.ts';
import type { Verb } from '../verb.ts';

interface RestoreOptions extends FilterOptions, StorageFlags, TargetFlags {
  readonly to?: string;
  readonly verify?: boolean;
  readonly verifyImage?: boolean;
  readonly sparse: boolean;
  readonly force?: boolean;
  readonly overwrite?: boolean;
  readonly as?: OutputFormat;
  readonly stream?: string;
  readonly list?: boolean;
}

const EXAMPLES = `
Examples:
  datamover restore latest --volume shop/db --to file:/var/lib/vm/disk.img --verify
  datamover restore 3f2a81c0 --to file:/dev/zvol/tank/pvc-1
  datamover restore latest --volume shop/db --to rbd:rbd/db-again --object-size 4M --ceph-id backup
  datamover restore latest --volume shop/db --to zfs:tank/db-again --thin --property compression=zstd
  datamover restore latest --volume shop/files --to - --as zfs | (zfs receive tank/files; zfs receive tank/files)
  datamover restore latest --volume shop/files --list
  datamover restore latest --volume shop/db --to - --as rbd-diff | rbd import-diff - rbd/db
  datamover restore latest~1 --volume shop/db --to file:yesterday.img

An image goes to any storage, whatever it came from. A new file is made sparse: zeros take no space. What exists is written over
only with --force, a block device if it is large enough and nobody uses it.
A chain of send streams comes out one after the other, as they were sent: one zfs receive for each. --stream N gives one alone.
Every block is checked against its SHA-256 before it is written; --verify reads the target back and checks it once more,
unless it is a dataset that received streams.`;

export const verb: Verb = {
  configure(command, run) {
    addTargetOptions(addStorageOptions(addFilterOptions(command)))
      .description('Brings a volume back onto a storage, into a file or to standard output.')
      .argument('<snapshot>', 'an id or its beginning, latest, or latest~1 for the one before')
      .option('--to <target>', `${volumeForms()}, or - for standard output (required)`)
      .option(
        '--as <format>',
        'image or zfs: what the backup must be; rbd-diff: make one of an image',
        parseOutputFormat,
      )
      .option('--stream <number|guid>', 'one stream of a chain alone; 0 is the full one')
      .option('--list', 'only list the streams of the chain')
      .option('--verify', 'read the target back and compare')
      .option('--verify-image', 'the same of an image, and nothing of streams that a dataset receives')
      .option('--no-sparse', 'write zeros out, also into a new file')
      .option('-f, --force', 'write over what is there')
      .option('--overwrite', 'the same as --force')
      .addHelpText('after', EXAMPLES)
      .action((snapshot: string, options: RestoreOptions) =>
        run(async (context) => {
          const { output, interrupt, env } = context;
          if (options.list === true) {
            await listStreamsOf(context, snapshot, options);
            return;
          }
          const target = readTarget(options, env);
          if (target.kind === 'stdout') output.divertResults();
          const wishes = readWishes(options);
          const place = placeOf(options.to, target);
          interrupt.describe({
            operation: 'restore to',
            subject: place,
            hint:
              target.kind === 'stdout'
                ? 'what its reader got is not the whole volume: run the same command again'
                : 'run the same command again: what was new was taken away, a target that was there before is incomplete',
          });
          await withRepository(context, { lock: 'read', index: true }, async (repository, { signal }) => {
            const backup = resolveBackup(
              await listBackups(repository),
              snapshot,
              readOwnFilter(options, env),
            );
            const plan = await planRestore(
              repository,
              {
                ...{ snapshotId: backup.id, target, sparse: options.sparse },
                verify: options.verify === true || (options.verifyImage === true && 'images'),
                force: options.force === true || options.overwrite === true,
                ...((options.as === 'image' || options.as === 'zfs') && { as: options.as }),
                ...(options.stream !== undefined && { stream: options.stream }),
                ...(wishes && { wishes }),
              },
              signal,
            );
            const reporter = new Reporter(output);
            const status = new TransferStatus('restore');
            try {
              const summary = await executeRestore(repository, plan, {
                signal,
                onProgress: (progress) => reporter.update((seconds) => status.describe(progress, seconds)),
              });
              reporter.stop();
              printRestore(output, summary, { backup, place });
            } finally {
              reporter.stop();
            }
          }).finally(() => closeStorage(target));
        }),
      );
  },
};

function readTarget(options: RestoreOptions, env: NodeJS.ProcessEnv): RestoreTarget {
  const { to, as } = options;
  if (to === undefined) {
    throw usage('restore', 'there is no target', undefined, `use --to ${volumeForms()}, or --to -`);
  }
  if (to !== '-') {
    if (as === 'rbd-diff')
      throw usage('restore', '--as rbd-diff is for standard output', undefined, 'use --to -');
    return { kind: 'driver', ...openStorage('restore', to, options, env) };
  }
  if (options.verify === true || options.verifyImage === true)
    throw usage('restore', '--verify cannot read standard output back');
  refuseStorageFlags('restore', options, '--to -');
  if (readWishes(options) !== undefined)
    throw usage('restore', 'a pipe has no properties', undefined, 'leave the options of a new volume out');
  if (process.stdout.isTTY) {
    throw usage('restore', 'standard output is a terminal', undefined, 'pipe it into a program or a file');
  }
  return { kind: 'stdout', fd: 1, as: as === 'rbd-diff' ? as : 'image' };
}

/** For people and in the summary: a path alone, and else what was written behind --to. */
function placeOf(to: string | undefined, target: RestoreTarget): string {
  if (target.kind === 'stdout') return 'standard output';
  return target.driver.name === 'file' ? target.location : (to ?? target.location);
}
