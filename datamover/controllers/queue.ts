/** A transfer as the queue sees it: nothing but what its object and the live agents say. */
export interface QueuedTransfer {
  /** Of the object: it breaks ties, so that everybody who computes the queue gets the same. */
  readonly uid: string;
  readonly namespace: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Repository or BackupTarget: transfers to one place share its limit. */
  readonly target: string;
  readonly state:
    | { readonly is: 'running'; readonly node: string }
    /** `nodes`: those whose agents live and reach the storage; one alone for ZFS. `restsMs`: until its next attempt may begin. */
    | { readonly is: 'waiting'; readonly nodes: readonly string[]; readonly restsMs?: number };
}

export interface QueueLimits {
  readonly cluster: number;
  readonly node: number;
  /** Of one target; `limits.transfers` of a BackupTarget goes before the general one. */
  readonly target: (target: string) => number;
}

export interface Assignment {
  readonly uid: string;
  readonly node: string;
}

/**
 * Who goes next, and where (rule K-16): as many as the limits leave room for. Namespaces take turns, the one with the least
 * running first; within one the oldest goes first. A transfer that has no room does not hold up those behind it.
 */
export function assign(transfers: readonly QueuedTransfer[], limits: QueueLimits): Assignment[] {
  const load = new Load(limits);
  for (const transfer of transfers) {
    if (transfer.state.is === 'running') load.take(transfer, transfer.state.node);
  }
  const waiting = transfers.filter(({ state }) => state.is === 'waiting' && (state.restsMs ?? 0) <= 0);
  const assignments: Assignment[] = [];
  for (;;) {
    const next = waiting
      .flatMap((transfer) => {
        const node = load.nodeFor(transfer);
        return node === undefined ? [] : [{ transfer, node }];
      })
      .sort((a, b) => load.order(a.transfer, b.transfer))
      .at(0);
    if (next === undefined) return assignments;
    const { transfer, node } = next;
    load.take(transfer, node);
    waiting.splice(waiting.indexOf(transfer), 1);
    assignments.push({ uid: transfer.uid, node });
  }
}

/** What runs where, counted. */
class Load {
  readonly #limits: QueueLimits;
  readonly #nodes = new Counts();
  readonly #targets = new Counts();
  readonly #namespaces = new Counts();
  #total = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  take({ namespace, target }: QueuedTransfer, node: string): void {
    this.#total++;
    this.#nodes.add(node);
    this.#targets.add(target);
    this.#namespaces.add(namespace);
  }

  /** The least busy node that may take it; of equal ones the first by name. */
  nodeFor({ state, target }: QueuedTransfer): string | undefined {
    const { cluster, node: perNode, target: perTarget } = this.#limits;
    if (state.is !== 'waiting' || this.#total >= cluster) return undefined;
    if (this.#targets.of(target) >= perTarget(target)) return undefined;
    return state.nodes
      .filter((node) => this.#nodes.of(node) < perNode)
      .sort((a, b) => this.#nodes.of(a) - this.#nodes.of(b) || compare(a, b))
      .at(0);
  }

  order(a: QueuedTransfer, b: QueuedTransfer): number {
    return (
      this.#namespaces.of(a.namespace) - this.#namespaces.of(b.namespace) ||
      a.createdAt - b.createdAt ||
      compare(a.uid, b.uid)
    );
  }
}

class Counts {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.of(name) + 1);
  }
}

/** By code units: the same on every machine, whatever its language. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
