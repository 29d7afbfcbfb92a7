import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { volumeName } from '../../catalog/volume-backup.ts';
import { executeRestore, fileTarget, planRestore } from '../../transfer/restore.ts';
import { parseOutputFormat, parseTarget, type OutputFormat } from '../arguments.ts';
import { listStreamsOf } from '../stream-list.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import { Reporter } from '../progress.ts';
import { withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { TransferStatus } from '../transfer-status.ts';
import { formatBytes, formatSeconds } from '../units.ts';
import type { Verb } from '../verb.ts';

interface RestoreOptions extends FilterOptions {
  readonly to?: { readonly path?: string };
  readonly verify?: boolean;
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
  datamover restore latest --volume shop/files --to - --as zfs | (zfs receive tank/files; zfs receive tank/files)
  datamover restore latest --volume shop/files --list
  datamover restore latest --volume shop/db --to - --as rbd-diff | rbd import-diff - rbd/db
  datamover restore latest~1 --volume shop/db --to file:yesterday.img

A new file is made sparse: zeros take no space. An existing file is written over only with --force, a block device if it is
large enough and nobody uses it.
A chain of send streams comes out one after the other, as they were sent: one zfs receive for each. --stream N gives one alone.
Every block is checked against its SHA-256 before it is written; --verify reads the target back and checks it once more.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .description('Brings a volume back into a file, onto a block device or to standard output.')
      .argument('<snapshot>', 'an id or its beginning, latest, or latest~1 for the one before')
      .option('--to <target>', 'file:PATH, or - for standard output (required)', parseTarget)
      .option(
        '--as <format>',
        'image or zfs: what the backup must be; rbd-diff: make one of an image',
        parseOutputFormat,
      )
      .option('--stream <number|guid>', 'one stream of a chain alone; 0 is the full one')
      .option('--list', 'only list the streams of the chain')
      .option('--verify', 'read the target back and compare')
      .option('--no-sparse', 'write zeros out, also into a new file')
      .option('-f, --force', 'write over an existing file')
      .option('--overwrite', 'the same as --force')
      .addHelpText('after', EXAMPLES)
      .action((snapshot: string, options: RestoreOptions) =>
        run(async (context) => {
          const { output, interrupt } = context;
          if (options.list === true) {
            await listStreamsOf(context, snapshot, options);
            return;
          }
          const { to } = options;
          if (to === undefined) {
            throw usage('restore', 'there is no target', undefined, 'use --to file:PATH or --to -');
          }
          if (to.path !== undefined && options.as === 'rbd-diff')
            throw usage('restore', '--as rbd-diff is for standard output', undefined, 'use --to -');
          if (to.path === undefined) {
            if (options.verify === true) throw usage('restore', '--verify cannot read standard output back');
            if (process.stdout.isTTY) {
              throw usage(
                'restore',
                'standard output is a terminal',
                undefined,
                'pipe it into a program or a file',
              );
            }
            output.divertResults();
          }
          const place = to.path ?? 'standard output';
          interrupt.describe({
            operation: 'restore to',
            subject: place,
            hint:
              to.path === undefined
                ? 'what its reader got is not the whole volume: run the same command again'
                : 'run the same command again: a new file was taken away, a target that was there before is incomplete',
          });
          await withRepository(context, { lock: 'read', index: true }, async (repository, { signal }) => {
            const backup = resolveBackup(await listBackups(repository), snapshot, readFilter(options));
            const plan = await planRestore(repository, {
              snapshotId: backup.id,
              target:
                to.path === undefined
                  ? { kind: 'stdout', fd: 1, as: options.as === 'rbd-diff' ? options.as : 'image' }
                  : fileTarget(to.path),
              sparse: options.sparse,
              verify: options.verify === true,
              force: options.force === true || options.overwrite === true,
              ...((options.as === 'image' || options.as === 'zfs') && { as: options.as }),
              ...(options.stream !== undefined && { stream: options.stream }),
            });
            const reporter = new Reporter(output);
            const status = new TransferStatus('restore');
            try {
              const summary = await executeRestore(repository, plan, {
                signal,
                onProgress: (progress) => reporter.update((seconds) => status.describe(progress, seconds)),
              });
              reporter.stop();
              const { bytesRestored, bytesSkippedZero, bytesWritten, seconds, verified } = summary;
              const rate = seconds > 0 ? ` (${formatBytes(bytesRestored / seconds)}/s)` : '';
              const volume = volumeName(backup) ?? backup.paths.join(', ');
              output.say(
                `${volume} of snapshot ${backup.shortId}: ${formatBytes(bytesRestored)} restored to ${place}` +
                  ` in ${formatSeconds(seconds)}${rate}`,
                `  written ${formatBytes(bytesWritten)}` +
                  (bytesSkippedZero > 0 ? `, left sparse ${formatBytes(bytesSkippedZero)}` : '') +
                  (verified ? ', read back and verified' : ''),
              );
              output.record({
                message_type: 'summary',
                snapshot_id: backup.id,
                volume,
                target: place,
                total_bytes: bytesRestored,
                bytes_restored: bytesRestored,
                bytes_written: bytesWritten,
                bytes_skipped_zero: bytesSkippedZero,
                verified,
                total_duration: seconds,
              });
            } finally {
              reporter.stop();
            }
          });
        }),
      );
  },
};
