import type { Command } from 'commander';
import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { describeSnapshot } from '../../catalog/volume-backup.ts';
import {
  executeForget,
  planForget,
  planForgetNamed,
  type ForgetPlan,
  type NamedSnapshot,
} from '../../repository/forget.ts';
import type { Repository } from '../../repository/repository.ts';
import { parseDuration, type Duration } from '../../retention/duration.ts';
import { DEFAULT_GROUPING, describeGroup, parseGrouping, type GroupField } from '../../retention/group.ts';
import { isEmptyPolicy, type Count, type KeepPolicy } from '../../retention/policy.ts';
import { collectTagLists, explained, parseKeep } from '../arguments.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import type { Output } from '../output.ts';
import { withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { count } from '../units.ts';
import type { Verb } from '../verb.ts';
import { addPruneOptions, pruneRepository, type PruneArguments } from './prune.ts';
import { formatBackups } from './snapshots.ts';

interface ForgetArguments extends FilterOptions, PruneArguments {
  readonly keepLast?: Count;
  readonly keepHourly?: Count;
  readonly keepDaily?: Count;
  readonly keepWeekly?: Count;
  readonly keepMonthly?: Count;
  readonly keepYearly?: Count;
  readonly keepWithin?: Duration;
  readonly keepWithinHourly?: Duration;
  readonly keepWithinDaily?: Duration;
  readonly keepWithinWeekly?: Duration;
  readonly keepWithinMonthly?: Duration;
  readonly keepWithinYearly?: Duration;
  readonly keepTag?: readonly (readonly string[])[];
  readonly groupBy?: readonly GroupField[];
  readonly prune?: boolean;
}

const EXAMPLES = `
Examples:
  datamover forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  datamover forget --keep-within 30d --keep-tag release --prune
  datamover forget --volume shop/db --keep-last 3
  datamover forget 3f2a81c0 91bc04d2

The rules are ORed: a backup stays if one of them wants it, and the reasons are shown. They decide exactly as restic's.
Each volume of each host is judged on its own (--group-by volume: whatever the host). A policy that would remove the last
backup of a volume is refused; name the backups to do that. Space is freed by prune, or at once with --prune.`;

export const verb: Verb = {
  configure(command, run) {
    addKeepOptions(command);
    addFilterOptions(command)
      .description('Removes backups: those that a policy does not keep, or those that are named.')
      .argument('[ids...]', 'remove exactly these snapshots')
      .option(
        '-g, --group-by <fields>',
        'host, volume, tags; several joined by commas (default: host,volume)',
        explained(parseGroups),
      )
      .option('--prune', 'then free the space')
      .option('-n, --dry-run', 'only show what would be done');
    addPruneOptions(command)
      .addHelpText('after', EXAMPLES)
      .action((ids: string[], options: ForgetArguments) =>
        run(async (context) => {
          const { output, interrupt } = context;
          const dryRun = options.dryRun === true;
          interrupt.describe({
            operation: 'forget',
            hint: 'what is not removed yet is whole: run the same command again',
          });
          const policy = readPolicy(options);
          if (ids.length > 0 && !isEmptyPolicy(policy)) {
            throw usage(
              'forget',
              'snapshots are named and a policy is given',
              undefined,
              'use one of the two',
            );
          }
          await withRepository(context, { lock: dryRun ? 'read' : 'sweep' }, async (repository, session) => {
            const plan = await makePlan(repository, ids, policy, options);
            show(output, plan, dryRun);
            const removed = dryRun
              ? []
              : (await executeForget(repository, plan, { signal: session.signal })).removed;
            if (!dryRun) output.say(`removed ${count(removed.length, 'snapshot')}`);
            output.record(describe(plan, removed, dryRun));
            if (options.prune === true) await pruneRepository(context, session, options);
          });
        }),
      );
  },
};

function addKeepOptions(command: Command): void {
  const counted = [
    ['-l, --keep-last <n>', 'the last n backups'],
    ['-H, --keep-hourly <n>', 'the last of each of the last n hours that have one'],
    ['-d, --keep-daily <n>', '... n days'],
    ['-w, --keep-weekly <n>', '... n weeks'],
    ['-m, --keep-monthly <n>', '... n months'],
    ['-y, --keep-yearly <n>', '... n years'],
  ] as const;
  const spans = [
    ['--keep-within <span>', 'all within this span before the latest, such as 1y5m7d2h'],
    ['--keep-within-hourly <span>', 'one an hour within this span'],
    ['--keep-within-daily <span>', 'one a day within this span'],
    ['--keep-within-weekly <span>', 'one a week within this span'],
    ['--keep-within-monthly <span>', 'one a month within this span'],
    ['--keep-within-yearly <span>', 'one a year within this span'],
  ] as const;
  command.optionsGroup('What to keep (n is a number or unlimited):');
  for (const [flags, text] of counted) command.option(flags, text, parseKeep);
  for (const [flags, text] of spans) command.option(flags, text, explained(parseDuration));
  command.option(
    '--keep-tag <tag[,tag...]>',
    'all with these tags (again for an alternative)',
    collectTagLists,
  );
  command.optionsGroup('Options:');
}

function readPolicy(options: ForgetArguments): KeepPolicy {
  const rules = {
    last: options.keepLast,
    hourly: options.keepHourly,
    daily: options.keepDaily,
    weekly: options.keepWeekly,
    monthly: options.keepMonthly,
    yearly: options.keepYearly,
    within: options.keepWithin,
    withinHourly: options.keepWithinHourly,
    withinDaily: options.keepWithinDaily,
    withinWeekly: options.keepWithinWeekly,
    withinMonthly: options.keepWithinMonthly,
    withinYearly: options.keepWithinYearly,
    tags: options.keepTag,
  };
  return Object.fromEntries(Object.entries(rules).filter(([, rule]) => rule !== undefined));
}

/** restic's names, and `volume` for the path that stands for it. */
function parseGroups(text: string): readonly GroupField[] {
  return parseGrouping(
    text
      .split(',')
      .map((word) => (word === 'volume' ? 'paths' : word))
      .join(','),
  );
}

async function makePlan(
  repository: Repository,
  ids: readonly string[],
  policy: KeepPolicy,
  options: ForgetArguments,
): Promise<ForgetPlan> {
  const filter = readFilter(options);
  if (ids.length > 0) {
    const backups = await listBackups(repository);
    return planForgetNamed(
      repository,
      ids.map((id) => resolveBackup(backups, id, filter).id),
    );
  }
  return planForget(repository, {
    policy,
    groupBy: options.groupBy ?? DEFAULT_GROUPING,
    filter: {
      ...(filter.hosts === undefined ? {} : { hosts: filter.hosts }),
      ...(filter.tagLists === undefined ? {} : { tags: filter.tagLists }),
      ...(filter.volume === undefined ? {} : { paths: [`/${filter.volume}`] }),
    },
  });
}

function show(output: Output, plan: ForgetPlan, dryRun: boolean): void {
  const backup = (snapshot: NamedSnapshot) => describeSnapshot(snapshot.id, snapshot);
  const wouldRemove = dryRun ? 'would remove' : 'remove';
  for (const { key, keep, remove } of plan.groups) {
    output.say(`${describeGroup(key)}:`);
    const reasons = new Map(keep.map((kept) => [kept.snapshot.id, kept.reasons.join(', ')]));
    output.say(`keep ${count(keep.length, 'snapshot')}`);
    output.say(
      ...formatBackups(
        keep.map((kept) => backup(kept.snapshot)),
        { heading: 'Reasons', cell: ({ id }) => reasons.get(id) ?? '' },
      ).map(indent),
    );
    if (remove.length > 0) {
      output.say(
        `${wouldRemove} ${count(remove.length, 'snapshot')}`,
        ...formatBackups(remove.map(backup)).map(indent),
      );
    }
    output.say('');
  }
  if (plan.named.length > 0) {
    output.say(
      `${wouldRemove} ${count(plan.named.length, 'snapshot')}`,
      ...formatBackups(plan.named.map(backup)).map(indent),
    );
  }
}

function indent(line: string): string {
  return `  ${line}`;
}

function describe(plan: ForgetPlan, removed: readonly string[], dryRun: boolean): Record<string, unknown> {
  return {
    message_type: 'summary',
    dry_run: dryRun,
    groups: plan.groups.map(({ key, keep, remove }) => ({
      host: key.host,
      paths: key.paths,
      tags: key.tags,
      keep: keep.map(({ snapshot }) => snapshot.id),
      remove: remove.map(({ id }) => id),
      reasons: keep.map(({ snapshot, reasons }) => ({ id: snapshot.id, matches: reasons })),
    })),
    named: plan.named.map(({ id }) => id),
    removed,
  };
}
