import {
  CONDITIONS,
  LEASES as LEASE_NAMES,
  REASONS,
  transferSecretName,
  type Reason,
} from '../../api/names.ts';
import { DatamoverError, describeCause } from '../errors.ts';
import { isApiError, orMissing } from '../kubernetes/api-error.ts';
import type { KindClient } from '../kubernetes/client.ts';
import { SECRETS } from '../kubernetes/core-resources.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import { LEASES } from '../kubernetes/lease.ts';
import type { Stored } from '../kubernetes/object.ts';
import type { Reconciled } from '../kubernetes/workqueue.ts';
import type { Ages } from './ages.ts';
import type { ClusterName } from './cluster-name.ts';
import { explainFailure, TransferFailure } from './failure.ts';
import { isWaiting, type TransferFlow } from './flow.ts';
import { leftHold } from './left-hold.ts';
import type { Log } from './log.ts';
import { findRepository } from './repository/access.ts';
import type { RepositoryMaker } from './repository/opening.ts';
import type { RepositorySizes } from './repository/sizes.ts';
import type { Site } from './resolve/storage.ts';
import type { Surroundings } from './transfer-plan.ts';
import { planTransfer, retryDelayMs, type Step } from './transfer-plan.ts';
import {
  isBackup,
  namingOf,
  setFinalizer,
  timestampOf,
  transferIdOfObject,
  viewOf,
  writeStatus,
  type ConditionChange,
  type StatusChange,
  type TransferKind,
  type TransferObject,
} from './transfer-object.ts';
import { writeTransferSecret } from './transfer-secret.ts';

export interface ReconcilerParts<T extends TransferKind> {
  readonly site: Site;
  /** Guarded by the leadership. */
  readonly objects: KindClient<T>;
  readonly flow: TransferFlow<T>;
  readonly repositories: RepositoryMaker;
  /** For metrics. */
  readonly sizes: RepositorySizes;
  readonly events: EventRecorder;
  readonly log: Log;
  readonly ages: Ages;
  readonly clusterName: ClusterName;
  /** Looks at what plans are made of beside the object itself. */
  readonly lookAround: (object: Stored<T>) => Promise<Surroundings>;
  /** Told of every object that a write gave back. */
  readonly remember: (object: Stored<T>) => void;
}

/** Looks again when nothing has called before: owners are not watched. */
const GLANCE_MS = 15_000;
const RESOLVE_AGAIN_MS = 3_000;

/** Moves transfers of one kind on, one step at a time: look, plan (transfer-plan.ts), do. Each step is one write of the status. */
export class TransferReconciler<T extends TransferKind> {
  readonly #parts: ReconcilerParts<T>;
  /** Whether the cluster's CRD has `status.lasted`. */
  #knowsLasted = true;

  constructor(parts: ReconcilerParts<T>) {
    this.#parts = parts;
  }

  async reconcile(object: Stored<T>, signal: AbortSignal): Promise<Reconciled> {
    const around = await this.#parts.lookAround(object);
    const step = planTransfer(viewOf(object, this.#parts.ages), around, this.#parts.site.settings);
    if (step.do !== 'leave' && step.do !== 'wait') this.#log(object, { step: step.do }, 'next step');
    else if (this.#knowsLasted && object.status?.phase === 'InProgress' && this.#parts.ages.isDue(object))
      return this.#noteAges(object, step);
    return this.#execute(object, step, signal);
  }

  async #execute(object: Stored<T>, step: Step, signal: AbortSignal): Promise<Reconciled> {
    switch (step.do) {
      case 'leave':
        return object.status?.phase === 'InProgress' ? { againAfterMs: GLANCE_MS } : undefined;
      case 'wait':
        return { againAfterMs: step.ms };
      case 'begin':
        return this.#begin(object);
      case 'resolve':
        return this.#resolve(object, signal);
      case 'prepare':
        return this.#prepare(object, signal);
      case 'requeue':
        return this.#requeue(object, step.reason, this.#sentence(object, step.message));
      case 'release':
        return this.#release(object);
      case 'stop':
        return this.#stop(object, step.reason, this.#sentence(object, step.message));
      case 'end':
        return this.#end(object, step.phase, step.reason, this.#sentence(object, step.message));
      case 'finish':
        return this.#finish(object);
      case 'cleanUp':
        return this.#cleanUp(object, signal);
      case 'letGo':
        return this.#letGo(object, step.left);
    }
  }

  /** Nothing happens, which is just what time limits count: a controller that comes after this one has to know for how long. */
  async #noteAges(object: Stored<T>, step: Step): Promise<Reconciled> {
    await this.#write(object, {}, []);
    return { againAfterMs: step.do === 'wait' ? step.ms : GLANCE_MS };
  }

  async #begin(object: Stored<T>): Promise<Reconciled> {
    const { objects } = this.#parts;
    const held = await setFinalizer(objects, object, true);
    const started = condition(CONDITIONS.reconciled, 'True', REASONS.processing, 'it is being worked on');
    const transferID = transferIdOfObject(object);
    await this.#write(held, { phase: held.status?.phase ?? 'InProgress', transferID }, [started]);
    return undefined;
  }

