import { listBackups } from '../../catalog/list.ts';
import { resolveBackup, type BackupFilter } from '../../catalog/select.ts';
import { adoptOrphans } from '../../repository/orphans.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Id } from '../../repository/types.ts';
import {
  executeConsolidation,
  planConsolidation,
  type ConsolidationPlan,
  type ConsolidationResult,
} from '../../transfer/consolidate.ts';
import { findMergedOf, forgetReplaced, type Consolidated } from '../../transfer/consolidated.ts';
import { addFilterOptions, readOwnFilter, type FilterOptions } from '../filter.ts';
import type { Output } from '../output.ts';
import { Reporter } from '../progress.ts';
import { compressionOf, withRepository } from '../session.ts';
import { TransferStatus } from '../transfer-status.ts';
import { count, formatBytes, formatSeconds } from '../units.ts';
import type { Context, Verb } from '../verb.ts';

interface ConsolidateArguments extends FilterOptions {
  readonly forget?: boolean;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  datamover consolidate latest --volume shop/files --dry-run
  datamover consolidate latest --volume shop/files --forget

A backup of a ZFS dataset holds a full send stream and the increments behind it. This merges them into one full stream, out of the
repository alone: no pool is asked, and zfs receive takes it as it takes any. It is a snapshot of its own with the time, host and tags
of the old one, and the next increment builds on it. The old one stays unless --forget is given; other backups keep what they need.
A backup that was merged already is not merged again; with --forget the old one goes then.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .description('Merges the send streams of a backup into one full stream.')
      .argument('<snapshot>', 'an id, the beginning of one, or latest')
      .option('--forget', 'then remove the old snapshot; prune frees its space')
      .option('-n, --dry-run', 'only show what would be done')
      .addHelpText('after', EXAMPLES)
      .action((reference: string, options: ConsolidateArguments) =>
        run(async (context) => {
          const { output, interrupt } = context;
          const dryRun = options.dryRun === true;
          const forget = options.forget === true;
          interrupt.describe({
            operation: 'consolidate',
            subject: reference,
            hint: 'nothing is lost: the old snapshot is whole, and what is stored already is not stored twice',
          });
          const lock = dryRun ? 'read' : 'shared';
          const done = await withRepository(context, { lock, index: true }, async (repository, session) => {
            const crashed = dryRun ? [] : (session.lock?.crashed ?? []);
            // What a killed job has uploaded is not stored twice.
            if (crashed.length > 0) await adoptOrphans(repository, crashed, session.signal);
            const filter = readOwnFilter(options, context.env);
            const plan = await planFor(repository, reference, filter, session.signal);
            showPlan(output, plan, forget, dryRun);
            if (dryRun || plan.nothing !== undefined) return { plan };
            return { plan, result: await consolidate(context, repository, plan, session.signal) };
          });
          const { plan, result } = done;
          let removed: readonly Id[] = [];
          try {
            const { earlier } = plan;
            const made = result && { merged: result.snapshotId, replaced: [plan.snapshotId] };
            const done = made ?? (dryRun ? undefined : earlier);
            if (forget && done !== undefined) removed = await removeOld(context, done);
          } finally {
            // Also where the old one could not be removed: the new one is there.
            output.record(recordOf(plan, result, dryRun, removed));
          }
        }),
      );
  },
};

/** Another job may be about the same: one that is gone because it was merged is the one that it was merged into. */
async function planFor(
  repository: Repository,
  reference: string,
  filter: BackupFilter,
  signal: AbortSignal,
): Promise<ConsolidationPlan> {
  for (let attempts = 1; ; attempts++) {
    try {
      const backups = await listBackups(repository);
      const isThere = reference.startsWith('latest') || backups.some(({ id }) => id.startsWith(reference));
      const merged = isThere ? undefined : await findMergedOf(repository, reference, signal);
      const { id } = resolveBackup(backups, merged ?? reference, filter);
      return await planConsolidation(repository, id, signal);
    } catch (error) {
      if (attempts === 3 || !repository.store.isMissing(error)) throw error;
      await repository.relist(['snapshots'], signal);
    }
  }
}

async function consolidate(
  context: Context,
  repository: Repository,
  plan: ConsolidationPlan,
  signal: AbortSignal,
): Promise<ConsolidationResult> {
  const { output } = context;
  const reporter = new Reporter(output);
  const status = new TransferStatus('backup');
  try {
    const result = await executeConsolidation(repository, plan, {
      signal,
      compression: compressionOf(context),
      onProgress: (progress) => reporter.update((seconds) => status.describe(progress, seconds)),
    });
    reporter.stop();
    output.say(
      `${formatBytes(plan.bytes)} merged into ${formatBytes(result.bytes)} in ${formatSeconds(result.seconds)}, stored ${formatBytes(result.storedBytes)}`,
      result.byAnother
        ? `another job merged the same chain meanwhile: its snapshot ${result.snapshotId.slice(0, 8)} stays, none is saved beside it`
        : `snapshot ${result.snapshotId.slice(0, 8)} saved`,
    );
    return result;
  } finally {
    reporter.stop();
  }
}

/** Only now, when the new one is there for sure, and under the lock that forget takes, which is not to be held for hours. */
async function removeOld(context: Context, consolidated: Consolidated): Promise<readonly Id[]> {
  // A policy may have removed the new one while no lock was held; then the old one is all that there is.
  return withRepository(context, { lock: 'sweep', patient: true }, async (repository, { signal }) => {
    const removed = await forgetReplaced(repository, consolidated, signal);
    for (const id of removed) context.output.say(`removed snapshot ${id.slice(0, 8)}`);
    return removed;
  });
}

function showPlan(output: Output, plan: ConsolidationPlan, forget: boolean, dryRun: boolean): void {
  const { snapshotId, streams, bytes, nothing, earlier } = plan;
  const id = snapshotId.slice(0, 8);
  if (nothing !== undefined) {
    output.say(`nothing to merge for ${id}: ${nothing}`);
    if (dryRun && forget)
      for (const old of earlier?.replaced ?? []) output.say(`would remove snapshot ${old.slice(0, 8)}`);
    return;
  }
  output.say(
    `${dryRun ? 'would merge' : 'merging'} ${count(streams.length, 'stream')} of ${id} (${formatBytes(bytes)}) into one full stream`,
  );
  for (const { number, bytes: size, zfs } of streams)
    output.detail(`  ${number}  ${formatBytes(size)}  ${zfs.snapshot}`);
  if (dryRun && forget) output.say(`would then remove snapshot ${id}`);
}

function recordOf(
  { snapshotId, streams, bytes, nothing, earlier }: ConsolidationPlan,
  result: ConsolidationResult | undefined,
  dryRun: boolean,
  removed: readonly Id[],
): Record<string, unknown> {
  return {
    message_type: 'summary',
    dry_run: dryRun,
    original: snapshotId,
    streams: streams.length,
    bytes_read: bytes,
    ...(nothing !== undefined && { nothing }),
    ...(earlier && { snapshot_id: earlier.merged }),
    ...(result && {
      snapshot_id: result.snapshotId,
      by_another: result.byAnother,
      total_bytes_processed: result.bytes,
      data_added: result.newBytes,
      data_added_packed: result.storedBytes,
      total_duration: result.seconds,
    }),
    removed,
  };
}
