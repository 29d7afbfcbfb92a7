import { setTimeout as delay } from 'node:timers/promises';
import { commandFailure, start } from '../../datamover/process/spawn.ts';
import { DATAMOVER } from '../../datamover/cli/testing/command.ts';
import { toBytes } from '../../datamover/repository/id.ts';
import { Repository } from '../../datamover/repository/repository.ts';
import { noise, seededRandom, type Random } from '../../datamover/repository/testing/bytes.ts';
import { writeImage } from '../../datamover/transfer/testing/volumes.ts';
import type { Peer } from '../servers/peers.ts';
import { hashOf, PASSWORD, VOLUME, type Site } from './site.ts';

export type Verb = 'backup' | 'forget' | 'prune';

export interface Tally {
  /** Kills that hit a running process. */
  hits: number;
  /** Of these, how many left a lock behind: the process was at work in the repository, not still starting. */
  atWork: number;
  /** Started processes that had ended before their kill. */
  misses: number;
}

const MIB = 1 << 20;
const IMAGE_BYTES = 40 * MIB;
/** Every how many cycles all bytes are read. */
const READ_DATA_EVERY = 8;

/**
 * Kills our command with SIGKILL at random moments of backup, forget --prune and prune, in a repository whose image changes all
 * the time. After each kill restic checks the repository; then the same command runs to its end, without help.
 */
export class Crashes {
  readonly tallies: Record<Verb, Tally> = { backup: tally(), forget: tally(), prune: tally() };
  readonly #site: Site;
  readonly #restics: readonly Peer[];
  readonly #random: Random;
  readonly #image: string;
  /** Milliseconds that a whole run takes; follows the machine's load. */
  readonly #usual: Record<Verb, number> = { backup: 0, forget: 0, prune: 0 };
  #checks = 0;
  #changes = 0;
  /** What each backup must restore to. */
  readonly #hashes = new Map<string, string>();

  constructor(site: Site, restics: readonly Peer[], seed: number) {
    this.#site = site;
    this.#restics = restics;
    this.#random = seededRandom(seed);
    this.#image = site.path('image');
  }

  get hits(): number {
    return Object.values(this.tallies).reduce((sum, { hits }) => sum + hits, 0);
  }

  get hitsAtWork(): number {
    return Object.values(this.tallies).reduce((sum, { atWork }) => sum + atWork, 0);
  }

