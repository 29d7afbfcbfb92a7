import { formatDuration, isZero, type Duration } from './duration.ts';
import {
  compareMoments,
  isoWeek,
  parseMoment,
  subtract,
  wallClock,
  type Moment,
  type Zone,
} from './moment.ts';

/** How many: a count, or as many as there are. 0 and absent mean that the rule says nothing. */
export type Count = number | 'unlimited';

/**
 * What to keep, in restic's terms. The rules are ORed: a snapshot stays if one of them wants it. A policy without any rule keeps
 * nothing, so callers ask isEmptyPolicy first.
 */
export interface KeepPolicy {
  readonly last?: Count;
  readonly hourly?: Count;
  readonly daily?: Count;
  readonly weekly?: Count;
  readonly monthly?: Count;
  readonly yearly?: Count;
  /** Everything younger than this, reckoned from the latest snapshot that is not in the future. */
  readonly within?: Duration;
  readonly withinHourly?: Duration;
  readonly withinDaily?: Duration;
  readonly withinWeekly?: Duration;
  readonly withinMonthly?: Duration;
  readonly withinYearly?: Duration;
  /** Lists of tags: a snapshot stays if it has all tags of one list. The list [''] means "has no tags". */
  readonly tags?: readonly (readonly string[])[];
}

export interface Dated {
  readonly id: string;
  /** RFC 3339 with the offset of the place where the snapshot was made. */
  readonly time: string;
  readonly tags?: readonly string[];
  readonly summary?: { readonly backup_end?: string } | undefined;
}

export interface Kept<T> {
  readonly snapshot: T;
  /** Every rule that wants it, in restic's words: `daily snapshot`, `within 7d`, `has tags [a, b]`. */
  readonly reasons: readonly string[];
}

export interface PolicyResult<T> {
  /** Newest first. */
  readonly keep: readonly Kept<T>[];
  /** Newest first. */
  readonly remove: readonly T[];
}

export interface PolicyOptions {
  /** The present: snapshots dated later do not serve as "the latest" for the within rules. */
  readonly now: Moment;
  /**
   * Whose calendar "one month ago" follows. Snapshots whose offset is not the one of this zone at their time are reckoned with the
   * fixed offset they carry. Without it all are.
   */
  readonly zone?: Zone;
}

type Bucketing = (moment: Moment, position: number) => number;

/** Same number, same bucket. */
const buckets = {
  each: (_moment, position) => position,
  hour: (moment) => {
    const { year, month, day, hour } = wallClock(moment);
    return year * 1_000_000 + month * 10_000 + day * 100 + hour;
  },
  day: (moment) => {
    const { year, month, day } = wallClock(moment);
    return year * 10_000 + month * 100 + day;
  },
  week: (moment) => {
    const { year, week } = isoWeek(moment);
    return year * 100 + week;
  },
  month: (moment) => {
    const { year, month } = wallClock(moment);
    return year * 100 + month;
  },
  year: (moment) => wallClock(moment).year,
} satisfies Record<string, Bucketing>;

interface Rule {
  readonly reason: string;
  readonly bucket: Bucketing;
  last: number | undefined;
  left: number;
}

interface WithinRule {
  readonly reason: string;
  readonly bucket: Bucketing;
  /** Only snapshots younger than this; undefined where there is no snapshot to reckon from, and then every one counts. */
  readonly after: Moment | undefined;
  last: number | undefined;
}

