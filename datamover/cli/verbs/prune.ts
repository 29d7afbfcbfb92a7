import type { Command } from 'commander';
import { parseUnusedLimit, type UnusedLimit } from '../../repository/prune-options.ts';
import type { PrunePlan } from '../../repository/prune-plan.ts';
import { executePrune, planPrune, type PlanPruneOptions, type PruneResult } from '../../repository/prune.ts';
import { explained, parseSize, parseSpan } from '../arguments.ts';
import type { Output } from '../output.ts';
import { Reporter } from '../progress.ts';
import { withRepository, type Session } from '../session.ts';
import { formatFields } from '../table.ts';
import { count, formatBytes, formatPercent } from '../units.ts';
import type { Context, Verb } from '../verb.ts';

/** The options of prune, which `forget --prune` takes too. */
export interface PruneArguments {
  readonly maxUnused?: UnusedLimit;
  readonly maxRepackSize?: number;
  readonly repackSmall?: boolean;
  readonly repackUncompressed?: boolean;
  /** Milliseconds. */
  readonly grace?: number;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  datamover prune --dry-run
  datamover prune --max-unused 10% --max-repack-size 50G
  datamover prune --max-unused unlimited       delete only, rewrite nothing: on a full store

Safe beside running backups: with others at work packs are only marked, and a later prune takes them away after --grace.
Stopped at any moment it leaves everything that backups need; the next prune goes on.`;

export const verb: Verb = {
  configure(command, run) {
    addPruneOptions(command)
      .description('Frees the space that no backup uses any more.')
      .option('-n, --dry-run', 'only show what would be done')
      .addHelpText('after', EXAMPLES)
      .action((options: PruneArguments) =>
        run((context) =>
          withRepository(context, { lock: 'none' }, (_, session) =>
            pruneRepository(context, session, options),
          ),
        ),
      );
  },
};

export function addPruneOptions(command: Command): Command {
  return command
    .option(
      '--max-unused <limit>',
      'how much unused space may stay: 5% (default), 200M, unlimited',
      explained(parseUnusedLimit),
    )
    .option('--max-repack-size <size>', 'rewrite at most so much in one run (50G)', parseSize)
    .option('--repack-small', 'merge all packs far below the target size')
    .option('--repack-uncompressed', 'compress what is stored uncompressed')
    .option('--grace <span>', 'how long a marked pack stays (default: 23h)', parseSpan);
}

/** Plans and prunes. Prune chooses its own lock, as strong as the company of others allows; one that is held is given back. */
export async function pruneRepository(
  context: Context,
  session: Session,
  options: PruneArguments,
): Promise<void> {
  const { output, interrupt } = context;
  const { repository } = session;
  const dryRun = options.dryRun === true;
  interrupt.describe({ operation: 'prune', hint: 'everything in use is there: the next prune goes on' });
  // Prune takes its own lock; closing gives back the one that forget held.
  if (session.lock !== undefined) await repository.close();
  const reporter = new Reporter(output);
  reporter.update((seconds) => ({
    parts: ['looking for what is in use'],
    record: { phase: 'plan', seconds_elapsed: Math.round(seconds) },
  }));
  try {
    const job = await planPrune(repository, { ...readOptions(options), dryRun, signal: interrupt.signal });
    if (dryRun) {
      reporter.stop();
      showPlan(output, job.plan, true);
      output.record(describe(job.plan, undefined));
      return;
    }
    const result = await executePrune(repository, job, {
      signal: AbortSignal.any([interrupt.signal, job.lock.signal]),
      onProgress: ({ step, done, total }) =>
        reporter.update((seconds) => ({
          parts: [total > 0 ? formatPercent(done / total) : '', `${STEPS[step]} ${done} of ${total}`].filter(
            Boolean,
          ),
          record: { phase: step, done, total, seconds_elapsed: Math.round(seconds) },
        })),
    });
    reporter.stop();
    showPlan(output, job.plan, false);
    for (const sentence of result.damaged) output.note(`damaged, left as it is: ${sentence}`);
    output.record(describe(job.plan, result));
  } finally {
    reporter.stop();
  }
}

const STEPS = { repack: 'rewriting packs', index: 'writing the index', delete: 'deleting packs' } as const;

function readOptions(options: PruneArguments): PlanPruneOptions {
  return {
    ...(options.maxUnused === undefined ? {} : { maxUnused: options.maxUnused }),
    ...(options.maxRepackSize === undefined ? {} : { maxRepackBytes: options.maxRepackSize }),
    ...(options.repackSmall === true ? { smallPacks: 'merge' as const } : {}),
    ...(options.repackUncompressed === true ? { repackUncompressed: true } : {}),
    ...(options.grace === undefined ? {} : { graceMs: options.grace }),
  };
}

function showPlan(output: Output, plan: PrunePlan, dryRun: boolean): void {
  const { used, unused, duplicate, repack, removed, waiting, remaining } = plan.statistics;
  for (const obstacle of plan.obstacles) output.note(`in the way: ${obstacle}`);
  const amount = (blobs: number, bytes: number): string => `${formatBytes(bytes)} in ${count(blobs, 'blob')}`;
  const packs = (number: number, bytes: number): string => `${count(number, 'pack')}, ${formatBytes(bytes)}`;
  output.say(
    ...formatFields([
      ['in use', amount(used.blobs, used.bytes)],
      ['unused', amount(unused.blobs + duplicate.blobs, unused.bytes + duplicate.bytes)],
      [dryRun ? 'would rewrite' : 'rewritten', packs(repack.packs, repack.bytes)],
      [dryRun ? 'would delete' : 'deleted', packs(removed.packs, removed.bytes)],
      ...(waiting.packs > 0 ? [['marked for later', packs(waiting.packs, waiting.bytes)] as const] : []),
      ['remaining', `${formatBytes(remaining.bytes)}, unused ${formatBytes(remaining.unusedBytes)}`],
    ]),
  );
  if (plan.company !== 'nobody') {
    output.say('others are at work in the repository: packs were marked, a later prune takes them away');
  }
}

function describe(plan: PrunePlan, result: PruneResult | undefined): Record<string, unknown> {
  return {
    message_type: 'summary',
    dry_run: result === undefined,
    company: plan.company,
    obstacles: plan.obstacles,
    statistics: plan.statistics,
    ...(result === undefined
      ? {}
      : { deleted_packs: result.deletedPacks, marked_packs: result.markedPacks, damaged: result.damaged }),
  };
}
