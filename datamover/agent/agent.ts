import type { Logger } from 'pino';
import { describeCause } from '../errors.ts';
import { makeRegistry, TransferMetrics, type Operation } from '../http/metrics.ts';
import { serve, type Health } from '../http/server.ts';
import type { Client } from '../kubernetes/client.ts';
import type { LeaseClaim } from '../kubernetes/lease.ts';
import { EventRecorder } from '../kubernetes/events.ts';
import { Informer } from '../kubernetes/informer.ts';
import type { KubernetesObject, Stored } from '../kubernetes/object.ts';
import type { Resource } from '../kubernetes/resource.ts';
import { pause } from '../kubernetes/backoff.ts';
import { runWorkers, WorkQueue, type Reconciled } from '../kubernetes/workqueue.ts';
import { whyBlind, whyDead, type Watching } from '../kubernetes/vitality.ts';
import { programVersion } from '../version.ts';
import { decide, type Decision } from './decide.ts';
import { Job, type JobContext } from './job.ts';
import type { AgentOptions } from './options.ts';
import { keepPresence } from './presence.ts';
import { Scratch } from './scratch.ts';
import { BACKUPS, formatKey, parseKey, readTransfer, RESTORES, viewOf, type Transfer } from './transfer.ts';
import { transferLease } from './transfer-lease.ts';

/** The field manager of everything that an agent writes (K-20). */
export const AGENT_FIELD_MANAGER = 'datamover-agent';

const WORKERS = 4;

/** Serves a node until the signal fires; then lets its children end, for a while, and returns. */
export async function runAgent(
  client: Client,
  options: AgentOptions,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const scratch = await Scratch.open(options.scratch);
  try {
    for (const name of await scratch.sweep(options.scratch)) {
      log.info({ folder: name }, 'files of an agent that was killed are removed');
    }
    await new Agent(client, options, log, scratch).run(signal);
  } finally {
    await scratch.close();
  }
}

class Agent {
  readonly #client: Client;
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #registry = makeRegistry('agent', programVersion());
  readonly #queue = new WorkQueue({ backoff: { firstMs: 200, maxMs: 15_000 } });
  readonly #jobs = new Map<string, Job>();
  /** By the UIDs of objects whose leases others hold: how long they have not been renewed is known by looking again and again. */
  readonly #leases = new Map<string, LeaseClaim>();
  /** Jobs that are being begun: they take their place already. */
  readonly #beginning = new Set<string>();
  readonly #context: JobContext;
  #draining = false;
  /** Of every transfer of this node. */
  #keys: () => readonly string[] = () => [];

  constructor(client: Client, options: AgentOptions, log: Logger, scratch: Scratch) {
    this.#client = client;
    this.#options = options;
    this.#log = log;
    const events = new EventRecorder({
      ...{ client, component: 'datamover-agent', instance: options.pod },
      onFailure: (error) => log.warn(describeCause(error)),
    });
    this.#context = { client, options, scratch, events, log, metrics: new TransferMetrics(this.#registry) };
  }