/** Whether no rule would keep anything. */
export function isEmptyPolicy(policy: KeepPolicy): boolean {
  return countedRules(policy).length === 0 && !policy.tags?.length && withinSpans(policy).length === 0;
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Decides what restic decides (0.17 and later) for one group of snapshots. The work is one sort and one pass. Snapshots with an
 * unreadable time make it throw RangeError: nothing is deleted on a guess.
 */
export function applyPolicy<T extends Dated>(
  snapshots: Iterable<T>,
  policy: KeepPolicy,
  options: PolicyOptions,
): PolicyResult<T> {
  const dated = [...snapshots].map((snapshot) => ({ snapshot, moment: parseMoment(snapshot.time) }));
  // Of one time the one that was made last is the newest: one that was merged out of another has its time (F-59). Then ties go by id,
  // so that the same snapshots give the same answer whatever order the store lists them in.
  const endOf = ({ summary, time }: T): string => summary?.backup_end ?? time;
  dated.sort(
    (a, b) =>
      compareMoments(b.moment, a.moment) ||
      compareTexts(endOf(b.snapshot), endOf(a.snapshot)) ||
      compareTexts(a.snapshot.id, b.snapshot.id),
  );

  const counted = countedRules(policy);
  const latest = dated.find(({ moment }) => compareMoments(moment, options.now) < 0)?.moment;
  const timed = withinSpans(policy).map(([word, bucket, span]): WithinRule => ({
    reason: `${word}within ${formatDuration(span)}`,
    bucket,
    after: latest && subtract(latest, span, zoneOf(latest, options.zone)),
    last: undefined,
  }));

  const keep: Kept<T>[] = [];
  const remove: T[] = [];
  for (const [position, { snapshot, moment }] of dated.entries()) {
    const oldest = position === dated.length - 1;
    const reasons = [
      ...tagReasons(snapshot, policy),
      ...timed.filter(isPlain).flatMap((rule) => withinReasons(rule, moment, position, oldest)),
      ...counted.flatMap((rule) => countedReasons(rule, moment, position, oldest)),
      ...timed
        .filter((rule) => !isPlain(rule))
        .flatMap((rule) => withinReasons(rule, moment, position, oldest)),
    ];
    if (reasons.length > 0) keep.push({ snapshot, reasons });
    else remove.push(snapshot);
  }
  return { keep, remove };
}

function countedRules(policy: KeepPolicy): Rule[] {
  const rules: readonly (readonly [string, Bucketing, Count | undefined])[] = [
    ['last snapshot', buckets.each, policy.last],
    ['hourly snapshot', buckets.hour, policy.hourly],
    ['daily snapshot', buckets.day, policy.daily],
    ['weekly snapshot', buckets.week, policy.weekly],
    ['monthly snapshot', buckets.month, policy.monthly],
    ['yearly snapshot', buckets.year, policy.yearly],
  ];
  return rules
    .map(([reason, bucket, count = 0]) => {
      if (typeof count === 'number' && !(Number.isInteger(count) && count >= 0)) {
        throw new RangeError(`cannot keep ${count} (${reason}): give a count, or "unlimited" for all`);
      }
      return { reason, bucket, last: undefined, left: count === 'unlimited' ? Infinity : count };
    })
    .filter((rule) => rule.left > 0);
}

/** A bucket's newest snapshot stays; while the count is not used up, the oldest snapshot of all stays too, to reach back furthest. */
function countedReasons(rule: Rule, moment: Moment, position: number, oldest: boolean): string[] {
  if (rule.left <= 0) return [];
  const bucket = rule.bucket(moment, position);
  if (bucket === rule.last) {
    if (!oldest) return [];
    rule.left -= 1;
    return [`oldest ${rule.reason}`];
  }
  rule.last = bucket;
  rule.left -= 1;
  return [rule.reason];
}

function withinSpans(policy: KeepPolicy): (readonly [string, Bucketing, Duration])[] {
  const all: readonly (readonly [string, Bucketing, Duration | undefined])[] = [
    ['', buckets.each, policy.within],
    ['hourly ', buckets.hour, policy.withinHourly],
    ['daily ', buckets.day, policy.withinDaily],
    ['weekly ', buckets.week, policy.withinWeekly],
    ['monthly ', buckets.month, policy.withinMonthly],
    ['yearly ', buckets.year, policy.withinYearly],
  ];
  return all.flatMap(([word, bucket, span]) => {
    if (span === undefined || isZero(span)) return [];
    if (Object.values(span).some((part: number) => part < 0)) {
      throw new RangeError(`cannot keep what is ${word}within ${formatDuration(span)}: the time is negative`);
    }
    return [[word, bucket, span] as const];
  });
}

/** `within` without buckets: restic names it before the counted rules. */
function isPlain(rule: WithinRule): boolean {
  return rule.bucket === buckets.each;
}

/** The newest of each bucket that is young enough stays, and the oldest snapshot of all if it is young enough. */
function withinReasons(rule: WithinRule, moment: Moment, position: number, oldest: boolean): string[] {
  if (rule.after !== undefined && compareMoments(moment, rule.after) <= 0) return [];
  const bucket = rule.bucket(moment, position);
  if (bucket === rule.last) return oldest ? [`oldest ${rule.reason}`] : [];
  rule.last = bucket;
  return [rule.reason];
}

function tagReasons(snapshot: Dated, policy: KeepPolicy): string[] {
  const has = snapshot.tags ?? [];
  return (policy.tags ?? [])
    .filter((list) => list.every((tag) => has.includes(tag) || (tag === '' && has.length === 0)))
    .map((list) => `has tags [${list.join(', ')}]`);
}

function zoneOf(moment: Moment, zone: Zone | undefined): Zone {
  return zone?.(moment.seconds) === moment.offset ? zone : () => moment.offset;
}
