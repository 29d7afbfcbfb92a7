/**
 * `run.ts [options]`: speed and memory beside restic, job by job in alternating rounds. See --help and docs/performance.md. A
 * missed goal is reported and is no failure: a busy machine is none of the program's faults.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratchDirectory, sweep } from '../e2e/servers/scratch.ts';
import { Bench } from './bench.ts';
import { benchIndex } from './big-index.ts';
import { benchStorage } from './changed.ts';
import { benchFullZvol } from './full.ts';
import { benchLocal } from './local.ts';
import { describeMachine, load } from './machine.ts';
import { benchMinio } from './minio.ts';
import { formatReport, insertReport } from './report.ts';
import { benchParser } from './parser.ts';
import { benchRequests } from './requests.ts';
import { readSettings, type Settings } from './settings.ts';
import { benchSparse } from './sparse.ts';

async function main(settings: Settings): Promise<void> {
  sweep();
  const loadBefore = load();
  const scratch =
    settings.scratch === undefined
      ? await scratchDirectory('bench')
      : await mkdtemp(join(settings.scratch, 'bench-'));
  const bench = new Bench(settings, scratch);
  let text = '';
  try {
    await benchLocal(bench, 'random');
    await benchLocal(bench, 'mixed');
    if (bench.wants('minio')) await benchMinio(bench, false);
    if (bench.wants('tls')) await benchMinio(bench, true);
    await benchRequests(bench);
    benchParser(bench);
    await benchFullZvol(bench);
    await benchStorage(bench, 'rbd');
    await benchStorage(bench, 'zfs');
    await bench.remove(...bench.volumes());
    await benchSparse(bench);
    await benchIndex(bench);
  } finally {
    await rm(scratch, { recursive: true, force: true });
    // Also after a failure: what was measured until then counts.
    if (bench.results.length > 0) text = await publish(bench, loadBefore);
  }
  if (settings.document !== undefined) await insertReport(settings.document, text);
}

async function publish({ settings, results }: Bench, loadBefore: string): Promise<string> {
  const report = { machine: describeMachine(new Date(), loadBefore), rounds: settings.rounds, results };
  const text = formatReport(report);
  console.log(text);
  if (settings.json !== undefined) {
    await writeFile(settings.json, `${JSON.stringify({ ...report, settings }, null, 2)}\n`);
  }
  return text;
}

const settings = readSettings(process.argv.slice(2));
if (settings !== undefined) await main(settings);
