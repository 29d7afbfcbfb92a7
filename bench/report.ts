import { readFile, writeFile } from 'node:fs/promises';
import type { Machine } from './machine.ts';
import { cpu, median, type Sample } from './measure.ts';
import { missed, peakRss, ratios, type Comparison, type Fact, type Result, type Targets } from './results.ts';

const GIBIBYTE = 2 ** 30;
const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

export interface Report {
  readonly machine: Machine;
  readonly rounds: number;
  readonly results: readonly Result[];
}

/** Two tables, of comparisons and of counted facts, and the machine they come from. */
export function formatReport({ machine, rounds, results }: Report): string {
  const comparisons = results.filter((result) => result.kind === 'comparison');
  const facts = results.filter((result) => result.kind === 'fact');
  return [
    `${machine.date}, ${machine.processor}, ${machine.cores} cores, ${machine.memory} GiB, ${machine.system}; ` +
      `load ${machine.loadBefore} before, ${machine.loadAfter} after; ${machine.versions.join(', ')}; ` +
      `medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}.`,
    ...(comparisons.length === 0 ? [] : ['', ...comparisonTable(comparisons)]),
    ...(facts.length === 0 ? [] : ['', ...factTable(facts)]),
  ].join('\n');
}

function comparisonTable(comparisons: readonly Comparison[]): string[] {
  const heading = [
    ...['', 'CPU s/GiB', 'restic', 'MiB/s', 'restic', 'peak MiB', 'restic'],
    ...['bytes per CPU-s', 'speed', 'repository', 'goal'],
  ];
  return table(
    heading,
    comparisons.map((comparison) => {
      const { name, ours, restic, bytes, targets } = comparison;
      const { cpu: cpuRatio, wall, size } = ratios(comparison);
      const misses = missed(comparison);
      return [
        ...[name, cost(ours, bytes), cost(restic, bytes), speed(ours, bytes), speed(restic, bytes)],
        ...[peakRss(ours).toFixed(0), peakRss(restic).toFixed(0)],
        ...[`**${cpuRatio.toFixed(2)}x**`, `${wall.toFixed(2)}x`, size === undefined ? '' : size.toFixed(3)],
        `${describeTargets(targets)}${misses.length === 0 ? '' : ` - missed: ${misses.join(', ')}`}`,
      ];
    }),
  );
}

function factTable(facts: readonly Fact[]): string[] {
  return table(
    ['', 'datamover', 'restic', 'goal'],
    facts.map(({ name, ours, restic, bound, kept }) => [
      ...[name, ours, restic ?? ''],
      `${bound ?? ''}${kept === false ? ' - missed' : ''}`,
    ]),
  );
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = heading.map((title, i) =>
    Math.max(3, title.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(heading), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}

function cost(samples: readonly Sample[], bytes: number): string {
  const per = (of: (sample: Sample) => number): number => (median(samples.map(of)) / bytes) * GIBIBYTE;
  return `${per(cpu).toFixed(2)} (${per((sample) => sample.sys).toFixed(2)} sys)`;
}

function speed(samples: readonly Sample[], bytes: number): string {
  return (bytes / 2 ** 20 / median(samples.map((sample) => sample.wall))).toFixed(0);
}

function describeTargets({ cpu: cpuTarget, wall, size, rss }: Targets): string {
  return [
    ...(cpuTarget === undefined ? [] : [`CPU ${cpuTarget}x`]),
    ...(wall === undefined ? [] : [`speed ${wall}x`]),
    ...(size === undefined ? [] : [`size ${size}`]),
    ...(rss === undefined ? [] : [`${rss} MiB`]),
  ].join(', ');
}

/** Puts the text between the markers of a document. */
export async function insertReport(document: string, text: string): Promise<void> {
  const old = await readFile(document, 'utf8');
  const begin = old.indexOf(BEGIN);
  const end = old.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${document} has no ${BEGIN} and ${END}`);
  await writeFile(document, `${old.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${old.slice(end)}`);
}
