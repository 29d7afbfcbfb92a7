import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { Scratch } from '../repository/testing/maintenance.ts';
import { Restic } from '../repository/testing/restic.ts';
import { initSmall, openSmall } from '../repository/testing/small-repository.ts';
import { LocalStore } from '../store/local/store.ts';
import { DEFAULT_GROUPING, groupSnapshots, parseGrouping, type GroupField } from './group.ts';
import { momentOf, parseMoment } from './moment.ts';
import { applyPolicy, isEmptyPolicy, type KeepPolicy } from './policy.ts';
import { GOLDEN, SNAPSHOTS } from './testing/golden.ts';
import { resticFlags } from './testing/restic-flags.ts';
import { berlin } from './testing/zone.ts';

interface Made {
  readonly id: string;
  readonly time: string;
  readonly hostname: string;
  readonly paths: readonly string[];
  readonly tags?: readonly string[];
}

/** What both say: for each group the kept snapshots with their reasons and the removed ones. */
type Verdict = readonly {
  readonly keep: Record<string, readonly string[]>;
  readonly remove: readonly string[];
}[];

interface ResticGroup {
  readonly keep: readonly { readonly id: string }[] | null;
  readonly remove: readonly { readonly id: string }[] | null;
  readonly reasons: readonly { readonly matches: readonly string[] }[] | null;
}

async function make(path: string, snapshots: readonly Omit<Made, 'id'>[]): Promise<Made[]> {
  const repository = await openSmall(await initSmall(new LocalStore(path)));
  await repository.loadIndex();
  const tree = '0'.repeat(64);
  const made: Made[] = [];
  for (const snapshot of snapshots)
    made.push({ ...snapshot, id: await repository.saveSnapshot({ ...snapshot, tree }) });
  await repository.close();
  return made;
}

async function askRestic(restic: Restic, args: readonly string[]): Promise<Verdict> {
  const stdout = await restic.ok(['forget', '--dry-run', '--json', ...args], {
    env: { TZ: 'Europe/Berlin' },
  });
  const groups = JSON.parse(stdout) as readonly ResticGroup[];
  return sorted(
    groups.map(({ keep, remove, reasons }) => ({
      keep: Object.fromEntries((keep ?? []).map(({ id }, i) => [id, reasons?.[i]?.matches ?? []])),
      remove: (remove ?? []).map(({ id }) => id).sort(),
    })),
  );
}

function askUs(snapshots: readonly Made[], policy: KeepPolicy, groupBy: readonly GroupField[]): Verdict {
  return sorted(
    groupSnapshots(snapshots, groupBy).map(({ members }) => {
      const { keep, remove } = applyPolicy(members, policy, { now: momentOf(new Date()), zone: berlin });
      return {
        keep: Object.fromEntries(keep.map(({ snapshot, reasons }) => [snapshot.id, reasons])),
        remove: remove.map(({ id }) => id).sort(),
      };
    }),
  );
}

