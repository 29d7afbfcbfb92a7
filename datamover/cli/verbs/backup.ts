import { hostname } from 'node:os';
import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { adoptOrphans } from '../../repository/orphans.ts';
import { imageFile, planBackup, type BackupRequest } from '../../transfer/backup-plan.ts';
import { executeBackup, type BackupSummary } from '../../transfer/backup.ts';
import { parseVolumeName, type VolumeName } from '../../transfer/layout.ts';
import { collectTags, parseFile, parseFormat, parseTime, type InputFormat } from '../arguments.ts';
import type { Output } from '../output.ts';
import { Reporter } from '../progress.ts';
import { compressionOf, withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { TransferStatus } from '../transfer-status.ts';
import { count, formatBytes, formatSeconds } from '../units.ts';
import type { Verb } from '../verb.ts';

interface BackupOptions {
  readonly volume?: VolumeName;
  readonly stdin?: boolean;
  readonly stdinCommand?: boolean;
  readonly as?: InputFormat;
  readonly tag?: readonly string[];
  readonly host?: string;
  readonly time?: Date;
  readonly parent?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  An image file or a block device:
    datamover backup file:/var/lib/vm/disk.img --volume shop/db
    datamover backup file:/dev/zvol/tank/pvc-1 --volume shop/db --tag nightly
  What a program prints; if the program fails, there is no backup:
    datamover backup --volume shop/dump --as stream --stdin-command pg_dumpall
  What comes through a pipe (whether its producer failed cannot be seen here: prefer --stdin-command):
    pg_dumpall | datamover backup --stdin --as stream --volume shop/dump
  A zvol, first whole, then what changed since its last backup; each backup is its whole disk:
    datamover backup --volume shop/db --as zvol --stdin-command zfs send tank/db@monday
    datamover backup --volume shop/db --as zvol --stdin-command zfs send -i @monday tank/db@tuesday
  An RBD image in the same way (its snaps are told apart by their names alone):
    datamover backup --volume shop/db --as rbd-diff --stdin-command rbd export-diff rbd/db@monday -
    datamover backup --volume shop/db --as rbd-diff --stdin-command rbd export-diff --from-snap monday rbd/db@tuesday -
  A dataset, or any other send stream, kept as it is; each backup holds the full stream and all increments up to its own:
    datamover backup --volume shop/files --as zfs --stdin-command zfs send -L -c tank/files@monday
    datamover backup --volume shop/files --as zfs --stdin-command zfs send -L -c -i @monday tank/files@tuesday

An image is cut on a fixed grid and restores to a disk; a stream is cut where its content suggests it and comes back as it was.
Backups are whole: any of them can be forgotten without harm to the others. A stopped backup leaves what it has uploaded; the
next one does not upload it again.`;

export const verb: Verb = {
  configure(command, run) {
    command
      .description('Carries a volume into the repository; only what is new there is stored.')
      .argument('[source...]', 'file:PATH, or after --stdin-command the program and its arguments')
      .option('--volume <namespace/name>', 'the name of the volume (required)', parseVolumeName)
      .option('--stdin', 'read the volume from standard input')
      .option('--stdin-command', 'run a program and read the volume from its output')
      .option(
        '--as <format>',
        'what standard input or the program delivers: image, zvol, zfs, rbd-diff or stream',
        parseFormat,
      )
      .option('--tag <tag[,tag...]>', 'add tags (may be repeated)', collectTags)
      .option('-H, --host <name>', "the host or cluster (default: this machine's name) [RESTIC_HOST]")
      .option('--time <time>', 'the time of the backup (default: now)', parseTime)
      .option('--parent <snapshot>', 'compare with this backup (default: the last one of the volume)')
      .option('-f, --force', 'compare with no earlier backup; stored content is still found again')
      .option('-n, --dry-run', 'read and compare everything, write nothing')
      .addHelpText('after', EXAMPLES)
      .action((source: string[], options: BackupOptions) =>
        run(async (context) => {
          const { output, interrupt, env } = context;
          if (options.volume === undefined) {
            throw usage('backup', 'the volume has no name', undefined, 'use --volume NAMESPACE/NAME');
          }
          if (options.parent !== undefined && options.force === true) {
            throw usage('backup', '--parent and --force exclude each other');
          }
          const { namespace, name } = options.volume;
          const volume = `${namespace}/${name}`;
          const request = { volume: { namespace, name }, source: readSource(source, options) };
          const dryRun = options.dryRun === true;
          interrupt.describe({
            operation: 'backup of',
            subject: volume,
            hint: 'nothing is lost: run the same command again, and what is already stored is not stored twice',
          });
          await withRepository(
            context,
            {
              lock: dryRun ? 'read' : 'shared',
              index: true,
              stdinIsData: options.stdin === true,
            },
            async (repository, { signal, lock }) => {
              if (!dryRun && lock !== undefined && lock.crashed.length > 0) {
                const { adopted } = await adoptOrphans(repository, lock.crashed, signal);
                if (adopted.length > 0) {
                  output.note(
                    `a backup was cut off earlier: ${count(adopted.length, 'pack')} that it left are used again`,
                  );
                }
              }
              const parent =
                options.parent === undefined
                  ? undefined
                  : resolveBackup(await listBackups(repository), options.parent, { volume }).id;
              const plan = await planBackup(repository, {
                ...request,
                tags: options.tag ?? [],
                host: options.host ?? hostFrom(env),
                time: options.time ?? new Date(),
                compression: compressionOf(context),
                dryRun,
                ...(options.force === true ? { parent: null } : parent === undefined ? {} : { parent }),
              });
              if (plan.source.kind === 'driver' && plan.source.read.caution !== undefined) {
                output.note(plan.source.read.caution);
              }
              const reporter = new Reporter(output);
              const status = new TransferStatus('backup');
              try {
                const summary = await executeBackup(repository, plan, {
                  signal,
                  onProgress: (progress) => reporter.update((seconds) => status.describe(progress, seconds)),
                });
                reporter.stop();
                printSummary(output, summary, volume, dryRun);
              } finally {
                reporter.stop();
              }
            },
          );
        }),
      );
  },
};

/** An empty variable counts as none. */
function hostFrom(env: NodeJS.ProcessEnv): string {
  const host = env['RESTIC_HOST'];
  return host === undefined || host === '' ? hostname() : host;
}

const SOURCES = {
  image: 'image-stream',
  zvol: 'zvol-stream',
  zfs: 'zfs-stream',
  'rbd-diff': 'rbd-diff',
  stream: 'stream',
} as const;

function readSource(source: readonly string[], options: BackupOptions): BackupRequest['source'] {
  const { stdin, stdinCommand, as } = options;
  if (stdin !== true && stdinCommand !== true) {
    if (source.length !== 1) {
      throw usage(
        'backup',
        source.length === 0 ? 'there is nothing to back up' : 'one volume at a time',
        undefined,
        'name file:PATH, or use --stdin or --stdin-command',
      );
    }
    if (as !== undefined && as !== 'image')
      throw usage('backup', `--as ${as} is for --stdin and --stdin-command`);
    return imageFile(parseFile(source[0] ?? ''));
  }
  if (stdin === true && stdinCommand === true) {
    throw usage('backup', '--stdin and --stdin-command exclude each other');
  }
  if (as === undefined)
    throw usage(
      'backup',
      'the format is not given',
      undefined,
      'use --as image, zvol, zfs, rbd-diff or stream',
    );
  const kind = SOURCES[as];
  if (stdin === true) {
    if (source.length > 0) throw usage('backup', `${source.join(' ')} does not go together with --stdin`);
    if (process.stdin.isTTY)
      throw usage('backup', 'standard input is a terminal', undefined, 'pipe a volume into it');
    return { kind, input: { kind: 'fd', fd: 0 } };
  }
  const [file, ...args] = source;
  if (file === undefined) throw usage('backup', '--stdin-command is not followed by a program');
  return { kind, input: { kind: 'command', file, args } };
}

function printSummary(output: Output, summary: BackupSummary, volume: string, dryRun: boolean): void {
  const { totalBytes, newBytes, deduplicatedBytes, zeroBytes, storedBytes, seconds } = summary;
  const rate = seconds > 0 ? ` (${formatBytes(totalBytes / seconds)}/s)` : '';
  output.say(
    `${volume}: ${formatBytes(totalBytes)} ${dryRun ? 'compared' : 'backed up'} in ${formatSeconds(seconds)}${rate}`,
    `  new ${formatBytes(newBytes)}, known already ${formatBytes(deduplicatedBytes)}, zero ${formatBytes(zeroBytes)}`,
    dryRun
      ? '  nothing was stored (dry run)'
      : `  stored ${formatBytes(storedBytes)}, read ${formatBytes(summary.readBytes)}` +
          (summary.parent === undefined ? '' : `, compared with ${summary.parent.slice(0, 8)}`),
    ...(summary.snapshotId === undefined ? [] : [`snapshot ${summary.snapshotId.slice(0, 8)} saved`]),
  );
  output.record({
    message_type: 'summary',
    ...(summary.snapshotId === undefined ? { dry_run: true } : { snapshot_id: summary.snapshotId }),
    ...(summary.parent === undefined ? {} : { parent: summary.parent }),
    volume,
    format: summary.format,
    total_bytes_processed: totalBytes,
    bytes_read: summary.readBytes,
    data_added: newBytes,
    data_added_packed: storedBytes,
    deduplicated_bytes: deduplicatedBytes,
    zero_bytes: zeroBytes,
    metadata_bytes: summary.metadataBytes,
    packs: summary.packs,
    total_duration: seconds,
  });
}