  async run(signal: AbortSignal): Promise<void> {
    const { node } = this.#options;
    // Watches and reports go on while the agent drains: a cancellation counts then too.
    const over = new AbortController();
    const backups = this.#follow(BACKUPS, 'backup', over.signal);
    const restores = this.#follow(RESTORES, 'restore', over.signal);
    const find = (key: string): Transfer | undefined => {
      const { operation, namespace, name } = parseKey(key);
      if (operation === 'backup') {
        const object = backups.get(namespace, name);
        return object && { operation, object };
      }
      const object = restores.get(namespace, name);
      return object && { operation, object };
    };
    this.#keys = () => [
      ...backups.list().map((object) => keyOf('backup', object)),
      ...restores.list().map((object) => keyOf('restore', object)),
    ];
    const ready = (): Health => {
      if (this.#draining) return 'it drains';
      if (!backups.hasSynced || !restores.hasSynced) return 'its caches are not filled yet';
      return whyBlind({ informers });
    };
    const informers = new Map<string, Watching>([
      [BACKUPS.kind, backups],
      [RESTORES.kind, restores],
    ]);
    const http = await serve({
      ...{ address: this.#options.httpAddress, registry: this.#registry, ready },
      live: () => whyDead({ informers, queues: [this.#queue] }),
    });
    this.#log.info({ node, port: http.port, drivers: this.#options.drivers }, 'agent started');
    const working = runWorkers({
      ...{ queue: this.#queue, workers: WORKERS, signal: over.signal },
      reconcile: (key) => this.#reconcile(key, find(key)),
      onFailure: (key, error) => this.#log.warn({ key }, describeCause(error)),
    });
    const presence = new AbortController();
    signal.addEventListener('abort', () => presence.abort(), { once: true });
    if (signal.aborted) presence.abort();
    try {
      // Nothing is announced before it can be seen.
      await Promise.race([Promise.all([backups.synced, restores.synced]), fired(signal)]);
      const onFailure = (error: unknown): void => this.#log.warn(describeCause(error));
      await keepPresence(this.#client, this.#options, onFailure, presence.signal);
      await this.#drain();
    } finally {
      over.abort();
      await Promise.all([working, backups.stopped, restores.stopped]);
      await this.#context.events.flush();
      await http.close();
      this.#log.info('agent ended');
    }
  }

  /** Only the objects of this node come here: the API server selects them. */
  #follow<T extends KubernetesObject>(
    resource: Resource<T>,
    operation: Operation,
    signal: AbortSignal,
  ): Informer<T> {
    const informer = new Informer(this.#client.of(resource), {
      fieldSelector: `status.node=${this.#options.node}`,
      onFailure: (error) => this.#log.warn(describeCause(error)),
      onHandlerFailure: (error) => this.#log.error({ err: error }, 'a handler failed'),
      signal,
    });
    informer.onChange(({ type, object }) => {
      if (type === 'deleted') this.#leases.delete(object.metadata.uid);
      this.#queue.add(keyOf(operation, object));
    });
    return informer;
  }

  async #reconcile(key: string, transfer: Transfer | undefined): Promise<Reconciled> {
    const job = this.#jobs.get(key);
    let decision = this.#decide(transfer, job);
    // The cache may be older than our own claim: a child is not ended for that.
    if (decision.do === 'abandon')
      decision = this.#decide(await readTransfer(this.#client, parseKey(key)), job);
    switch (decision.do) {
      case 'nothing':
        return undefined;
      case 'cancel':
        job?.stop('cancel');
        return undefined;
      case 'abandon':
        this.#log.info({ transfer: job?.id }, `the transfer is let go: ${decision.because}`);
        job?.stop('abandon');
        return undefined;
      case 'claim':
      case 'adopt':
        if (transfer === undefined) return undefined;
        return this.#begin(key, transfer, decision.do === 'adopt');
    }
  }

  #decide(transfer: Transfer | undefined, job: Job | undefined): Decision {
    return decide(transfer && viewOf(transfer), job && { uid: job.uid, stopping: job.stopping }, {
      ...{ node: this.#options.node, pod: this.#options.pod, drivers: this.#options.drivers },
      ...{ room: this.#jobs.size + this.#beginning.size < this.#options.maxTransfers },
      draining: this.#draining,
    });
  }

  async #begin(key: string, transfer: Transfer, adopted: boolean): Promise<Reconciled> {
    this.#beginning.add(key);
    try {
      const { uid } = transfer.object.metadata;
      const claim = this.#leases.get(uid) ?? transferLease(this.#client, this.#options, transfer);
      this.#leases.set(uid, claim);
      const job = await Job.begin(this.#context, transfer, claim, adopted);
      // Somebody else has it, or its predecessor's lease has not run out: looked at again in good time.
      if (job === undefined) return { againAfterMs: (this.#options.leaseSeconds * 1000) / 10 };
      this.#leases.delete(uid);
      this.#jobs.set(key, job);
      this.#count(transfer.operation);
      void job.ended.then(() => {
        this.#jobs.delete(key);
        this.#count(transfer.operation);
        // There is room for another one.
        for (const known of this.#keys()) this.#queue.add(known);
      });
      // What happened to the object while it was being claimed was seen before there was a job.
      this.#queue.add(key);
      return undefined;
    } finally {
      this.#beginning.delete(key);
    }
  }

  #count(operation: Operation): void {
    const count = [...this.#jobs.keys()].filter((key) => parseKey(key).operation === operation).length;
    this.#context.metrics.running(operation, count);
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    const jobs = [...this.#jobs.values()];
    if (jobs.length > 0) this.#log.info({ transfers: jobs.map(({ id }) => id) }, 'waiting for transfers');
    const ended = Promise.all(jobs.map((job) => job.ended));
    const late = new AbortController();
    await Promise.race([ended, pause(this.#options.gracePeriodMs, late.signal)]);
    late.abort();
    for (const job of this.#jobs.values()) {
      job.stop('drain');
      job.giveUp();
    }
    await Promise.all([...this.#jobs.values()].map((job) => job.ended));
  }
}

function keyOf(operation: Operation, { metadata }: Stored<KubernetesObject>): string {
  return formatKey({ operation, namespace: metadata.namespace ?? '', name: metadata.name });
}

async function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
