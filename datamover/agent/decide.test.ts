import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decide, type Decision, type OwnJob, type Self, type TransferView } from './decide.ts';

const SELF: Self = { node: 'a', pod: 'agent-1', drivers: ['zfs'], room: true, draining: false };
const ASSIGNED: TransferView = {
  ...{ uid: 'u', node: 'a', driver: 'zfs' },
  ...{ processing: true, attemptEnded: false, final: false, cancelled: false },
};
const CLAIMED: TransferView = { ...ASSIGNED, claimedBy: 'agent-1' };
const OWN: OwnJob = { uid: 'u', stopping: false };

describe('what an agent does', () => {
  test.each<[string, TransferView | undefined, OwnJob | undefined, Partial<Self>, Decision['do']]>([
    ['K-11: one that is assigned to its node and unclaimed is claimed', ASSIGNED, undefined, {}, 'claim'],
    ['K-11: of another node is left alone', { ...ASSIGNED, node: 'b' }, undefined, {}, 'nothing'],
    ['K-11: in the queue is left alone', { ...ASSIGNED, processing: false }, undefined, {}, 'nothing'],
    ['one that it cannot reach is left alone', { ...ASSIGNED, driver: 'rbd' }, undefined, {}, 'nothing'],
    ['there is no room for it', ASSIGNED, undefined, { room: false }, 'nothing'],
    ['an agent that drains begins nothing', ASSIGNED, undefined, { draining: true }, 'nothing'],
    ['K-30: a cancelled one is not begun', { ...ASSIGNED, cancelled: true }, undefined, {}, 'nothing'],
    ['K-14: a predecessor had it', { ...CLAIMED, claimedBy: 'agent-0' }, undefined, {}, 'adopt'],
    ['K-14: this pod had it before its container was restarted', CLAIMED, undefined, {}, 'adopt'],
    [
      'K-30: a cancelled one of a predecessor is adopted, to be told',
      { ...CLAIMED, cancelled: true },
      undefined,
      {},
      'adopt',
    ],
    [
      'K-21: an attempt that ended is the controller’s',
      { ...CLAIMED, attemptEnded: true },
      undefined,
      {},
      'nothing',
    ],
    ['its own goes on', CLAIMED, OWN, {}, 'nothing'],
    ['its own goes on while it drains', CLAIMED, OWN, { draining: true, room: false }, 'nothing'],
    ['K-30: cancelled', { ...CLAIMED, cancelled: true }, OWN, {}, 'cancel'],
    [
      'one that was told to end is not told again',
      { ...CLAIMED, cancelled: true },
      { ...OWN, stopping: true },
      {},
      'nothing',
    ],
    ['K-15: claimedBy was taken away', ASSIGNED, OWN, {}, 'abandon'],
    ['K-15: claimedBy is another’s', { ...CLAIMED, claimedBy: 'agent-2' }, OWN, {}, 'abandon'],
    ['K-15: put back into the queue', { ...CLAIMED, processing: false }, OWN, {}, 'abandon'],
    ['K-15: given to another node', { ...CLAIMED, node: 'b' }, OWN, {}, 'abandon'],
    ['its object is gone', undefined, OWN, {}, 'abandon'],
    ['its object was made anew', { ...CLAIMED, uid: 'v' }, OWN, {}, 'abandon'],
    ['a final phase', { ...CLAIMED, final: true }, OWN, {}, 'abandon'],
  ])('%s', (_, view, own, self, expected) => {
    expect(decide(view, own, { ...SELF, ...self }).do).toBe(expected);
  });

  const name = fc.constantFrom('a', 'b', 'agent-1', 'agent-2', 'zfs', 'rbd');
  const view = fc.record(
    {
      ...{ uid: fc.constantFrom('u', 'v'), node: name, driver: name, claimedBy: name },
      ...{
        processing: fc.boolean(),
        attemptEnded: fc.boolean(),
        final: fc.boolean(),
        cancelled: fc.boolean(),
      },
    },
    { requiredKeys: ['uid', 'processing', 'attemptEnded', 'final', 'cancelled'] },
  );
  const own = fc.record({ uid: fc.constantFrom('u', 'v'), stopping: fc.boolean() });
  const self = fc.record({
    ...{ node: fc.constantFrom('a', 'b'), pod: fc.constantFrom('agent-1', 'agent-2') },
    ...{ drivers: fc.subarray(['zfs', 'rbd']), room: fc.boolean(), draining: fc.boolean() },
  });

  test('it begins only what is its own to begin, and never a second time', () => {
    fc.assert(
      fc.property(
        fc.option(view, { nil: undefined }),
        fc.option(own, { nil: undefined }),
        self,
        (seen, job, me) => {
          const { do: what } = decide(seen, job, me);
          if (what !== 'claim' && what !== 'adopt') return;
          expect(job).toBeUndefined();
          expect(seen).toMatchObject({ node: me.node, processing: true, final: false });
          expect([me.room, me.draining, me.drivers.includes(seen?.driver ?? '')]).toEqual([
            true,
            false,
            true,
          ]);
          expect(what === 'claim').toBe(seen?.claimedBy === undefined);
        },
      ),
    );
  });

  test('a child runs on only while the object names this pod, this node and this attempt', () => {
    fc.assert(
      fc.property(fc.option(view, { nil: undefined }), self, (seen, me) => {
        const { do: what } = decide(seen, OWN, me);
        const ours =
          seen?.uid === OWN.uid &&
          seen.node === me.node &&
          seen.claimedBy === me.pod &&
          seen.processing &&
          !seen.final;
        expect(what).toBe(!ours ? 'abandon' : seen.cancelled ? 'cancel' : 'nothing');
      }),
    );
  });
});
