import type { Informer } from './informer.ts';
import type { KubernetesObject } from './object.ts';
import type { WorkQueue } from './workqueue.ts';

export type Watching = Pick<Informer<KubernetesObject>, 'stillForMs' | 'silentForMs'>;

export interface VitalParts {
  /** By the kind that they follow. */
  readonly informers: ReadonlyMap<string, Watching>;
  readonly queues: readonly Pick<WorkQueue, 'longest'>[];
}

/** A watch lasts eight minutes at most, and its silence two and a half: who has not begun another one by then never will. */
export const INFORMER_DEAD_MS = 20 * 60_000;
/** No step of a reconciler takes that long: its requests and its children have limits in time. */
export const WORK_STUCK_MS = 30 * 60_000;
/** The server sends a bookmark about every minute, and a watch without any is begun anew after two and a half. */
export const SILENCE_MS = 5 * 60_000;

/** Why this process will not get on by itself, so that the kubelet starts it anew; a server that is away is no such reason. */
export function whyDead({ informers, queues }: VitalParts): string | undefined {
  for (const [kind, { stillForMs }] of informers) {
    if (stillForMs >= INFORMER_DEAD_MS) return `nobody follows ${kind} any more, for ${minutes(stillForMs)}`;
  }
  for (const { longest } of queues) {
    if (longest !== undefined && longest.forMs >= WORK_STUCK_MS)
      return `the work on ${longest.key} has not come back for ${minutes(longest.forMs)}`;
  }
  return undefined;
}

/** Why this process does not know how things are. */
export function whyBlind({ informers }: Pick<VitalParts, 'informers'>): string | undefined {
  for (const [kind, { silentForMs }] of informers) {
    if (silentForMs >= SILENCE_MS)
      return `the API server has said nothing of ${kind} for ${minutes(silentForMs)}`;
  }
  return undefined;
}

function minutes(milliseconds: number): string {
  return `${Math.floor(milliseconds / 60_000)} min`;
}
