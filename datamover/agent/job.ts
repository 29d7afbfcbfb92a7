import { writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { REASONS, transferSecretName } from '../../api/names.ts';
import { DatamoverError, describeCause } from '../errors.ts';
import type { Outcome, TransferMetrics } from '../http/metrics.ts';
import { isApiError, orMissing } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { SECRETS, secretValues } from '../kubernetes/core-resources.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import type { LeaseClaim } from '../kubernetes/lease.ts';
import { workingFor } from '../process/owner.ts';
import { openDriver } from '../volumes/open-driver.ts';
import { commandFor, type ChildCommand } from './command.ts';
import { beginHeartbeat, type Heartbeat } from './heartbeat.ts';
import type { AgentOptions } from './options.ts';
import { bytesOf, completedStatus, foundWrong, timestamp, transferred, type OwnedStatus } from './outcome.ts';
import { ProgressReports } from './progress-reports.ts';
import { TransferFailure } from './reasons.ts';
import type { Scratch } from './scratch.ts';
import { NotOurs, StatusWriter } from './status-writer.ts';
import { runTransfer } from './transfer-process.ts';
import { transferID, volumeOf, type Transfer } from './transfer.ts';

/** What jobs share. */
export interface JobContext {
  readonly client: Client;
  readonly options: AgentOptions;
  readonly scratch: Scratch;
  readonly events: EventRecorder;
  readonly metrics: TransferMetrics;
  readonly log: Logger;
}

/** Why a job is to end before its child does. */
export type StopReason =
  /** The object is told: cancelled. */
  | 'cancel'
  /** It is another one's: nothing is said. */
  | 'abandon'
  /** The agent ends: its claim stays, and the next agent begins it again. */
  | 'drain';

/** What the object is told at the end of an attempt. */
type End = OwnedStatus & ReturnType<typeof transferred>;

/** One attempt at a transfer that this agent has claimed: lease, child, reports, end. */
export class Job {
  readonly uid: string;
  readonly id: string;
  /** Resolves when nothing of it is left here. Never rejects. */
  readonly ended: Promise<void>;
  readonly #context: JobContext;
  readonly #writer: StatusWriter;
  readonly #heartbeat: Heartbeat;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  /** Fires when a report that the server does not take is given up. */
  readonly #patience = new AbortController();
  readonly #began = performance.now();
  #reason: StopReason | undefined;

  private constructor(context: JobContext, writer: StatusWriter, heartbeat: Heartbeat, adopted: boolean) {
    this.#context = context;
    this.#writer = writer;
    this.#heartbeat = heartbeat;
    this.id = transferID(writer.transfer);
    this.uid = writer.transfer.object.metadata.uid;
    this.#log = context.log.child({ transfer: this.id, volume: volumeOf(writer.transfer) });
    heartbeat.lost.addEventListener('abort', () => {
      this.#log.warn('the lease of the transfer is lost or cannot be renewed: it is stopped');
      this.stop('abandon');
    });
    if (heartbeat.lost.aborted) this.stop('abandon');
    this.ended = this.#run(adopted)
      .catch((error: unknown) =>
        this.#log.error({ err: error }, 'the transfer could not be brought to its end'),
      )
      .then(() => heartbeat.release());
  }

  /**
   * Takes the lease, then the object (K-12, K-13), and begins. Undefined where somebody else has the lease or was quicker; throws an
   * ApiError where the server does not answer.
   */
  static async begin(
    context: JobContext,
    transfer: Transfer,
    claim: LeaseClaim,
    adopted: boolean,
  ): Promise<Job | undefined> {
    const { client, options, log } = context;
    const id = transferID(transfer);
    const onFailure = (error: unknown): void => log.warn({ transfer: id }, describeCause(error));
    const heartbeat = await beginHeartbeat(claim, onFailure);
    if (heartbeat === undefined) return undefined;
    const writer = new StatusWriter(client, options.pod, transfer);
    const { status } = transfer.object;
    const doing = transfer.operation === 'backup' ? 'is backed up' : 'is restored';
    try {
      await writer.claim({
        startTimestamp: status?.startTimestamp ?? timestamp(new Date()),
        ...(status?.snapshotID !== undefined && { snapshotID: status.snapshotID }),
        ...transferred(
          'Unknown',
          REASONS.processing,
          `${volumeOf(transfer) ?? transfer.object.metadata.name} ${doing} on node ${options.node}${adopted ? ', begun again after its agent ended' : ''}`,
        ),
      });
    } catch (error) {
      await heartbeat.release();
      if (isApiError(error, 'conflict', 'missing')) return undefined;
      throw error;
    }
    return new Job(context, writer, heartbeat, adopted);
  }

  get stopping(): boolean {
    return this.#reason !== undefined;
  }

  /** The first reason counts, but for a drain: whoever cancels meanwhile is told so. */
  stop(reason: StopReason): void {
    if (this.#reason === undefined || this.#reason === 'drain') this.#reason = reason;
    this.#stop.abort();
  }

  async #run(adopted: boolean): Promise<void> {
    const { scratch, events } = this.#context;
    const { transfer } = this.#writer;
    this.#log.info({ object: nameOf(transfer), adopted }, 'begun');
    events.record(transfer.object, 'Normal', REASONS.processing, this.#sentence());
    let end: End | undefined;
    try {
      end = await this.#carry(adopted);
    } catch (error) {
      end = this.#failure(error);
    } finally {
      await scratch.remove(this.id).catch((error: unknown) => this.#log.error(describeCause(error)));
    }
    if (end === undefined || this.#reason === 'abandon') return;
    await this.#report(end);
  }

  /** The child, from its files to its summary. */
  async #carry(adopted: boolean): Promise<End> {
    const { client, options, scratch } = this.#context;
    const { transfer } = this.#writer;
    const folder = await scratch.make(this.id);
    const name = transferSecretName(this.id);
    const secret = await orMissing(
      client.of(SECRETS).get(options.namespace, name, { signal: this.#stop.signal }),
    );
    if (secret === undefined) {
      const cause = `the secret ${options.namespace}/${name} is gone`;
      throw new TransferFailure({
        operation: 'open the repository of',
        subject: nameOf(transfer),
        cause,
        reason: REASONS.secretMissing,
      });
    }
    const command = commandFor(transfer, {
      ...{ secret: secretValues(secret), folder, cephConf: options.cephConf, inherited: process.env },
    });
    for (const [path, content] of command.files) await writeFile(path, content, { mode: 0o600 });
    if (adopted) await this.#cleanUp(command);
    const reports = new ProgressReports(this.#writer, options.progressIntervalMs, (error) => {
      this.#log.warn(describeCause(error));
      if (error instanceof NotOurs) this.stop('abandon');
    });
    try {
      const summary = await runTransfer({
        ...command,
        memoryLimitBytes: options.childMemoryBytes,
        command: options.command,
        signal: this.#stop.signal,
        lease: () => this.#heartbeat.term,
        onStart: (pid) => this.#log.info({ pid }, 'child started'),
        onLingering: (message) => {
          this.#log.error(message);
          this.#context.events.record(transfer.object, 'Warning', REASONS.timedOut, message);
        },
        onProgress: (progress) => reports.update(progress),
        onNote: (note) => this.#log.info({ source: 'child' }, note),
      });
      return completedStatus(transfer.operation, command.subject, summary, new Date());
    } catch (error) {
      await this.#cleanUp(command);
      throw error;
    } finally {
      await reports.end();
    }
  }

  /** What a child that was killed left on the storage; its own holds are told from those of the living by the driver. */
  async #cleanUp({ ceph }: ChildCommand): Promise<void> {
    const storage = this.#writer.transfer.object.status?.storage;
    if (storage === undefined) return;
    try {
      const { driver, location } = openDriver(`${storage.driver}:${storage.location}`, {
        ...(ceph !== undefined && { ceph }),
      });
      try {
        const clean = () => driver.cleanUp(location);
        // Who worked for the transfer has ended, wherever he was, as long as the lease is ours.
        const ours = !this.#heartbeat.lost.aborted;
        for (const line of await (ours ? workingFor(this.id, clean) : clean())) this.#log.info(line);
      } finally {
        await driver.close();
      }
    } catch (error) {
      // The next attempt, and the controller's cleanup, try again.
      this.#log.warn(describeCause(error));
    }
  }

  /** What the object is told of a failure; nothing where the child was stopped because the transfer is not ours. */
  #failure(error: unknown): End | undefined {
    const subject = nameOf(this.#writer.transfer);
    if (this.#reason === 'cancel') {
      const sentence = `${this.#writer.transfer.operation} ${subject}: stopped since it was cancelled`;
      return transferred('False', REASONS.canceled, sentence);
    }
    if (this.#reason !== undefined || error instanceof NotOurs) return undefined;
    if (error instanceof TransferFailure && error.reason === REASONS.canceled) {
      // Nobody here has stopped it: it stood still until its lease seemed to be over, or somebody ended it by hand.
      return transferred('False', REASONS.transferFailed, error.message);
    }
    if (error instanceof TransferFailure) {
      const end = transferred('False', error.reason, error.message);
      return error.foundWrong ? { ...end, verification: foundWrong(end.message, new Date()) } : end;
    }
    const retryable = error instanceof DatamoverError && error.retryable;
    return transferred('False', retryable ? REASONS.transferFailed : REASONS.error, describeCause(error));
  }

  /** The end of the attempt: status (K-21), event, metrics, log, in the same words. */
  async #report(end: End): Promise<void> {
    const { events, metrics } = this.#context;
    const { transfer } = this.#writer;
    const { message } = end;
    const { status, reason } = end.transferred;
    const outcome: Outcome =
      status === 'True' ? 'completed' : reason === REASONS.canceled ? 'canceled' : 'failed';
    metrics.ended({
      ...{ operation: transfer.operation, driver: transfer.object.status?.storage?.driver ?? 'none' },
      ...{ outcome, reason, seconds: (performance.now() - this.#began) / 1000, bytes: bytesOf(end) },
    });
    this.#log[outcome === 'failed' ? 'warn' : 'info']({ outcome, reason }, message);
    const onFailure = (error: unknown): void => this.#log.warn(describeCause(error));
    try {
      await this.#writer.insist(end, onFailure, this.#patience.signal);
    } catch (error) {
      if (error instanceof NotOurs) {
        this.#log.warn(error.message);
        return;
      }
      if (!isApiError(error, 'invalid') || status !== 'True') throw error;
      // Without any report the whole transfer would be begun again and again.
      this.#log.error(error.message);
      const refusal = transferred('False', REASONS.error, error.message);
      await this.#writer.insist(refusal, onFailure, this.#patience.signal);
      return;
    }
    const type = outcome === 'failed' ? 'Warning' : 'Normal';
    events.record(transfer.object, type, reason, message);
    const wrong = outcome === 'completed' && end.verification?.state === 'Failed';
    if (wrong)
      events.record(transfer.object, 'Warning', REASONS.fullRead, end.verification.message ?? message);
  }

  /** The agent ends now: a report that the server has not taken yet is given up; the next agent carries the transfer again. */
  giveUp(): void {
    this.#patience.abort();
  }

  #sentence(): string {
    return this.#writer.transfer.object.status?.message ?? 'begun';
  }
}

function nameOf({ object }: Transfer): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
