import { writeSync } from 'node:fs';
import { hasReader } from '../../process/pipe.ts';
import type { Running } from '../../process/spawn.ts';
import { Cluster } from './cluster.ts';
import type { RbdConnection } from './command.ts';
import { holdSnaps, releaseStaleHolds, unsureHolds } from './hold.ts';
import { JobReader } from './job-reader.ts';
import { fixed } from './librbd.ts';
import type { OpenImage } from './open-image.ts';
import { PipeWriter } from './pipe-writer.ts';
import type { ReadJob } from './read-job.ts';
import { PIPE, ROOM, type About, type Question } from './session-protocol.ts';

/** What changed in such an image is said within a tenth of a second, also where each object is asked. */
const SMALL_BYTES = 2 ** 36;

interface Reading {
  readonly reader: JobReader;
  /** Its snap. */
  readonly image: Promise<OpenImage>;
  readonly release: Promise<() => Promise<void>>;
}

/** The work of a session process: what it has open, and what it holds. */
export class SessionWork {
  readonly #connection: RbdConnection;
  #cluster: Promise<Cluster> | undefined;
  readonly #pipe = new PipeWriter(PIPE);
  readonly #stop = new AbortController();
  readonly #programs = new Set<number>();
  /** Clean-ups: an image must not be left open to write. */
  readonly #cleaning = new Set<Promise<unknown>>();
  /** That ranges are read into, when they are not. */
  readonly #buffers: Buffer[] = [];
  #reading: Reading | undefined;
  #released: Promise<void> | undefined;

  constructor(connection: RbdConnection) {
    this.#connection = connection;
    this.#connected().catch(() => undefined);
  }

  async answer(question: Question): Promise<unknown> {
    const cluster = await this.#connected();
    switch (question.topic) {
      case 'look':
        return cluster.look(question.about);
      case 'flags':
        return flagsOf(cluster, question.about);
      case 'names':
        return cluster.names(question.about);
      case 'clean':
        return this.#clean(cluster, question.about);
      case 'unsure':
        return unsureHolds(cluster, question.about);
      case 'hold':
        await this.#hold(cluster, question.about);
        return null;
      case 'read':
        return this.#read();
      case 'range':
        return this.#range(question.about);
      case 'release':
        await this.#release();
        return null;
    }
  }

  /** Nobody asks any more. What was to be held is let go, also if it was not held yet. */
  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([this.#release(), ...this.#cleaning]);
    await this.#release();
  }

  /** Ends the programs that may be at work. */
  kill(): void {
    for (const pid of this.#programs) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
  }

  /** Once more at the next question where it failed: a monitor may have been away for a moment. */
  #connected(): Promise<Cluster> {
    if (this.#cluster !== undefined) return this.#cluster;
    const cluster = Cluster.connect(this.#connection);
    this.#cluster = cluster;
    cluster.catch(() => {
      this.#cluster = undefined;
    });
    return cluster;
  }

  async #clean(cluster: Cluster, about: About<'clean'>): Promise<string[]> {
    const cleaning = releaseStaleHolds(cluster, about);
    this.#cleaning.add(cleaning);
    try {
      return await cleaning;
    } finally {
      this.#cleaning.delete(cleaning);
    }
  }

  async #hold(cluster: Cluster, job: ReadJob): Promise<void> {
    if (this.#reading !== undefined) throw new Error('a session holds once');
    // What comes at the very end would be let go by nobody.
    this.#stop.signal.throwIfAborted();
    const { source, reading } = job;
    const image = cluster.openMoment(source.name, source);
    image.catch(() => undefined);
    const held = reading.kind === 'changes' ? reading.held : [];
    const hold = () => holdSnaps(cluster, [source, ...held]);
    const reader = new JobReader(this.#connection, cluster, job);
    const release = reading.kind === 'changes' && job.bytes <= SMALL_BYTES ? reader.begun.then(hold) : hold();
    this.#reading = { reader, image, release };
    await release;
  }

  async #read(): Promise<'ended' | 'cut off'> {
    try {
      const { reader, image, release } = this.#held();
      const from = { image, held: release };
      await reader.write(this.#pipe, from, this.#stop.signal, (program) => this.#noteProgram(program));
      return 'ended';
    } catch (error) {
      // Then the failure is our reader's, and it knows why.
      if (!hasReader(PIPE)) return 'cut off';
      throw error;
    } finally {
      this.#pipe.close();
    }
  }

  /** While it runs: its number is another's afterwards. */
  #noteProgram({ pid, finished }: Running): void {
    this.#programs.add(pid);
    const forget = (): void => void this.#programs.delete(pid);
    finished.then(forget, forget);
  }

  async #range({ offset, length, at }: About<'range'>): Promise<number> {
    const { image: opening, reader } = this.#held();
    const image = await opening;
    // One thread asks Ceph: a sample would only keep back what the backup waits for.
    await Promise.allSettled([reader.extents]);
    const bytes = Math.max(0, Math.min(length, image.bytes - offset));
    const buffer = this.#takeBuffer(bytes);
    try {
      await image.read(offset, buffer.subarray(0, bytes));
      for (let done = 0; done < bytes;) done += writeSync(ROOM, buffer, done, bytes - done, at + done);
    } finally {
      this.#buffers.push(buffer);
    }
    return bytes;
  }

  /** One that was used before has its memory already. */
  #takeBuffer(bytes: number): Buffer {
    const used = this.#buffers.pop();
    return used !== undefined && used.length >= bytes ? used : fixed(bytes);
  }

  #release(): Promise<void> {
    const held = this.#reading?.release;
    return (this.#released ??= (async () => {
      const release = await held?.catch(() => undefined);
      await release?.();
    })());
  }

  #held(): Reading {
    if (this.#reading === undefined) throw new Error('nothing is held');
    return this.#reading;
  }
}

async function flagsOf(cluster: Cluster, { image, snapIds }: About<'flags'>): Promise<number[]> {
  const flags: number[] = [];
  for (const snapId of snapIds) {
    const open = await cluster.openMoment(image.name, { imageId: image.imageId, snapId });
    flags.push(open.flags);
    await open.close();
  }
  return flags;
}
