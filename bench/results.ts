import { cpu, median, type Sample } from './measure.ts';

/** The factor by which ours must be better, from the project's goals; sizes must not exceed `size` times the peer's. */
export interface Targets {
  /** Bytes per CPU-second. */
  readonly cpu?: number;
  /** Bytes per second. */
  readonly wall?: number;
  readonly size?: number;
  /** MiB of ours at its peak. */
  readonly rss?: number;
}

/** The same job done by both, in alternating rounds. */
export interface Comparison {
  readonly kind: 'comparison';
  readonly name: string;
  /** Bytes of the volume. */
  readonly bytes: number;
  readonly ours: readonly Sample[];
  readonly restic: readonly Sample[];
  /** Bytes of the repositories afterwards. */
  readonly size?: { readonly ours: number; readonly restic: number };
  readonly targets: Targets;
}

/** Something counted once, with the bound that it must keep where there is one. */
export interface Fact {
  readonly kind: 'fact';
  readonly name: string;
  readonly ours: string;
  readonly restic?: string;
  readonly bound?: string;
  readonly kept?: boolean;
}

export type Result = Comparison | Fact;

export interface Ratios {
  readonly cpu: number;
  readonly wall: number;
  readonly size: number | undefined;
}

/** The median over the rounds of how much better ours was, each round against its neighbour in time: load drifts. */
export function ratios({ ours, restic, size }: Comparison): Ratios {
  const ratio = (of: (sample: Sample) => number): number =>
    median(ours.flatMap((own, round) => pair(own, restic[round], of)));
  return {
    cpu: ratio(cpu),
    wall: ratio((sample) => sample.wall),
    size: size && size.ours / size.restic,
  };
}

function pair(own: Sample, peer: Sample | undefined, of: (sample: Sample) => number): number[] {
  return peer === undefined ? [] : [of(peer) / of(own)];
}

export function peakRss(samples: readonly Sample[]): number {
  return median(samples.map((sample) => sample.rss));
}

/** Which targets were missed, in words; empty when all were met. */
export function missed(result: Result): string[] {
  if (result.kind === 'fact')
    return result.kept === false ? [`${result.ours}, not ${result.bound ?? ''}`] : [];
  const { targets } = result;
  const found = ratios(result);
  const rss = peakRss(result.ours);
  return [
    ...(targets.cpu !== undefined && found.cpu < targets.cpu
      ? [`CPU ${found.cpu.toFixed(2)} < ${targets.cpu}`]
      : []),
    ...(targets.wall !== undefined && found.wall < targets.wall
      ? [`wall ${found.wall.toFixed(2)} < ${targets.wall}`]
      : []),
    ...(targets.size !== undefined && found.size !== undefined && found.size > targets.size
      ? [`size ${found.size.toFixed(3)} > ${targets.size}`]
      : []),
    ...(targets.rss !== undefined && rss > targets.rss ? [`RSS ${rss.toFixed(0)} > ${targets.rss} MiB`] : []),
  ];
}
