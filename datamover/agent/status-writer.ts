import { isApiError } from '../kubernetes/api-error.ts';
import { Backoff, pause } from '../kubernetes/backoff.ts';
import type { Applied, Client } from '../kubernetes/client.ts';
import { CONDITIONS } from '../../api/names.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import { withCondition, type Condition } from '../kubernetes/conditions.ts';
import { DatamoverError } from '../errors.ts';
import type { OwnedStatus } from './outcome.ts';
import { BACKUPS, RESTORES, type Transfer } from './transfer.ts';

/** The transfer is not this agent's any more; whoever carries it stops, and says nothing of it. */
export class NotOurs extends DatamoverError {}

/**
 * Writes the fields of a status that the agent owns, by server-side apply (K-20): each time all of them, for those that are left out
 * are taken away. Every write names the version that it builds on, so that an agent that was held up cannot write over what was
 * decided since: after a conflict it looks again, and goes on only while the object still names this pod.
 */
export class StatusWriter {
  readonly #client: Client;
  readonly #pod: string;
  #transfer: Transfer;
  #owned: OwnedStatus = {};
  #conditions: readonly Condition[] | undefined;

  constructor(client: Client, pod: string, transfer: Transfer) {
    this.#client = client;
    this.#pod = pod;
    this.#transfer = transfer;
    // Those that others own are not among what is applied.
    const known = transfer.object.status?.conditions?.filter(({ type }) => type === CONDITIONS.transferred);
    this.#conditions = known?.map((condition) => ({ ...condition }));
  }

  get transfer(): Transfer {
    return this.#transfer;
  }

  /** One try on top of exactly the version that was seen (K-12). Throws `conflict` where another one was quicker. */
  async claim(status: OwnedStatus, signal?: AbortSignal): Promise<void> {
    await this.#apply({ ...status, claimedBy: this.#pod }, signal);
  }

  /** Lays fields over those that were written; a conflict is looked into. Throws NotOurs, or the ApiError of a server that is away. */
  async write(status: OwnedStatus, signal?: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#apply({ ...this.#owned, ...status }, signal);
        return;
      } catch (error) {
        if (isApiError(error, 'missing')) throw this.#lost('it is gone');
        if (!isApiError(error, 'conflict')) throw error;
        await this.#look(signal);
      }
    }
  }

  /**
   * The same until it has been written: what came of a transfer must not be lost because the server is away for a while, or knows no
   * rights yet since it was just started. Throws NotOurs, what `signal` ends, and what the server will never take (`invalid`).
   */
  async insist(status: OwnedStatus, onFailure: (error: unknown) => void, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ firstMs: 500, maxMs: 10_000 });
    for (;;) {
      try {
        await this.write(status, signal);
        return;
      } catch (error) {
        if (!isApiError(error) || error.reason === 'invalid') throw error;
        onFailure(error);
        await pause(backoff.next(), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  async #apply(status: OwnedStatus, signal: AbortSignal | undefined): Promise<void> {
    const { transferred, ...rest } = status;
    const { message = '' } = rest;
    const conditions =
      transferred === undefined
        ? this.#conditions
        : withCondition(this.#conditions, { type: CONDITIONS.transferred, message, ...transferred });
    const { namespace, name, uid, resourceVersion } = this.#transfer.object.metadata;
    const body = {
      // The UID too: an object that was deleted and made anew is another one.
      metadata: { name, uid, resourceVersion, ...(namespace !== undefined && { namespace }) },
      status: { ...rest, ...(conditions !== undefined && { conditions }) },
    };
    await this.#send(body, signal);
    this.#owned = status;
    this.#conditions = conditions;
  }

  async #send(body: object, signal: AbortSignal | undefined): Promise<void> {
    const options = { subresource: 'status', signal };
    if (this.#transfer.operation === 'backup') {
      const object = await this.#client.of(BACKUPS).apply(body as Applied<VolumeSnapshotBackup>, options);
      this.#transfer = { operation: 'backup', object };
    } else {
      const object = await this.#client.of(RESTORES).apply(body as Applied<VolumeSnapshotRestore>, options);
      this.#transfer = { operation: 'restore', object };
    }
  }

  async #look(signal: AbortSignal | undefined): Promise<void> {
    const { namespace, name, uid } = this.#transfer.object.metadata;
    try {
      this.#transfer =
        this.#transfer.operation === 'backup'
          ? { operation: 'backup', object: await this.#client.of(BACKUPS).get(namespace, name, { signal }) }
          : {
              operation: 'restore',
              object: await this.#client.of(RESTORES).get(namespace, name, { signal }),
            };
    } catch (error) {
      throw isApiError(error, 'missing') ? this.#lost('it is gone') : error;
    }
    const { metadata, status } = this.#transfer.object;
    if (metadata.uid !== uid) throw this.#lost('it was deleted and made anew');
    if (status?.claimedBy !== this.#pod) throw this.#lost('another agent has it');
  }

  #lost(cause: string): NotOurs {
    const { namespace, name } = this.#transfer.object.metadata;
    return new NotOurs({
      operation: 'report on',
      subject: `${namespace ?? ''}/${name}`,
      cause,
      kind: 'cancelled',
    });
  }
}
