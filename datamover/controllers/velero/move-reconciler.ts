import { ANNOTATIONS, FINALIZER, REASONS } from '../../../api/names.ts';
import type { DataDownload, DataUpload } from '../../../api/neighbours/velero.ts';
import { describeCause } from '../../errors.ts';
import { isApiError, orMissing } from '../../kubernetes/api-error.ts';
import type { Client, KindClient } from '../../kubernetes/client.ts';
import type { EventRecorder } from '../../kubernetes/events.ts';
import type { Draft, KubernetesObject, Stored } from '../../kubernetes/object.ts';
import type { Resource } from '../../kubernetes/resource.ts';
import type { Reconciled } from '../../kubernetes/workqueue.ts';
import type { Aged, Ages } from '../ages.ts';
import { LONGEST_MESSAGE } from '../failure.ts';
import type { Log } from '../log.ts';
import { setFinalizer, timestampOf, type TransferKind } from '../transfer-object.ts';
import { durationMs, hasEnded, planMove, type MoveStep, type MoveView } from './move-plan.ts';

type Move = DataUpload | DataDownload;

/** What is different between uploads and downloads. */
export interface MoveFlow<M extends Move, T extends TransferKind> {
  /** Where its transfer is, or would be. */
  place(move: Stored<M>): { readonly namespace: string; readonly name: string };
  /** The transfer to be made, or what is in the way. */
  draft(move: Stored<M>): Promise<Draft<T> | Obstacle>;
  /** What the status says of a completed transfer beyond the common fields. Throws with what is wrong. */
  result(move: Stored<M>, transfer: Stored<T>): Readonly<Record<string, unknown>>;
  /** The claim that still waits for its volume, for which no transfer was made. */
  waitingClaim(move: Stored<M>): Promise<Stored<KubernetesObject> | undefined>;
  /** Takes away what Velero left to the mover. */
  cleanUp(move: Stored<M>): Promise<void>;
}

export interface Obstacle {
  readonly cause: string;
  readonly final: boolean;
}

export interface MoveParts<M extends Move, T extends TransferKind> {
  readonly client: Client;
  readonly moves: KindClient<M>;
  readonly transfers: Resource<T>;
  readonly flow: MoveFlow<M, T>;
  readonly events: EventRecorder;
  readonly ages: Ages;
  readonly log: Log;
}

const LOOK_AGAIN_MS = 2_000;
const TIMEOUT_MS = 600_000;

/** Serves Velero's objects of one kind: makes a transfer for each (K-33) and tells in Velero's words how it goes. */
export class MoveReconciler<M extends Move, T extends TransferKind> {
  readonly #parts: MoveParts<M, T>;

  constructor(parts: MoveParts<M, T>) {
    this.#parts = parts;
  }

  async reconcile(seen: Stored<M>): Promise<Reconciled> {
    const { moves, client, transfers, flow, ages, log } = this.#parts;
    // Its status has no subresource and is written by others too: the newest is asked for.
    const move = await orMissing(moves.get(seen.metadata.namespace, seen.metadata.name));
    if (move === undefined) return undefined;
    const { namespace, name } = flow.place(move);
    const transfer = await orMissing(client.of(transfers).get(namespace, name));
    const began = !['', 'New', 'Completed', 'Failed', 'Canceled'].includes(move.status?.phase ?? '');
    const draft = transfer === undefined && began ? await flow.draft(move) : undefined;
    const step = planMove(
      moveViewOf(move, transfer, draft !== undefined && 'cause' in draft ? draft : undefined, ages),
    );
    if (step.do !== 'leave' && step.do !== 'wait' && step.do !== 'mirror')
      log.info({ object: `${move.metadata.namespace ?? ''}/${move.metadata.name}`, step: step.do }, 'Velero');
    return this.#execute(move, transfer, draft, step);
  }

