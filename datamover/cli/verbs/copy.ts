import { listBackups } from '../../catalog/list.ts';
import { resolveBackup, selectBackups } from '../../catalog/select.ts';
import { executeCopy, planCopy, type CopyPlan, type CopyResult } from '../../repository/copy.ts';
import { shortId } from '../../repository/id.ts';
import type { Repository } from '../../repository/repository.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import type { Output } from '../output.ts';
import { Reporter } from '../progress.ts';
import { withOtherRepository, withRepository, type OtherRepository } from '../session.ts';
import { count, formatBytes, formatPercent } from '../units.ts';
import type { Context, Verb } from '../verb.ts';

interface CopyArguments extends FilterOptions, OtherRepository {
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  datamover copy -r /srv/second --from-repo s3:https://host/bucket/repo --from-password-file first.txt
  datamover copy -r /srv/second --from-repo /srv/repo --volume shop/db latest

Snapshots that the target has already are left out, and only content that it lacks is brought over, so a copy can be repeated or
go on after a stop. For content to be found again between the two, make the target with init --copy-chunker-params.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .description('Copies backups from another repository into this one.')
      .argument('[ids...]', 'only these snapshots of the other repository')
      .option('--from-repo <location>', 'the other repository [RESTIC_FROM_REPOSITORY]')
      .option('--from-repository-file <file>', 'read its location from a file [RESTIC_FROM_REPOSITORY_FILE]')
      .option('--from-password-file <file>', 'read its password from a file [RESTIC_FROM_PASSWORD_FILE]')
      .option(
        '--from-password-command <command>',
        'run a command that prints it [RESTIC_FROM_PASSWORD_COMMAND]',
      )
      .option('-n, --dry-run', 'only show what would be copied')
      .addHelpText('after', EXAMPLES)
      .action((ids: string[], options: CopyArguments) =>
        run(async (context) => {
          context.interrupt.describe({
            operation: 'copy',
            hint: 'run the same command again: what has arrived is not copied twice',
          });
          const lock = options.dryRun === true ? 'read' : 'shared';
          await withOtherRepository(context, options, { lock: 'read', index: true }, (source) =>
            withRepository(context, { lock, index: true }, (target, { signal }) =>
              copy(context, { source, target, ids, options, signal }),
            ),
          );
        }),
      );
  },
};

interface CopyWork {
  readonly source: Repository;
  readonly target: Repository;
  readonly ids: readonly string[];
  readonly options: CopyArguments;
  readonly signal: AbortSignal;
}

async function copy({ output }: Context, { source, target, ids, options, signal }: CopyWork): Promise<void> {
  const filter = readFilter(options);
  const all = await listBackups(source);
  const chosen =
    ids.length === 0 ? selectBackups(all, filter) : ids.map((id) => resolveBackup(all, id, filter));
  const snapshots = await Promise.all(
    chosen.map(async ({ id }) => ({ id, snapshot: await source.loadSnapshot(id, signal) })),
  );
  const reporter = new Reporter(output);
  reporter.update((seconds) => ({
    parts: ['comparing'],
    record: { phase: 'plan', seconds_elapsed: Math.round(seconds) },
  }));
  try {
    const job = await planCopy(source, target, snapshots, signal);
    const result =
      options.dryRun === true
        ? undefined
        : await executeCopy(source, target, job, {
            signal,
            onProgress: ({ blobs, total }) =>
              reporter.update((seconds) => ({
                parts: [formatPercent(total > 0 ? blobs / total : 1), `${blobs} of ${total} blobs`],
                record: {
                  phase: 'copy',
                  blobs_done: blobs,
                  total_blobs: total,
                  seconds_elapsed: Math.round(seconds),
                },
              })),
          });
    reporter.stop();
    show(output, job.plan, result, reporter.seconds);
  } finally {
    reporter.stop();
  }
}

function show(output: Output, plan: CopyPlan, result: CopyResult | undefined, seconds: number): void {
  for (const { id, as } of plan.present) output.detail(`${shortId(id)} is there already as ${shortId(as)}`);
  for (const { id, as } of result?.snapshots ?? []) output.say(`${shortId(id)} copied as ${shortId(as)}`);
  output.say(
    `${result === undefined ? 'would copy' : 'copied'} ${count(plan.copy.length, 'snapshot')}, ` +
      `${count(plan.blobs, 'blob')} (${formatBytes(plan.bytes)}); ` +
      `${count(plan.present.length, 'snapshot')} and ${count(plan.sharedBlobs, 'blob')} were there already`,
  );
  output.record({
    message_type: 'summary',
    dry_run: result === undefined,
    copied: result?.snapshots ?? [],
    skipped: plan.present,
    blobs: plan.blobs,
    bytes: plan.bytes,
    shared_blobs: plan.sharedBlobs,
    total_duration: seconds,
  });
}