  /** Makes the repository, its first backups, and learns how long everything takes unharmed. */
  async prepare(): Promise<void> {
    await this.#site.init();
    await writeImage(this.#image, IMAGE_BYTES, [{ offset: 0, content: noise('base', 24 * MIB) }]);
    for (let i = 0; i < 2; i++) await this.#complete('backup');
    await this.#complete('forget');
    await this.#complete('prune');
  }

  /** Four kills: of two backups, of a forget with something to free, of a prune with something to free. */
  async cycle(number: number): Promise<void> {
    for (const verb of ['backup', 'backup', 'forget', 'prune'] as const) {
      if (verb === 'backup') await this.#change();
      if (verb === 'prune') await this.#forgetOldest();
      await this.#kill(verb);
      await this.#check(['--no-lock']);
      await this.#complete(verb);
    }
    await this.#expectNoOrphans();
    // Without --no-lock: nothing is left that would need an `unlock`.
    await this.#check(number % READ_DATA_EVERY === READ_DATA_EVERY - 1 ? ['--read-data'] : []);
  }

  /** Every backup that is left comes back as it was. Gives how many these were. */
  async finish(): Promise<number> {
    await this.#change();
    await this.#complete('backup');
    await this.#check(['--read-data']);
    await this.#site.datamover(['check', '--read-data']);
    const left = (await this.#site.json(['snapshots', '--volume', VOLUME])) as { id: string }[];
    for (const { id } of left) {
      const restored = await this.#site.restoredHash(id);
      if (restored !== this.#hashes.get(id)) throw new Error(`snapshot ${id} restored to other bytes`);
    }
    return left.length;
  }

  async #change(): Promise<void> {
    const parts = Array.from({ length: 6 }, () => ({
      offset: this.#random.below(IMAGE_BYTES - 4 * MIB),
      content: noise(`change ${this.#changes++}`, 3 * MIB),
    }));
    await writeImage(this.#image, IMAGE_BYTES, parts);
  }

  /** As an earlier `forget` without --prune would have left it. */
  async #forgetOldest(): Promise<void> {
    const store = await this.#site.store();
    const repository = await Repository.open(store, PASSWORD);
    const found = [];
    for await (const { id, snapshot } of repository.snapshots()) found.push({ id, time: snapshot.time });
    const [oldest] = found.sort((a, b) => (a.time < b.time ? -1 : 1));
    await store.remove({ type: 'snapshots', name: oldest?.id ?? '' });
    await store.close();
  }

  #arguments(verb: Verb): string[] {
    switch (verb) {
      case 'backup':
        return ['backup', `file:${this.#image}`, '--volume', VOLUME];
      case 'forget':
        return ['forget', '--keep-last', '2', '--prune'];
      case 'prune':
        return ['prune', '--max-unused', '0'];
    }
  }

  async #complete(verb: Verb): Promise<void> {
    const hash = verb === 'backup' ? await hashOf(this.#image) : undefined;
    const took = await timed(async () => {
      await this.#site.datamover(this.#arguments(verb));
    });
    this.#usual[verb] = this.#usual[verb] === 0 ? took : (this.#usual[verb] + took) / 2;
    if (hash === undefined) return;
    // The killed run may have come as far as its snapshot: that one holds the same image.
    const store = await this.#site.store();
    for await (const { name } of store.list(['snapshots']))
      if (!this.#hashes.has(name)) this.#hashes.set(name, hash);
    await store.close();
  }

  async #kill(verb: Verb): Promise<void> {
    const before = await this.#locks();
    // The first part of a run is the start of the interpreter, where a kill proves little.
    const moment = this.#usual[verb] * (0.3 + (0.7 * this.#random.below(1000)) / 1000);
    const running = await start({
      file: DATAMOVER,
      args: this.#arguments(verb),
      env: this.#site.environment(),
    });
    running.stdout.resume();
    const ended = running.finished.then(
      () => 'finished' as const,
      (error: unknown) => {
        if (commandFailure(error)?.signal === 'SIGKILL') return 'killed' as const;
        throw error;
      },
    );
    const early = await Promise.race([ended, delay(moment, 'still running' as const)]);
    if (early === 'still running') process.kill(running.pid, 'SIGKILL');
    const counts = this.tallies[verb];
    if ((await ended) === 'finished') {
      counts.misses++;
      return;
    }
    counts.hits++;
    if ((await this.#locks()) > before) counts.atWork++;
  }

  async #check(options: readonly string[]): Promise<void> {
    const restic = this.#restics[this.#checks++ % this.#restics.length];
    if (restic !== undefined) await this.#site.peer(restic, ['check', ...options]);
  }

  async #locks(): Promise<number> {
    const store = await this.#site.store();
    let count = 0;
    for await (const file of store.list(['locks'])) count += file.size > 0 ? 1 : 0;
    await store.close();
    return count;
  }

  /** Every pack in the store is named by an index file, and every named one is there. */
  async #expectNoOrphans(): Promise<void> {
    const store = await this.#site.store();
    const repository = await Repository.open(store, PASSWORD);
    const index = await repository.loadIndex();
    let packs = 0;
    for await (const { name } of store.list(['data'])) {
      packs++;
      if (!index.hasPack(toBytes(name))) throw new Error(`pack ${name} survived a prune and is in no index`);
    }
    if (packs !== index.packCount)
      throw new Error(`the index names ${index.packCount} packs, there are ${packs}`);
    await store.close();
  }
}

function tally(): Tally {
  return { hits: 0, atWork: 0, misses: 0 };
}

async function timed(job: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await job();
  return performance.now() - begun;
}