function sorted(verdict: Verdict): Verdict {
  return [...verdict].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** Restic before 0.17 has no "oldest" and spells "unlimited" otherwise. */
function oldResticKnows(policy: KeepPolicy, verdict: Verdict): boolean {
  const isPlain = Object.values(policy).every((rule) => rule !== 'unlimited');
  return isPlain && !/oldest|-1/.test(JSON.stringify([Object.values(verdict).map((group) => group.keep)]));
}

describePeers(['restic-current', 'restic-debian'], 'retention as restic decides', (current, debian) => {
  let scratch: Scratch;
  let golden: readonly Made[];
  let random: readonly Made[];

  beforeAll(async () => {
    scratch = await Scratch.create('retention');
    golden = await make(
      scratch.join('golden'),
      SNAPSHOTS.map((snapshot) => ({ ...snapshot, hostname: 'h', paths: ['/p'] })),
    );
    random = await make(scratch.join('random'), drawSnapshots(fc.sample(anySnapshot, 80)));
  });
  afterAll(() => scratch.remove());

  test.each(Object.entries(GOLDEN))('golden: %s', async (_name, { policy, kept }) => {
    const verdict = askUs(golden, policy, []);
    const times = new Map(golden.map(({ id, time }) => [id, time]));
    const ours = Object.entries(verdict[0]?.keep ?? {}).map(([id, reasons]) => [times.get(id), reasons]);
    expect(Object.fromEntries(ours)).toEqual(kept);
    const args = ['--group-by', '', ...resticFlags(policy)];
    expect(await askRestic(new Restic(current, scratch.join('golden')), args)).toEqual(verdict);
    if (oldResticKnows(policy, verdict)) {
      expect(await askRestic(new Restic(debian, scratch.join('golden')), args)).toEqual(verdict);
    }
  });

  test('random policies on random snapshots', async () => {
    const restic = new Restic(current, scratch.join('random'));
    const property = fc.asyncProperty(anyPolicy, async (policy) => {
      fc.pre(!isEmptyPolicy(policy));
      const verdict = askUs(random, policy, DEFAULT_GROUPING);
      // Restic refuses to empty a group, and so does planForget.
      fc.pre(verdict.every(({ keep }) => Object.keys(keep).length > 0));
      expect(await askRestic(restic, resticFlags(policy))).toEqual(verdict);
    });
    await fc.assert(property, { numRuns: 20 });
  }, 180_000);

  test.each(['host,paths', 'host', 'paths', 'tags', 'host,paths,tags', ''])('groups by "%s"', async (by) => {
    const restic = new Restic(current, scratch.join('random'));
    const verdict = askUs(random, { last: 1 }, parseGrouping(by));
    expect(verdict.length).toBeGreaterThan(by === '' ? 0 : 1);
    expect(await askRestic(restic, ['--keep-last', '1', '--group-by', by])).toEqual(verdict);
  });
});

const anySnapshot = fc.record({
  // Close together and far apart, around changes of the clock and of the year.
  around: fc.constantFrom(
    '2020-12-31T23:30:00Z',
    '2024-03-31T01:00:00Z',
    '2024-10-27T01:00:00Z',
    '2025-01-01T00:00:00Z',
  ),
  minutes: fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -400_000, max: 400_000 })),
  nanos: fc.nat(999_999_999),
  zone: fc.constantFrom('berlin', 'Z', '+14:00', '-11:30'),
  host: fc.constantFrom('a', 'b'),
  paths: fc.constantFrom(['/x'], ['/x', '/y'], ['/y', '/x']),
  tags: fc.subarray(['red', 'green']),
});

function drawSnapshots(
  draws: readonly (typeof anySnapshot extends fc.Arbitrary<infer T> ? T : never)[],
): Omit<Made, 'id'>[] {
  return draws.map(({ around, minutes, nanos, zone, host, paths, tags }) => {
    const seconds = Date.parse(around) / 1000 + 60 * minutes;
    const offset = zone === 'berlin' ? berlin(seconds) : parseMoment(`2000-01-01T00:00:00${zone}`).offset;
    const wall = new Date((seconds + offset) * 1000).toISOString().slice(0, 19);
    const time = `${wall}.${String(nanos).padStart(9, '0')}${spell(offset)}`;
    return { time, hostname: host, paths, ...(tags.length > 0 && { tags }) };
  });
}

function spell(offset: number): string {
  if (offset === 0) return 'Z';
  const minutes = Math.abs(offset) / 60;
  const two = (number: number): string => String(Math.floor(number)).padStart(2, '0');
  return `${offset < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

const anyCount = fc.option(fc.oneof(fc.nat(12), fc.constant<'unlimited'>('unlimited')), {
  nil: undefined,
  freq: 1,
});
const anySpan = fc.option(
  fc.record({ years: fc.nat(3), months: fc.nat(14), days: fc.nat(40), hours: fc.nat(60) }),
  { nil: undefined, freq: 2 },
);

const anyPolicy: fc.Arbitrary<KeepPolicy> = fc
  .record({
    last: anyCount,
    hourly: anyCount,
    daily: anyCount,
    weekly: anyCount,
    monthly: anyCount,
    yearly: anyCount,
    within: anySpan,
    withinHourly: anySpan,
    withinDaily: anySpan,
    withinWeekly: anySpan,
    withinMonthly: anySpan,
    withinYearly: anySpan,
    tags: fc.option(fc.constantFrom([['red']], [['red', 'green'], ['']]), { nil: undefined, freq: 2 }),
  })
  .map((policy) => Object.fromEntries(Object.entries(policy).filter(([, rule]) => rule !== undefined)));