  async #execute(
    move: Stored<M>,
    transfer: Stored<T> | undefined,
    draft: Draft<T> | Obstacle | undefined,
    step: MoveStep,
  ): Promise<Reconciled> {
    const { client, transfers, flow, moves } = this.#parts;
    const now = timestampOf(Date.now());
    switch (step.do) {
      case 'leave':
        return undefined;
      case 'wait':
        await this.#noteAge(move);
        return { againAfterMs: LOOK_AGAIN_MS };
      case 'accept': {
        const held = await setFinalizer(moves, move, true);
        await this.#write(held, { phase: 'Accepted', acceptedTimestamp: now, startTimestamp: now });
        return { againAfterMs: 0 };
      }
      case 'makeTransfer':
        if (draft !== undefined && !('cause' in draft)) {
          await client
            .of(transfers)
            .create(draft)
            .catch((error: unknown) => {
              if (!isApiError(error, 'exists')) throw error;
            });
        }
        return { againAfterMs: LOOK_AGAIN_MS };
      case 'cancelTransfer': {
        const { namespace, name } = flow.place(move);
        const patch: unknown = { spec: { cancel: true } };
        const objects = client.of(transfers);
        await objects.patch(namespace, name, patch as Parameters<typeof objects.patch>[2]);
        return { againAfterMs: 500 };
      }
      case 'mirror':
        await this.#write(move, { phase: step.phase, ...reported(transfer) });
        return { againAfterMs: LOOK_AGAIN_MS };
      case 'end':
        // Where there is a transfer, its end tells the claim.
        if (transfer === undefined) await this.#tellClaim(move, step);
        await this.#write(move, {
          ...reported(transfer),
          ...this.#ending(move, transfer, step),
          completionTimestamp: now,
        });
        return { againAfterMs: 0 };
      case 'letGo': {
        await flow.cleanUp(move);
        const { namespace, name } = flow.place(move);
        await orMissing(client.of(transfers).delete(namespace, name));
        await setFinalizer(moves, move, false);
        this.#parts.ages.forget(move.metadata.uid);
        return undefined;
      }
    }
  }

  async #tellClaim(move: Stored<M>, { phase, message }: Extract<MoveStep, { do: 'end' }>): Promise<void> {
    const claim = await this.#parts.flow.waitingClaim(move);
    const reason = phase === 'Canceled' ? REASONS.canceled : REASONS.error;
    if (claim !== undefined) this.#parts.events.record(claim, 'Warning', reason, message);
  }

  /** Velero's kinds have no field for it (K-19). */
  async #noteAge(move: Stored<M>): Promise<void> {
    const { ages, moves } = this.#parts;
    const aged = agedOf(move);
    if (!ages.isDue(aged)) return;
    const seconds = ages.notes(aged)?.find(({ what }) => what === 'acceptance')?.seconds ?? 0;
    const { namespace, name, resourceVersion } = move.metadata;
    const annotations = { [ANNOTATIONS.acceptedFor]: `${move.status?.acceptedTimestamp ?? ''} ${seconds}` };
    const patch: unknown = { metadata: { resourceVersion, annotations } };
    await moves.patch(namespace, name, patch as Parameters<typeof moves.patch>[2]);
  }

  #ending(
    move: Stored<M>,
    transfer: Stored<T> | undefined,
    { phase, message }: Extract<MoveStep, { do: 'end' }>,
  ): Readonly<Record<string, unknown>> {
    if (phase !== 'Completed' || transfer === undefined) return { phase, message };
    try {
      return { phase, message, ...this.#parts.flow.result(move, transfer) };
    } catch (error) {
      return { phase: 'Failed', message: describeCause(error) };
    }
  }

  /** Only on top of what was read, and only when something is different. */
  async #write(move: Stored<M>, change: Readonly<Record<string, unknown>>): Promise<void> {
    const before: Readonly<Record<string, unknown>> = { ...move.status };
    const cut = Object.fromEntries(
      Object.entries(change).map(([key, value]) => [
        key,
        key === 'message' ? String(value).slice(0, LONGEST_MESSAGE) : value,
      ]),
    );
    const same = Object.entries(cut).every(
      ([key, value]) => JSON.stringify(before[key]) === JSON.stringify(value),
    );
    if (same) return;
    const { namespace, name, resourceVersion } = move.metadata;
    const patch: unknown = { metadata: { resourceVersion }, status: cut };
    const { moves } = this.#parts;
    await moves.patch(namespace, name, patch as Parameters<typeof moves.patch>[2]);
  }
}

/** Progress, node and message, as the transfer has them. */
function reported(transfer: Stored<TransferKind> | undefined): Readonly<Record<string, unknown>> {
  const { progress, node, message, storage } = transfer?.status ?? {};
  const totalBytes = progress?.totalBytes ?? storage?.bytes;
  return {
    ...(totalBytes === undefined ? {} : { progress: { totalBytes, bytesDone: progress?.bytesDone ?? 0 } }),
    ...(node === undefined ? {} : { node, acceptedByNode: node }),
    ...(message === undefined ? {} : { message }),
  };
}

/** With what an earlier process has noted of how long ago it was accepted. */
function agedOf({ metadata, status }: Stored<Move>): Aged {
  // Of another acceptance it says nothing.
  const [, as = '', seconds] =
    /^(\S+) (\d{1,9})$/.exec(metadata.annotations?.[ANNOTATIONS.acceptedFor] ?? '') ?? [];
  if (seconds === undefined || as !== status?.acceptedTimestamp) return { metadata };
  return { metadata, status: { lasted: [{ what: 'acceptance', as, seconds: Number(seconds) }] } };
}

/** The object as plans see it. */
export function moveViewOf(
  move: Stored<Move>,
  transfer: Stored<TransferKind> | undefined,
  obstacle: Obstacle | undefined,
  ages: Ages,
): MoveView {
  const { metadata, spec, status } = move;
  return {
    what:
      'targetVolume' in spec
        ? `restore ${spec.targetVolume.namespace}/${spec.targetVolume.pvc}`
        : `back up ${spec.sourceNamespace}/${spec.sourcePVC}`,
    phase: status?.phase,
    cancel: spec.cancel === true,
    deleted: metadata.deletionTimestamp !== undefined,
    hasFinalizer: metadata.finalizers?.includes(FINALIZER) === true,
    // One that has ended stays as long as its backup: nothing of it is remembered.
    acceptedForMs: hasEnded(status?.phase)
      ? 0
      : ages.of(agedOf(move), 'acceptance', status?.acceptedTimestamp ?? ''),
    timeoutMs: durationMs(spec.operationTimeout, TIMEOUT_MS),
    transfer:
      transfer === undefined
        ? undefined
        : {
            phase: transfer.status?.phase,
            cancel: transfer.spec.cancel === true,
            carried: (transfer.status?.claimedBy ?? '') !== '',
            message: transfer.status?.message,
          },
    obstacle,
  };
}
