import { CONDITIONS, REASONS } from '../../api/names.ts';
import {
  snapshotDeleteRequest,
  type SnapshotDeleteRequest,
  type SnapshotDeleteRequestStatus,
} from '../../api/snapshot-delete-request.ts';
import { isApiError, orMissing } from '../kubernetes/api-error.ts';
import { withCondition } from '../kubernetes/conditions.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import type { Stored } from '../kubernetes/object.ts';
import { resourceOf } from '../kubernetes/resource.ts';
import type { Reconciled } from '../kubernetes/workqueue.ts';
import { Slots } from '../store/slots.ts';
import type { Ages } from './ages.ts';
import { explainFailure, TransferFailure } from './failure.ts';
import { findRepository } from './repository/access.ts';
import { runOnRepository } from './repository/opening.ts';
import type { Site } from './resolve/storage.ts';
import { retryDelayMs } from './transfer-plan.ts';
import { timestampOf } from './transfer-object.ts';

type Request = Stored<SnapshotDeleteRequest>;

/** How long a request that is done stays, for whoever wants to see it. */
const KEPT_MS = 24 * 3_600_000;
/** Between two looks at whether it is to be noted for how long one has rested. */
const GLANCE_MS = 15_000;

export type DeletionStep =
  | { readonly do: 'leave' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'run' }
  /** The request itself goes. */
  | { readonly do: 'remove' };

/** What a request needs next (K-35). `now` decides only when one that is done goes; `restsMs`: until its next attempt. */
export function planDeletion(
  status: SnapshotDeleteRequestStatus | undefined,
  now: number,
  restsMs: number,
): DeletionStep {
  switch (status?.phase) {
    case 'Failed':
      return { do: 'leave' };
    case 'Completed': {
      const left = (Date.parse(status.completionTimestamp ?? '') || 0) + KEPT_MS - now;
      return left > 0 ? { do: 'wait', ms: left } : { do: 'remove' };
    }
    case 'InProgress':
    case undefined:
      return restsMs > 0 ? { do: 'wait', ms: restsMs } : { do: 'run' };
  }
}

/**
 * Frees what SnapshotDeleteRequests name. One at a time, whatever their namespaces: each holds a repository's lock, and prunes, which
 * may take long and much memory; transfers' repositories are opened beside it, one at a time then.
 */
export class SnapshotDeletion {
  readonly #site: Site;
  readonly #events: EventRecorder;
  readonly #ages: Ages;
  readonly #turn: Slots;

  constructor(site: Site, events: EventRecorder, ages: Ages, turn = new Slots(1)) {
    this.#site = site;
    this.#events = events;
    this.#ages = ages;
    this.#turn = turn;
  }