  async #resolve(object: Stored<T>, signal: AbortSignal): Promise<Reconciled> {
    try {
      const answer = await this.#parts.flow.resolve(object, signal);
      if (isWaiting(answer)) {
        const message = this.#sentence(object, answer.because);
        const waiting = condition(CONDITIONS.resolved, 'False', REASONS.processing, message);
        await this.#write(object, { message }, [waiting]);
        return { againAfterMs: answer.waitMs };
      }
      const message = this.#sentence(object, 'it waits for its turn');
      await this.#write(object, { ...answer.change, batchingStatus: 'Queued', message }, [
        condition(CONDITIONS.resolved, 'True', REASONS.complete, answer.message),
        condition(CONDITIONS.assigned, 'False', REASONS.queued, message),
      ]);
      return undefined;
    } catch (error) {
      return this.#failedToResolve(object, error);
    }
  }

  async #failedToResolve(object: Stored<T>, error: unknown): Promise<Reconciled> {
    if (isApiError(error, 'conflict', 'cancelled')) throw error;
    const { reason, message, retryable } = explainFailure(error);
    if (!retryable) return this.#end(object, 'Failed', reason, message);
    await this.#write(object, { message }, [condition(CONDITIONS.resolved, 'False', reason, message)]);
    // In time the plan makes a failure of it.
    if (error instanceof TransferFailure) return { againAfterMs: RESOLVE_AGAIN_MS };
    throw error;
  }

  async #prepare(object: Stored<T>, signal: AbortSignal): Promise<Reconciled> {
    const { site, flow, repositories } = this.#parts;
    try {
      const request = flow.repository(object);
      const access = await findRepository(site, request);
      await repositories.ensure(access, request.writes, signal);
      const ceph = await flow.ceph(object, signal);
      const host = await this.#parts.clusterName.get();
      await writeTransferSecret(site.client, site.settings.namespace, object, access, ceph, host);
    } catch (error) {
      if (isApiError(error, 'conflict', 'cancelled') || signal.aborted) throw error;
      const { reason, message, retryable } = explainFailure(error);
      const again = retryable && (object.status?.attempts ?? 0) <= site.settings.retries;
      return again ? this.#requeue(object, reason, message) : this.#end(object, 'Failed', reason, message);
    }
    const message = this.#sentence(object, `the agent of node ${object.status?.node ?? ''} is to carry it`);
    await this.#write(object, { batchingStatus: 'Processing', message, nextAttemptTimestamp: null }, [
      condition(CONDITIONS.assigned, 'True', REASONS.processing, message),
    ]);
    return undefined;
  }

  async #requeue(object: Stored<T>, reason: Reason, message: string): Promise<Reconciled> {
    const { status } = object;
    const wait = retryDelayMs(status?.attempts ?? 1, this.#parts.site.settings.retryBackoff);
    await this.#write(
      object,
      {
        ...{ batchingStatus: 'Queued', message, nextAttemptTimestamp: timestampOf(Date.now() + wait) },
        // What belongs to a node goes to that node again.
        ...(status?.storage?.driver === 'zfs' ? {} : { node: null }),
      },
      [condition(CONDITIONS.assigned, 'False', reason, message)],
    );
    this.#tell(object, 'Warning', REASONS.retrying, message);
    return undefined;
  }

  async #release(object: Stored<T>): Promise<Reconciled> {
    // The next attempt's lease is its own: one that has expired would speak of this attempt.
    await this.#deleteLease(object);
    const { namespace, name, resourceVersion } = object.metadata;
    const conditions = (object.status?.conditions ?? []).filter(
      ({ type }) => type !== CONDITIONS.transferred,
    );
    const patch: unknown = { metadata: { resourceVersion }, status: { claimedBy: null, conditions } };
    const { objects, remember } = this.#parts;
    const options = { subresource: 'status' };
    const freed = await objects.patch(namespace, name, patch as Parameters<typeof objects.patch>[2], options);
    remember(freed);
    return undefined;
  }

  async #stop(object: Stored<T>, reason: Reason, message: string): Promise<Reconciled> {
    const stopping = condition(CONDITIONS.cleanedUp, 'False', reason, message);
    await this.#write(object, { batchingStatus: 'Completed', message }, [stopping]);
    return { againAfterMs: 1_000 };
  }

  async #end(
    object: Stored<T>,
    phase: 'Failed' | 'Canceled',
    reason: Reason,
    message: string,
  ): Promise<Reconciled> {
    // For the sake of an event alone: its failure holds up no end.
    const waiting = await this.#parts.flow.waitingClaim(object).catch(() => undefined);
    await this.#write(object, { phase, message, completionTimestamp: timestampOf(Date.now()) }, [
      condition(CONDITIONS.reconciled, phase === 'Failed' ? 'False' : 'True', reason, message),
      condition(CONDITIONS.cleanedUp, 'False', reason, 'what was made for it is being taken away'),
    ]);
    this.#tell(object, phase === 'Failed' ? 'Warning' : 'Normal', reason, message);
    if (waiting !== undefined) this.#parts.events.record(waiting, 'Warning', reason, message);
    return undefined;
  }

  async #finish(object: Stored<T>): Promise<Reconciled> {
    try {
      const answer = await this.#parts.flow.finish(object);
      if (isWaiting(answer)) {
        const message = this.#sentence(object, answer.because);
        const since = viewOf(object, this.#parts.ages).transferred?.forMs ?? 0;
        if (since >= this.#parts.site.settings.volumeTimeout)
          return await this.#end(object, 'Failed', REASONS.timedOut, message);
        await this.#write(object, { message }, []);
        return { againAfterMs: answer.waitMs };
      }
      await this.#write(object, { ...answer, phase: 'Cleanup' }, []);
      return undefined;
    } catch (error) {
      // Somebody else wrote, or this controller ends: that is no failure of the volume's, however long it has taken.
      if (isApiError(error, 'conflict', 'cancelled')) throw error;
      const { reason, message, retryable } = explainFailure(error);
      const since = viewOf(object, this.#parts.ages).transferred?.forMs ?? 0;
      if (retryable && since < this.#parts.site.settings.volumeTimeout) throw error;
      return this.#end(object, 'Failed', reason, message);
    }
  }

  async #cleanUp(object: Stored<T>, signal: AbortSignal): Promise<Reconciled> {
    const left = await this.#parts.flow.cleanUp(object);
    if (left.length > 0) {
      const message = `still there: ${left.join(', ')}`;
      await this.#write(object, {}, [condition(CONDITIONS.cleanedUp, 'False', REASONS.processing, message)]);
      return { againAfterMs: 1_000 };
    }
    await this.#deleteSecret(object);
    await this.#deleteLease(object);
    const hold = leftHold(object);
    const found =
      hold === undefined ? 'nothing that was made for it is left' : `nothing else of it is left; ${hold}`;
    const clean = condition(CONDITIONS.cleanedUp, 'True', REASONS.complete, found);
    if (object.status?.phase !== 'Cleanup') {
      await this.#write(object, { batchingStatus: 'Completed' }, [clean]);
      if (hold !== undefined) this.#tell(object, 'Warning', REASONS.agentDied, hold);
      return undefined;
    }
    const message = this.#sentence(object, 'it is complete');
    const completionTimestamp = timestampOf(Date.now());
    await this.#write(
      object,
      { phase: 'Completed', batchingStatus: 'Completed', message, completionTimestamp },
      [clean, condition(CONDITIONS.reconciled, 'True', REASONS.complete, 'Reconcile complete')],
    );
    this.#tell(object, 'Normal', REASONS.complete, message);
    const repository = repositoryOf(object);
    if (repository !== undefined)
      this.#parts.sizes.measure(this.#parts.flow.repository(object), repository, signal);
    return undefined;
  }

  async #deleteLease(object: Stored<T>): Promise<void> {
    const { client, settings } = this.#parts.site;
    const name = LEASE_NAMES.transfer(transferIdOfObject(object));
    await orMissing(client.of(LEASES).delete(settings.namespace, name));
  }

  async #deleteSecret(object: Stored<T>): Promise<void> {
    const { client, settings } = this.#parts.site;
    const name = transferSecretName(transferIdOfObject(object));
    await orMissing(client.of(SECRETS).delete(settings.namespace, name));
  }

  async #letGo(object: Stored<T>, left: boolean): Promise<Reconciled> {
    if (left) {
      const found = object.status?.conditions?.find(({ type }) => type === CONDITIONS.cleanedUp)?.message;
      const what = [found ?? `the transfer ${transferIdOfObject(object)}`, leftHold(object) ?? []]
        .flat()
        .join('; ');
      this.#tell(object, 'Warning', REASONS.timedOut, `its end took too long; left behind: ${what}`);
      // Whatever else could not be cleaned up, nobody may go on with these.
      await this.#deleteSecret(object);
      await this.#deleteLease(object);
    }
    await setFinalizer(this.#parts.objects, object, false);
    return undefined;
  }

  async #write(
    object: Stored<T>,
    change: StatusChange,
    conditions: readonly ConditionChange[],
  ): Promise<void> {
    const { objects, remember, ages, log } = this.#parts;
    const lasted = this.#knowsLasted ? (ages.notes(object) ?? null) : null;
    try {
      remember(await writeStatus(objects, object, { ...change, lasted }, conditions));
    } catch (error) {
      if (lasted === null || !describeCause(error).includes('.status.lasted: field not declared in schema'))
        throw error;
      // Helm upgrades no CRDs. Ends and limits of this process work without the field.
      this.#knowsLasted = false;
      log.error(
        {},
        'the CRDs are older than this controller: time limits begin anew when it restarts; kubectl apply -f charts/datamover/crds',
      );
      remember(await writeStatus(objects, object, { ...change, lasted: null }, conditions));
    }
  }

  #tell(object: Stored<T>, type: 'Normal' | 'Warning', reason: Reason, message: string): void {
    this.#parts.events.record(object, type, reason, message);
    this.#log(object, { reason }, message, type === 'Warning' ? 'warn' : 'info');
  }

  #log(object: Stored<T>, fields: object, message: string, level: 'debug' | 'info' | 'warn' = 'debug'): void {
    const { namespace = '', name } = object.metadata;
    const named = { transfer: transferIdOfObject(object), object: `${namespace}/${name}` };
    this.#parts.log[level]({ ...named, ...fields }, message);
  }

  /** A whole sentence of what was found here; one that came from elsewhere is one already. */
  #sentence(object: Stored<T>, cause: string): string {
    const { operation, subject } = namingOf(object);
    if (cause.startsWith(`${operation} ${subject}`) || isQuoted(object, cause)) return cause;
    return new DatamoverError({ operation, subject, cause }).message;
  }
}

/** What a backup went into. */
function repositoryOf(object: TransferObject): string | undefined {
  return isBackup(object) ? object.status?.resticrepository : undefined;
}

function isQuoted(object: TransferObject, message: string): boolean {
  return object.status?.conditions?.some((known) => known.message === message) === true;
}

function condition(
  type: string,
  status: ConditionChange['status'],
  reason: Reason,
  message: string,
): ConditionChange {
  return { type, status, reason, message };
}
