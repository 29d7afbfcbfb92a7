import { shortId } from '../../repository/id.ts';
import {
  executeRepairIndex,
  planRepairIndex,
  type RepairIndexPlan,
  type RepairIndexResult,
} from '../../repository/repair-index.ts';
import type { Output } from '../output.ts';
import { Reporter } from '../progress.ts';
import { withRepository } from '../session.ts';
import { count, formatPercent } from '../units.ts';
import type { Verb } from '../verb.ts';

interface RepairArguments {
  readonly readAllPacks?: boolean;
  readonly dryRun?: boolean;
}

const EXAMPLES = `
Examples:
  datamover repair index --dry-run
  datamover repair index
  datamover repair index --read-all-packs      believe no index file

Packs say themselves what is in them, so a lost or damaged index costs only the time to read their headers. No pack is changed.`;

export const verb: Verb = {
  configure(command, run) {
    command.description('Repairs what can be rebuilt from the rest.');
    command
      .command('index')
      .description('Rebuilds the index from the packs, where it is lost, damaged or wrong.')
      .option('--read-all-packs', 'believe no index file: read the header of every pack')
      .option('-n, --dry-run', 'only show what would be done')
      .addHelpText('after', EXAMPLES)
      .action((options: RepairArguments) =>
        run(async (context) => {
          const { output, interrupt } = context;
          const dryRun = options.dryRun === true;
          interrupt.describe({
            operation: 'repair index',
            hint: 'the old index is still there: run the same command again',
          });
          await withRepository(
            context,
            { lock: dryRun ? 'read' : 'exclusive' },
            async (repository, { signal }) => {
              const reporter = new Reporter(output);
              try {
                const plan = await planRepairIndex(repository, {
                  readAllPacks: options.readAllPacks === true,
                  signal,
                });
                const result = dryRun
                  ? undefined
                  : await executeRepairIndex(repository, plan, {
                      signal,
                      onProgress: ({ done, total }) =>
                        reporter.update((seconds) => ({
                          parts: [formatPercent(done / total), `${done} of ${total} packs read`],
                          record: { done, total, seconds_elapsed: Math.round(seconds) },
                        })),
                    });
                reporter.stop();
                show(output, plan, result);
              } finally {
                reporter.stop();
              }
            },
          );
        }),
      );
  },
};

function show(output: Output, plan: RepairIndexPlan, result: RepairIndexResult | undefined): void {
  for (const { id, reason } of plan.replace) output.say(`index file ${shortId(id)}: ${reason}`);
  for (const id of plan.missing) output.note(`pack ${id} is missing: what needs it stays damaged`);
  for (const sentence of result?.unreadable ?? []) output.note(sentence);
  const replaced = count(plan.replace.length, 'index file');
  const read = count(plan.read.length, 'pack header');
  output.say(
    result === undefined
      ? `would replace ${replaced} and read ${read}`
      : `replaced ${replaced} by ${result.indexFiles.length}, read ${read}`,
    ...(plan.replace.length === 0 && plan.read.length === 0 ? ['the index was in order'] : []),
  );
  output.record({
    message_type: 'summary',
    dry_run: result === undefined,
    replaced: plan.replace,
    missing_packs: plan.missing,
    ...(result === undefined
      ? { packs_to_read: plan.read.length }
      : { index_files: result.indexFiles, packs_read: result.packsRead, unreadable: result.unreadable }),
  });
}