  async reconcile(request: Request, signal: AbortSignal): Promise<Reconciled> {
    const requests = this.#site.client.of(resourceOf(snapshotDeleteRequest));
    const { namespace, name, uid } = request.metadata;
    const step = planDeletion(request.status, Date.now(), this.#restOf(request));
    switch (step.do) {
      case 'leave':
        return undefined;
      case 'wait':
        await this.#noteAges(request);
        return { againAfterMs: resting(request) ? Math.min(step.ms, GLANCE_MS) : step.ms };
      case 'remove':
        await orMissing(requests.delete(namespace, name, { uid }));
        return undefined;
      case 'run':
        if (!(await this.#turn.take(signal))) throw signal.reason;
        try {
          return await this.#runIfStillWanted(request.metadata, signal);
        } finally {
          this.#turn.give();
        }
    }
  }

  /** The turn may have come long after the request was seen: one that was withdrawn meanwhile, or done, frees nothing. */
  async #runIfStillWanted(
    { namespace, name, uid }: Request['metadata'],
    signal: AbortSignal,
  ): Promise<Reconciled> {
    const requests = this.#site.client.of(resourceOf(snapshotDeleteRequest));
    const now = await orMissing(requests.get(namespace, name, { signal }));
    if (now?.metadata.uid !== uid || now.metadata.deletionTimestamp !== undefined) return undefined;
    const step = planDeletion(now.status, Date.now(), this.#restOf(now));
    return step.do === 'run' ? this.#run(now, signal) : { againAfterMs: step.do === 'wait' ? step.ms : 0 };
  }

  /** By our own steady clock (K-19). */
  #restOf(request: Request): number {
    const { attempts = 1, nextAttemptTimestamp: next } = request.status ?? {};
    // One that has ended may lie there for long: nothing of it is remembered.
    if (next === undefined || !resting(request)) return 0;
    const wait = retryDelayMs(attempts, this.#site.settings.retryBackoff);
    return wait - this.#ages.of(request, 'next attempt', next, wait);
  }

  /** A controller that comes after this one goes on with the rest. */
  async #noteAges(request: Request): Promise<void> {
    if (!resting(request) || !this.#ages.isDue(request)) return;
    const { namespace, name, resourceVersion } = request.metadata;
    const requests = this.#site.client.of(resourceOf(snapshotDeleteRequest));
    const patch = { metadata: { resourceVersion }, status: { lasted: this.#ages.notes(request) ?? [] } };
    await requests.patch(namespace, name, patch, { subresource: 'status' });
  }

  async #run(request: Request, signal: AbortSignal): Promise<Reconciled> {
    const attempts = (request.status?.attempts ?? 0) + 1;
    const startTimestamp = request.status?.startTimestamp ?? timestampOf(Date.now());
    const common = { attempts, startTimestamp };
    try {
      await this.#forget(request, attempts > 1, signal);
    } catch (error) {
      if (isApiError(error, 'cancelled') || signal.aborted) throw error;
      const { reason, message } = explainFailure(error);
      // A bucket, a secret or a password may come back: what is wished stays wished.
      const retryable = reason !== REASONS.notAllowed;
      this.#events.record(request, 'Warning', reason, message);
      const wait = retryDelayMs(attempts, this.#site.settings.retryBackoff);
      await this.#write(
        request,
        retryable
          ? { ...common, phase: 'InProgress', message, nextAttemptTimestamp: timestampOf(Date.now() + wait) }
          : { ...common, phase: 'Failed', message, completionTimestamp: timestampOf(Date.now()) },
        { status: 'False', reason, message },
      );
      return { againAfterMs: wait };
    }
    const message = `forget snapshot ${request.spec.snapshotID.slice(0, 8)}: it is gone from its repository`;
    const completionTimestamp = timestampOf(Date.now());
    await this.#write(
      request,
      { ...common, phase: 'Completed', message, completionTimestamp },
      { status: 'True', reason: REASONS.complete, message },
    );
    this.#events.record(request, 'Normal', REASONS.complete, message);
    return { againAfterMs: KEPT_MS };
  }

  /** Exactly this snapshot, if it is there; then what nothing else uses, by prune's own policy. */
  async #forget({ metadata, spec }: Request, again: boolean, signal: AbortSignal): Promise<void> {
    const access = await findRepository(this.#site, {
      protectedNamespace: metadata.namespace ?? '',
      ...(spec.resticSecretRef === undefined ? {} : { resticSecretRef: spec.resticSecretRef }),
      ...(spec.backupTarget === undefined ? {} : { backupTarget: spec.backupTarget }),
      ...{ repository: spec.resticrepository, namespaces: [spec.sourceNamespace], writes: true },
      volume: { namespace: spec.sourceNamespace, claim: spec.claim ?? '' },
    });
    const operation = 'forget snapshot of';
    const bounds = { memoryBytes: this.#site.settings.childMemory, signal };
    const listed = (await runOnRepository(access, operation, ['snapshots'], bounds)).flat();
    const found = listed.find((snapshot) => fieldOf(snapshot, 'id') === spec.snapshotID);
    if (found === undefined) {
      // An attempt before this may have removed the snapshot and freed nothing yet.
      if (again) await runOnRepository(access, operation, ['prune'], bounds);
      return;
    }
    refuseOtherVolume(spec, fieldOf(found, 'paths'));
    await runOnRepository(access, operation, ['forget', spec.snapshotID, '--prune'], bounds);
  }

  async #write(
    request: Request,
    status: SnapshotDeleteRequestStatus,
    condition: { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string },
  ): Promise<void> {
    const conditions = withCondition(request.status?.conditions, {
      ...{ type: CONDITIONS.reconciled, ...condition },
      observedGeneration: request.metadata.generation ?? 0,
    });
    const { namespace, name } = request.metadata;
    const requests = this.#site.client.of(resourceOf(snapshotDeleteRequest));
    await requests.applyStatus(namespace, name, { ...status, conditions });
  }
}

/** It failed, and is tried again after a while. */
function resting({ status }: Request): boolean {
  return status?.phase === 'InProgress' && status.nextAttemptTimestamp !== undefined;
}

/**
 * The request is made of what a backup's archive says, which others can write into: it gets nothing but the backups of the claim that
 * it names, in the namespace that it comes from (K-35). The snapshot's own volume is not told.
 */
function refuseOtherVolume({ sourceNamespace, claim, snapshotID }: Request['spec'], paths: unknown): void {
  const refuse = (cause: string, hint: string): TransferFailure =>
    new TransferFailure({
      ...{ operation: 'forget snapshot', subject: snapshotID.slice(0, 8), cause, hint },
      reason: REASONS.notAllowed,
    });
  if (claim === undefined) {
    throw refuse(
      'the request names no claim, and any volume of the repository could be meant',
      'give the claim that was backed up',
    );
  }
  const [path, ...more] = Array.isArray(paths) ? (paths as readonly unknown[]) : [];
  if (path !== `/${sourceNamespace}/${claim}` || more.length > 0) {
    throw refuse(
      `it is no backup of ${sourceNamespace}/${claim}`,
      'give the namespace and the claim that were backed up',
    );
  }
}

function fieldOf(snapshot: unknown, name: 'id' | 'paths'): unknown {
  return typeof snapshot === 'object' && snapshot !== null
    ? (snapshot as Readonly<Record<string, unknown>>)[name]
    : undefined;
}
