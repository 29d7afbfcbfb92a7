import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { assign, type QueuedTransfer, type QueueLimits } from './queue.ts';

const ROOMY: QueueLimits = { cluster: 100, node: 100, target: () => 100 };

function waiting(uid: string, more: Partial<QueuedTransfer> = {}): QueuedTransfer {
  return {
    ...{ uid, namespace: 'shop', createdAt: 0, target: 's3' },
    state: { is: 'waiting', nodes: ['node-1'] },
    ...more,
  };
}

function running(uid: string, node: string, more: Partial<QueuedTransfer> = {}): QueuedTransfer {
  return waiting(uid, { state: { is: 'running', node }, ...more });
}

const order = (transfers: readonly QueuedTransfer[], limits = ROOMY): string[] =>
  assign(transfers, limits).map(({ uid }) => uid);

describe('K-16 the queue', () => {
  it('takes the oldest first, and of equally old ones always the same', () => {
    const transfers = [
      waiting('c', { createdAt: 2 }),
      waiting('b', { createdAt: 1 }),
      waiting('a', { createdAt: 1 }),
    ];
    expect(order(transfers)).toEqual(['a', 'b', 'c']);
    expect(order(transfers.toReversed())).toEqual(['a', 'b', 'c']);
  });

  it('lets namespaces take turns: fifty of one do not hold up one of another', () => {
    const many = Array.from({ length: 50 }, (_, i) => waiting(`many-${i}`, { createdAt: i }));
    const one = waiting('one', { namespace: 'blog', createdAt: 1000 });
    expect(order([...many, one]).indexOf('one')).toBe(1);
    const busy = [running('r1', 'node-2'), running('r2', 'node-2')];
    expect(order([...many, one, ...busy]).indexOf('one')).toBe(0);
  });

  it('goes to the least busy of the nodes that reach the storage', () => {
    const anywhere = { is: 'waiting', nodes: ['node-1', 'node-2', 'node-3'] } as const;
    const transfers = [
      running('r1', 'node-1'),
      running('r2', 'node-2'),
      waiting('a', { state: anywhere, createdAt: 1 }),
      waiting('b', { state: anywhere, createdAt: 2 }),
    ];
    expect(assign(transfers, ROOMY)).toEqual([
      { uid: 'a', node: 'node-3' },
      { uid: 'b', node: 'node-1' },
    ]);
  });

  it('is not held up by one that has no room', () => {
    const transfers = [
      running('r', 'node-1'),
      waiting('stuck', { createdAt: 1 }),
      waiting('homeless', { createdAt: 2, state: { is: 'waiting', nodes: [] } }),
      waiting('free', { createdAt: 3, state: { is: 'waiting', nodes: ['node-2'] } }),
    ];
    expect(order(transfers, { ...ROOMY, node: 1 })).toEqual(['free']);
  });

  it('waits for the next attempt', () => {
    const resting = (restsMs: number): QueuedTransfer =>
      waiting('a', { state: { is: 'waiting', nodes: ['node-1'], restsMs } });
    expect(order([resting(1)])).toEqual([]);
    expect(order([resting(0)])).toEqual(['a']);
  });

  const transfers = fc.uniqueArray(
    fc.record({
      uid: fc.string({ minLength: 1, maxLength: 8 }),
      namespace: fc.constantFrom('a', 'b', 'c'),
      createdAt: fc.nat(20),
      target: fc.constantFrom('s3', 'minio'),
      state: fc.oneof(
        fc.record({ is: fc.constant('running' as const), node: fc.constantFrom('n1', 'n2') }),
        fc.record({
          is: fc.constant('waiting' as const),
          nodes: fc.subarray(['n1', 'n2', 'n3']),
          restsMs: fc.integer({ min: -10, max: 10 }),
        }),
      ),
    }),
    { selector: ({ uid }) => uid, maxLength: 40 },
  );

  it('keeps every limit, gives nothing twice, and leaves no room unused', () => {
    fc.assert(
      fc.property(transfers, fc.nat(8), fc.nat(4), fc.nat(6), (all, cluster, node, target) => {
        const limits: QueueLimits = { cluster, node, target: (name) => (name === 's3' ? target : 2) };
        const given = assign(all, limits);
        const nodeOf = new Map(given.map((one) => [one.uid, one.node]));
        expect(nodeOf.size).toBe(given.length);
        const after = all.map((transfer) => {
          const gets = nodeOf.get(transfer.uid);
          if (gets === undefined) return transfer;
          const { state } = transfer;
          expect(state.is === 'waiting' && state.nodes.includes(gets) && state.restsMs <= 0).toBe(true);
          return { ...transfer, state: { is: 'running' as const, node: gets } };
        });
        const count = (
          list: readonly QueuedTransfer[],
          matches: (transfer: QueuedTransfer, at: string) => boolean,
        ): number => list.filter((one) => one.state.is === 'running' && matches(one, one.state.node)).length;
        // What runs already may be beyond a limit that was lowered; then nothing is added.
        const within = (matches: (transfer: QueuedTransfer, at: string) => boolean, limit: number): void =>
          expect(count(after, matches)).toBeLessThanOrEqual(Math.max(limit, count(all, matches)));
        within(() => true, cluster);
        for (const name of ['n1', 'n2', 'n3']) within((_, at) => at === name, node);
        for (const name of ['s3', 'minio']) within((one) => one.target === name, limits.target(name));
        expect(assign(after, limits)).toEqual([]);
      }),
    );
  });
});
