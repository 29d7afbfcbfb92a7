import { formatDuration } from '../duration.ts';
import type { KeepPolicy } from '../policy.ts';

/** A policy as arguments of `restic forget`. */
export function resticFlags(policy: KeepPolicy): string[] {
  const counts = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
  const spans = [
    ['within', policy.within],
    ['within-hourly', policy.withinHourly],
    ['within-daily', policy.withinDaily],
    ['within-weekly', policy.withinWeekly],
    ['within-monthly', policy.withinMonthly],
    ['within-yearly', policy.withinYearly],
  ] as const;
  return [
    ...counts.flatMap((name) => (policy[name] === undefined ? [] : [`--keep-${name}=${policy[name]}`])),
    ...spans.flatMap(([name, span]) =>
      span === undefined ? [] : [`--keep-${name}=${formatDuration(span)}`],
    ),
    ...(policy.tags ?? []).map((list) => `--keep-tag=${list.join(',')}`),
  ];
}
