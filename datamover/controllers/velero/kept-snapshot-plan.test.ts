import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { planSnapshots, type SnapshotView } from './kept-snapshot-plan.ts';

const at = (day: number) => ({ name: `of-day-${day}`, created: `2026-01-0${day}T00:00:00Z` });
const MOVED: SnapshotView = {
  ...{ own: at(2), isBase: true, keep: 'Last', hasClaim: true, kept: [at(1)], othersRun: false },
};

describe('the snapshots that stay on the storage', () => {
  it('are the last one that was moved: it takes the place of the one before', () => {
    expect(planSnapshots(MOVED)).toEqual({ keep: 'of-day-2', remove: ['of-day-1'] });
    expect(planSnapshots({ ...MOVED, kept: [] })).toEqual({ keep: 'of-day-2', remove: [] });
  });

  it('are none where nobody wants them or the claim is gone', () => {
    for (const view of [
      { ...MOVED, keep: 'None' },
      { ...MOVED, hasClaim: false },
    ] satisfies SnapshotView[])
      expect(planSnapshots(view)).toEqual({ keep: undefined, remove: ['of-day-2', 'of-day-1'] });
  });

  it('are not those of failures: the last good one stays', () => {
    expect(planSnapshots({ ...MOVED, isBase: false })).toEqual({ keep: undefined, remove: ['of-day-2'] });
  });

  it('are not older ones whose upload ended late', () => {
    expect(planSnapshots({ ...MOVED, kept: [at(3)] })).toEqual({ keep: undefined, remove: ['of-day-2'] });
  });

  it('are all while another transfer of the claim may read from them', () => {
    expect(planSnapshots({ ...MOVED, othersRun: true })).toEqual({ keep: 'of-day-2', remove: [] });
  });

  it('are at most one when nothing runs, and what is kept is never removed', () => {
    const day = fc.integer({ min: 1, max: 9 }).map(at);
    const views = fc.record<SnapshotView>({
      own: fc.option(day, { nil: undefined }),
      ...{ isBase: fc.boolean(), keep: fc.constantFrom('Last', 'None'), hasClaim: fc.boolean() },
      kept: fc.uniqueArray(day, { selector: ({ name }) => name }),
      othersRun: fc.boolean(),
    });
    fc.assert(
      fc.property(views, (view) => {
        const { keep, remove } = planSnapshots(view);
        expect(remove).not.toContain(keep);
        const names = new Set(
          [...view.kept, ...(view.own === undefined ? [] : [view.own])].map(({ name }) => name),
        );
        const left = [...names].filter((name) => !remove.includes(name));
        if (!view.othersRun) expect(left.length).toBeLessThanOrEqual(1);
        if (view.own !== undefined && keep === undefined) expect(left).not.toContain(view.own.name);
      }),
    );
  });
});
