import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { REASONS, type Reason } from '../../api/names.ts';

/** Every metric of this software; docs/operations.md says what to look at. Names and labels are a promise to dashboards. */

export type Operation = 'backup' | 'restore';
export type Outcome = 'completed' | 'failed' | 'canceled';

/** What a transfer moved. `uploaded` and `downloaded` are as stored: compressed and encrypted. */
export type ByteKind = 'read' | 'changed' | 'uploaded' | 'deduplicated' | 'written' | 'zeros' | 'downloaded';

export interface EndedAttempt {
  readonly operation: Operation;
  readonly driver: string;
  readonly outcome: Outcome;
  /** Of one that failed. */
  readonly reason?: Reason;
  readonly seconds: number;
  readonly bytes?: Partial<Readonly<Record<ByteKind, number | undefined>>>;
}

/** A transfer takes seconds or a day. */
const DURATION_BUCKETS = [1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600];

/** Node's own numbers and whose they are. One registry for each process: two components in one test do not share. */
export function makeRegistry(component: 'controller' | 'agent', version: string): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'datamover_build_info',
    help: 'Always 1; the labels say which program this is.',
    labelNames: ['component', 'version'],
    registers: [registry],
  }).set({ component, version }, 1);
  return registry;
}

/** What whoever runs transfers counts: the agent. */
export class TransferMetrics {
  readonly #transfers: Counter<'operation' | 'driver' | 'outcome'>;
  readonly #failures: Counter<'operation' | 'reason'>;
  readonly #bytes: Counter<'operation' | 'driver' | 'kind'>;
  readonly #duration: Histogram<'operation' | 'driver'>;
  readonly #running: Gauge<'operation'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#transfers = new Counter({
      name: 'datamover_transfers_total',
      help: 'Attempts at transfers that ended.',
      labelNames: ['operation', 'driver', 'outcome'],
      registers,
    });
    this.#failures = new Counter({
      name: 'datamover_transfer_failures_total',
      help: "Attempts that failed, by the reason of the condition 'Transferred'.",
      labelNames: ['operation', 'reason'],
      registers,
    });
    this.#bytes = new Counter({
      name: 'datamover_transfer_bytes_total',
      help: 'Bytes of transfers that completed.',
      labelNames: ['operation', 'driver', 'kind'],
      registers,
    });
    this.#duration = new Histogram({
      name: 'datamover_transfer_duration_seconds',
      help: 'From the claim to the end of attempts that completed.',
      labelNames: ['operation', 'driver'],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.#running = new Gauge({
      name: 'datamover_transfers_running',
      help: 'Transfers that this process carries now.',
      labelNames: ['operation'],
      registers,
    });
    for (const operation of ['backup', 'restore'] as const) this.#running.set({ operation }, 0);
  }

  running(operation: Operation, count: number): void {
    this.#running.set({ operation }, count);
  }

  ended({ operation, driver, outcome, reason, seconds, bytes = {} }: EndedAttempt): void {
    this.#transfers.inc({ operation, driver, outcome });
    if (outcome === 'failed') this.#failures.inc({ operation, reason: reason ?? REASONS.error });
    if (outcome !== 'completed') return;
    this.#duration.observe({ operation, driver }, seconds);
    for (const [kind, count] of Object.entries(bytes)) {
      if (count !== undefined) this.#bytes.inc({ operation, driver, kind }, count);
    }
  }
}

/** What follows from the objects of the cluster when somebody asks: the controller's. Nothing is kept between two scrapes. */
export interface ClusterState {
  /** Transfers by their place in the queue. */
  readonly queue: readonly {
    readonly operation: Operation;
    readonly state: 'queued' | 'processing';
    readonly count: number;
  }[];
  /** Transfers that ended for good, among the objects that are there. */
  readonly ended: readonly {
    readonly operation: Operation;
    readonly phase: string;
    readonly count: number;
  }[];
  /** The newest completed backup of each claim; `at` in seconds since 1970. */
  readonly lastSuccess: readonly {
    readonly namespace: string;
    readonly claim: string;
    readonly at: number;
  }[];
  /** Sizes of repositories that are known, by BackupTarget (`NAMESPACE/NAME`) and scope. */
  readonly repositories: readonly {
    readonly target: string;
    readonly scope: string;
    readonly bytes: number;
  }[];
}

/** Claims and repositories beyond which nothing is told of a single one, for each would be a time series in Prometheus. */
export const MOST_SERIES = 5_000;

/** Registers the metrics that `state` gives at each scrape. */
export function registerClusterMetrics(registry: Registry, state: () => ClusterState): void {
  const registers = [registry];
  new Gauge({
    name: 'datamover_queue_length',
    help: 'Transfers that wait (queued) or that an agent has (processing).',
    labelNames: ['operation', 'state'],
    registers,
    collect() {
      this.reset();
      for (const { operation, state: place, count } of state().queue) {
        this.inc({ operation, state: place }, count);
      }
    },
  });
  new Gauge({
    name: 'datamover_objects',
    help: 'Transfers that ended, as long as their objects are there.',
    labelNames: ['operation', 'phase'],
    registers,
    collect() {
      this.reset();
      for (const { operation, phase, count } of state().ended) this.inc({ operation, phase }, count);
    },
  });
  new Gauge({
    name: 'datamover_volume_last_success_timestamp_seconds',
    help: 'When the newest completed backup of a claim was completed.',
    labelNames: ['namespace', 'claim'],
    registers,
    collect() {
      this.reset();
      for (const { namespace, claim, at } of oldest(state().lastSuccess)) this.set({ namespace, claim }, at);
    },
  });
  new Gauge({
    name: 'datamover_repository_bytes',
    help: 'Bytes that a repository takes in its store, where known.',
    labelNames: ['target', 'scope'],
    registers,
    collect() {
      this.reset();
      for (const { target, scope, bytes } of state().repositories.slice(0, MOST_SERIES)) {
        this.set({ target, scope }, bytes);
      }
    },
  });
  new Gauge({
    name: 'datamover_series_left_out',
    help: 'Claims and repositories that are not told of one by one, since there are too many.',
    registers,
    collect() {
      const { lastSuccess, repositories } = state();
      this.set(
        [lastSuccess, repositories].reduce((sum, { length }) => sum + Math.max(0, length - MOST_SERIES), 0),
      );
    },
  });
}

/** Those that an alert is about: the claims whose last success is the longest ago. */
function oldest(all: ClusterState['lastSuccess']): ClusterState['lastSuccess'] {
  return all.length <= MOST_SERIES ? all : all.toSorted((a, b) => a.at - b.at).slice(0, MOST_SERIES);
}
