import { DatamoverError } from '../../errors.ts';
import type { CheckReport, Problem } from '../../repository/check-report.ts';
import { parseSubset, type Subset } from '../../repository/check-subset.ts';
import { checkRepository, type CheckProgress } from '../../repository/check.ts';
import { explained } from '../arguments.ts';
import type { Output } from '../output.ts';
import { Reporter, type Status } from '../progress.ts';
import { withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { count, formatBytes, formatPercent, formatSeconds } from '../units.ts';
import type { Verb } from '../verb.ts';

interface CheckArguments {
  readonly readData?: boolean;
  readonly readDataSubset?: Subset;
}

const EXAMPLES = `
Examples:
  datamover check
  datamover check --read-data
  datamover check --read-data-subset 3/12      the third of twelve parts: a whole check in twelve runs
  datamover check --read-data-subset 5%        a random twentieth

Nothing is changed. Damage is exit code 1, and every damaged thing is named; what is merely untidy (left over from a crash)
is told, and the next prune clears it away. docs/operations.md says what to do about damage.`;

export const verb: Verb = {
  configure(command, run) {
    command
      .description(
        'Looks for damage: whether every backup has all it needs, and with --read-data whether all of it is sound.',
      )
      .option('--read-data', 'read all data back and verify it')
      .option('--read-data-subset <part>', 'only a part of it: n/t, 2.5% or 500M', explained(parseSubset))
      .addHelpText('after', EXAMPLES)
      .action((options: CheckArguments) =>
        run(async (context) => {
          const { output, interrupt } = context;
          if (options.readData === true && options.readDataSubset !== undefined) {
            throw usage('check', '--read-data and --read-data-subset exclude each other');
          }
          const readData: Subset | undefined =
            options.readData === true ? { kind: 'all' } : options.readDataSubset;
          interrupt.describe({
            operation: 'check',
            hint: 'nothing was changed; nothing is known about the rest',
          });
          await withRepository(context, { lock: 'read' }, async (repository, { signal }) => {
            const reporter = new Reporter(output);
            reporter.update((seconds) => describeProgress({ step: 'trees', done: 0 }, seconds));
            try {
              const report = await checkRepository(repository, {
                signal,
                ...(readData === undefined ? {} : { readData }),
                onProblem: (problem) => showProblem(output, problem),
                onProgress: (progress) => reporter.update((seconds) => describeProgress(progress, seconds)),
              });
              reporter.stop();
              showReport(output, report, reporter.seconds);
              if (report.damageCount > 0) throw damaged(repository.store.location, report);
            } finally {
              reporter.stop();
            }
          });
        }),
      );
  },
};

function describeProgress({ step, done, total }: CheckProgress, seconds: number): Status {
  const what = step === 'trees' ? count(done, 'tree') : `${done} of ${total ?? 0} packs read`;
  return {
    parts: [
      ...(total === undefined || total === 0 ? [] : [formatPercent(done / total)]),
      step === 'trees' ? `checking the structure, ${what}` : what,
    ],
    record: {
      phase: step,
      done,
      ...(total === undefined ? {} : { total }),
      seconds_elapsed: Math.round(seconds),
    },
  };
}

function showProblem(output: Output, { severity, sentence }: Problem): void {
  if (!output.json) output.note(`${severity === 'damage' ? 'damage' : 'untidy'}: ${sentence}`);
}

function showReport(output: Output, report: CheckReport, seconds: number): void {
  const { snapshots, packs, blobs, read } = report.statistics;
  const verdict = report.damageCount > 0 ? `damage found (${report.damageCount})` : 'no damage found';
  output.say(
    `${verdict}: ${count(snapshots, 'snapshot')}, ${count(packs, 'pack')}, ${count(blobs.used, 'blob')} in use, ` +
      (read.packs === 0
        ? 'data not read'
        : `${count(read.packs, 'pack')} read back and verified (${formatBytes(read.bytes)})`) +
      `, ${formatSeconds(seconds)}`,
    ...(report.untidyCount > 0
      ? [`untidy: ${count(report.untidyCount, 'thing')}, the next prune clears up`]
      : []),
  );
  output.record({
    message_type: 'summary',
    num_errors: report.damageCount,
    num_hints: report.untidyCount,
    suggest_prune: report.untidyCount > 0,
    problems: report.problems.map(({ severity, sentence }) => ({ severity, message: sentence })),
    statistics: report.statistics,
    total_duration: seconds,
  });
}

/** restic's check ends with 1 as well when it finds damage. */
function damaged(location: string, { damageCount }: CheckReport): DatamoverError {
  return new DatamoverError({
    operation: 'check',
    subject: location,
    cause: `the repository is damaged: ${count(damageCount, 'problem')}`,
    hint: 'docs/operations.md, "check reports damage", says what to do',
  });
}
