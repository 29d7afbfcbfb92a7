import { hostname } from 'node:os';
import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { adoptOrphans } from '../../repository/orphans.ts';
import type { Repository } from '../../repository/repository.ts';
import { planBackup, type BackupRequest } from '../../transfer/backup-plan.ts';
import { executeBackup } from '../../transfer/backup.ts';
import { findFinished } from '../../transfer/earlier-attempt.ts';
import { parseVolumeName, type VolumeName } from '../../transfer/layout.ts';
import { volumeForms } from '../../volumes/open-driver.ts';
import { collectTags, parseCount, parseFormat, parseTime } from '../arguments.ts';
import { readSource, type SourceFlags } from '../backup-source.ts';
import { printBackup } from '../backup-summary.ts';
import { EarlyStart } from '../early-start.ts';
import { Reporter } from '../progress.ts';
import { compressionOf, withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { addStorageOptions } from '../storage-options.ts';
import { TransferStatus } from '../transfer-status.ts';
import { count } from '../units.ts';
import type { Verb } from '../verb.ts';

interface BackupOptions extends SourceFlags {
  readonly volume?: VolumeName;
  readonly tag?: readonly string[];
  readonly once?: string;
  readonly host?: string;
  readonly time?: Date;
  readonly parent?: string;
  readonly force?: boolean;
  readonly sample?: number;
  readonly maxIncrements?: number;
  readonly stats?: boolean;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  An image file or a block device:
    datamover backup file:/var/lib/vm/disk.img --volume shop/db
    datamover backup file:/dev/zvol/tank/pvc-1 --volume shop/db --tag nightly
  The snapshot of an RBD image or a zvol; what changed since an earlier backup is read, if the storage can tell:
    datamover backup rbd:rbd/db@tuesday --volume shop/db --ceph-id backup --stats
    datamover backup zfs:tank/db@tuesday --volume shop/db --base latest
  A ZFS dataset, or anything that is to stay encrypted, as send streams:
    datamover backup zfs:tank/files@tuesday --volume shop/files --raw
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
    addStorageOptions(command)
      .description('Carries a volume into the repository; only what is new there is stored.')
      .argument('[source...]', `${volumeForms()}, or after --stdin-command the program and its arguments`)
      .option('--volume <namespace/name>', 'the name of the volume (required)', parseVolumeName)
      .option('--stdin', 'read the volume from standard input')
      .option('--stdin-command', 'run a program and read the volume from its output')
      .option(
        '--as <format>',
        'what standard input or the program delivers: image, zvol, zfs, rbd-diff or stream',
        parseFormat,
      )
      .option('--tag <tag[,tag...]>', 'add tags (may be repeated)', collectTags)
      .option(
        '--once <tag>',
        'add this tag, unless a backup of the volume has it: then that one is told, and none is made',
      )
      .option('-H, --host <name>', "the host or cluster (default: this machine's name) [RESTIC_HOST]")
      .option('--time <time>', 'the time of the backup (default: now)', parseTime)
      .option('--parent <snapshot>', 'compare with this backup (default: the last one of the volume)')
      .option('-f, --force', 'compare with no earlier backup; stored content is still found again')
      .option(
        '--base <auto|none|snapshot>',
        'of a storage: the backup to build on, and no other (default: auto)',
      )
      .option('--raw', 'of zfs: send as it is on the disk (zfs send -w), encrypted data stays encrypted')
      .option('--sample <number>', 'unchanged MiB to compare with the source (default: 16 to 64)', parseCount)
      .option(
        '--max-increments <number>',
        'of send streams: after so many a full one (default: 30)',
        parseCount,
      )
      .option('--stats', 'tell how much was read, and how it was known what changed')
      .option('-n, --dry-run', 'read and compare everything, write nothing')
      .addHelpText('after', EXAMPLES)
      .action((source: string[], options: BackupOptions) =>
        run(async (context) => {
          const { output, interrupt, env } = context;
          if (options.volume === undefined) {
            throw usage('backup', 'the volume has no name', undefined, 'use --volume NAMESPACE/NAME');
          }
          const chosen = { '--parent': options.parent, '--force': options.force, '--base': options.base };
          const [one, other] = Object.entries(chosen).flatMap(([name, value]) =>
            value === undefined ? [] : [name],
          );
          if (one !== undefined && other !== undefined) {
            throw usage('backup', `${one} and ${other} exclude each other`);
          }
          const { namespace, name } = options.volume;
          const volume = `${namespace}/${name}`;
          const request = { volume: { namespace, name }, source: readSource(source, options, env) };
          const dryRun = options.dryRun === true;
          interrupt.describe({
            operation: 'backup of',
            subject: volume,
            hint: 'nothing is lost: run the same command again, and what is already stored is not stored twice',
          });
          const early = new EarlyStart(request.source, output, { dryRun });
          await withRepository(
            context,
            {
              lock: dryRun ? 'read' : 'shared',
              index: true,
              stdinIsData: options.stdin === true,
              meanwhile: () => early.begin(interrupt.signal),
              opened: () => early.warmUp(),
            },
            async (repository, { signal, lock }) => {
              early.cleanUp(signal);
              if (!dryRun && lock !== undefined && lock.crashed.length > 0) {
                const { adopted } = await adoptOrphans(repository, lock.crashed, signal);
                if (adopted.length > 0) {
                  output.note(
                    `a backup was cut off earlier: ${count(adopted.length, 'pack')} that it left are used again`,
                  );
                }
              }
              const printed = { volume, dryRun, stats: options.stats === true };
              const host = options.host ?? hostFrom(env);
              if (options.once !== undefined && !dryRun) {
                const { source } = request;
                const attempt = { host, volume: request.volume, tag: options.once, source };
                const finished = await findFinished(repository, attempt, signal);
                if (finished !== undefined) {
                  // The attempt that made it may have ended before it let go of its source.
                  await early.cleanedUp();
                  printBackup(output, finished, printed);
                  return;
                }
              }
              const plan = await planBackup(
                repository,
                {
                  ...request,
                  source: early.source(),
                  tags: [...(options.tag ?? []), ...(options.once === undefined ? [] : [options.once])],
                  host,
                  time: options.time ?? new Date(),
                  compression: compressionOf(context),
                  dryRun,
                  ...(options.maxIncrements !== undefined && { maxIncrements: options.maxIncrements }),
                  ...(options.sample !== undefined && { sample: { cells: options.sample } }),
                  ...(await readBase(repository, volume, options)),
                },
                signal,
              );
              await early.cleanedUp();
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
                printBackup(output, summary, printed);
              } finally {
                reporter.stop();
              }
            },
          ).finally(() => early.end());
        }),
      );
  },
};

/** What the backup is to build on or to be compared with. */
async function readBase(
  repository: Repository,
  volume: string,
  { base, parent, force }: BackupOptions,
): Promise<Pick<BackupRequest, 'base' | 'parent'>> {
  const find = async (reference: string): Promise<string> =>
    resolveBackup(await listBackups(repository), reference, { volume }).id;
  if (force === true) return { parent: null };
  if (parent !== undefined) return { parent: await find(parent) };
  if (base === undefined || base === 'auto') return {};
  return { base: base === 'none' ? null : await find(base) };
}

/** An empty variable counts as none. */
function hostFrom(env: NodeJS.ProcessEnv): string {
  const host = env['RESTIC_HOST'];
  return host === undefined || host === '' ? hostname() : host;
}
