import { DatamoverError } from '../../errors.ts';
import { within } from '../../process/within.ts';
import type { ByteRange, FeedPipe, HeldRead, RangeContent } from '../driver.ts';
import type { RbdConnection } from './command.ts';
import { checkImageName, formatImageName, withoutSnap } from './image-name.ts';
import type { ReadJob } from './read-job.ts';
import { Session, type Asking } from './session.ts';

/** As many as are read from the cluster at a time. */
const AT_ONCE = 4;
/** How long a cluster that does not answer may take to let go; then the next clean-up does. */
const RELEASE_MS = 30_000;
/** After a session that died with the image open to write: its lock is another's after half a minute. */
const RELEASE_AFTER_DEATH_MS = 75_000;
/** How long it may take to say how a stream ended that nobody reads any more. */
const FINISH_MS = 5000;

/** A snap while it is read, and the process that holds it and reads it: that lets go when we die. */
export class HeldImage implements HeldRead {
  readonly feed: HeldRead['feed'];
  readonly readRanges: NonNullable<HeldRead['readRanges']>;
  readonly held: Promise<void>;
  readonly #connection: RbdConnection;
  readonly #session: Session;
  readonly #job: ReadJob;
  #released: Promise<void> | undefined;
  /** Bytes of the session's room that are somebody's; there are few who read ranges. */
  #roomUsed = 0;

  private constructor(
    connection: RbdConnection,
    session: Session,
    job: ReadJob,
    holding: Promise<unknown>,
    pipe: FeedPipe,
  ) {
    this.#connection = connection;
    this.#session = session;
    this.#job = job;
    this.held = holding.then(() => undefined);
    // Whoever reads the pipe hears of it.
    this.held.catch(() => undefined);
    const { kind } = job.reading;
    this.feed = { kind: 'rbd-diff', pipe, increment: kind === 'changes' || kind === 'unchanged' };
    this.readRanges = (ranges, signal) => this.#ranges(ranges, signal);
  }

  /** Takes the session over. */
  static async hold(
    connection: RbdConnection,
    session: Session,
    job: ReadJob,
    signal?: AbortSignal,
  ): Promise<HeldImage> {
    const { source, reading } = job;
    const subject = formatImageName(source.name);
    const named = reading.kind === 'changes' ? [reading.base, ...reading.held, ...reading.clones] : [];
    try {
      for (const { name } of [source, ...named]) checkImageName(name);
      const holding = session.ask('hold', job, { operation: 'hold snap of rbd image', subject, signal });
      // Before anybody reads it: the pipe has room, and whoever reads has other things to prepare.
      const saying = session.ask('read', null, { operation: 'read rbd image', subject, signal });
      const read = Promise.all([holding, saying]).then(([, how]) => how);
      const failed = new AbortController();
      read.catch(() => failed.abort());
      const fd = await session.pipe();
      const finish = async (): Promise<'ended' | 'cut off'> => {
        await session.closePipe();
        return within(FINISH_MS, read, 'cut off' as const);
      };
      return new HeldImage(connection, session, job, holding, { fd, finish, failed: failed.signal });
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  release(): Promise<void> {
    return (this.#released ??= this.#release());
  }

  async #release(): Promise<void> {
    const image = withoutSnap(this.#job.source.name);
    const asking = { operation: 'let go snap of rbd image', subject: formatImageName(this.#job.source.name) };
    try {
      await this.#session.closePipe();
      await inTime(this.#session.ask('release', null, asking), asking, RELEASE_MS);
    } catch (error) {
      if (!this.#session.ended) throw error;
      // Whoever held it is gone, as a clean-up finds.
      const other = new Session(this.#connection);
      try {
        await inTime(other.ask('clean', image, asking), asking, RELEASE_AFTER_DEATH_MS);
      } finally {
        await other.close();
      }
    } finally {
      // Nobody waits for its end here: it holds nothing any more, and the driver's close does.
      void this.#session.close();
    }
  }

  done(): void {
    this.release().catch(() => undefined);
  }

  async *#ranges(ranges: readonly ByteRange[], signal?: AbortSignal): AsyncGenerator<RangeContent> {
    const subject = formatImageName(this.#job.source.name);
    const asking = { operation: 'read parts of rbd image', subject, signal };
    const longest = ranges.reduce((most, { length }) => Math.max(most, length), 0);
    const room = this.#roomUsed;
    this.#roomUsed += AT_ONCE * longest;
    const place = (i: number): number => room + (i % AT_ONCE) * longest;
    const buffer = Buffer.allocUnsafeSlow(longest);
    const reads: Promise<number>[] = [];
    const begin = (i: number): void => {
      const range = ranges[i];
      if (range === undefined) return;
      const read = this.#session.ask('range', { ...range, at: place(i) }, asking);
      read.catch(() => undefined);
      reads.push(read);
    };
    for (let i = 0; i < AT_ONCE; i++) begin(i);
    for (const [i, { offset }] of ranges.entries()) {
      const bytes = buffer.subarray(0, await reads.shift());
      await this.#session.take(place(i), bytes, asking);
      // In the same place.
      begin(i + AT_ONCE);
      yield { offset, bytes };
    }
  }
}

async function inTime(asked: Promise<unknown>, { operation, subject }: Asking, ms: number): Promise<void> {
  if ((await within(ms, asked, 'late')) !== 'late') return;
  throw new DatamoverError({
    operation,
    subject,
    cause: `the cluster has not answered for ${ms / 1000} s`,
    hint: 'the next backup of the volume, or datamover cleanup, does it',
  });
}
