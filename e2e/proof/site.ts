import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DATAMOVER } from '../../datamover/cli/testing/command.ts';
import { run, start, type Output } from '../../datamover/process/spawn.ts';
import { addKey } from '../../datamover/repository/keys.ts';
import { Repository } from '../../datamover/repository/repository.ts';
import { openStore } from '../../datamover/store/location.ts';
import type { Store } from '../../datamover/store/store.ts';
import type { Peer } from '../servers/peers.ts';
import { makeBucket, s3Environment, type S3Endpoint } from '../servers/s3-server.ts';
import { scratchDirectory } from '../servers/scratch.ts';

export const PASSWORD = 'proof of the pudding';
export const VOLUME = 'shop/database';

/** A key that opens in a millisecond: the programs of a proof open a repository hundreds of times. */
const CHEAP_KDF = { N: 1024, r: 8, p: 1 };

export type Environment = Readonly<Record<string, string | undefined>>;

/** A folder with images, and a repository in it or in a bucket, which our command and the peers' work on. */
export class Site {
  readonly folder: string;
  readonly location: string;
  readonly env: Environment;

  private constructor(folder: string, location: string, env: Environment) {
    this.folder = folder;
    this.location = location;
    this.env = env;
  }

  static async local(name: string): Promise<Site> {
    const folder = await scratchDirectory(name);
    return new Site(folder, join(folder, 'repository'), {});
  }

  static async inBucket(name: string, server: S3Endpoint): Promise<Site> {
    const bucket = await makeBucket(server);
    const location = `s3:${server.endpoint}/${bucket}/scope`;
    return new Site(await scratchDirectory(name), location, s3Environment(server));
  }

  /** Another repository beside this one, in the same folder. */
  beside(name: string): Site {
    return new Site(this.folder, join(this.folder, name), this.env);
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  store(): Promise<Store> {
    return openStore(this.location, this.env);
  }

  /** A repository with a key that is cheap to open; `datamover init` makes one with the usual key. */
  async init(version: 1 | 2 = 2): Promise<void> {
    const store = await this.store();
    await Repository.init(store, PASSWORD, { version, kdf: CHEAP_KDF });
    await store.close();
  }

  /** Puts a cheap key in the place of the one that our command or a peer made. */
  async cheapen(): Promise<void> {
    const store = await this.store();
    const { key, keyId } = await Repository.open(store, PASSWORD);
    await addKey({ store, key, keyId }, PASSWORD, {}, CHEAP_KDF);
    await store.remove({ type: 'keys', name: keyId });
    await store.close();
  }

  environment(more: Environment = {}): Environment {
    const cleared = Object.keys(process.env).filter((name) => /^(RESTIC|RUSTIC|AWS)_/.test(name));
    return {
      ...Object.fromEntries(cleared.map((name) => [name, undefined])),
      ...this.env,
      RESTIC_REPOSITORY: this.location,
      RESTIC_PASSWORD: PASSWORD,
      ...more,
    };
  }

  /** Runs our command, which must succeed. */
  async datamover(args: readonly string[], more: Environment = {}): Promise<string> {
    const { stdout } = await run({ file: DATAMOVER, args, env: this.environment(more) });
    return stdout;
  }

  /** Runs our command and gives the last JSON value that it prints: the summary of a job, or a list. */
  async json(args: readonly string[], more: Environment = {}): Promise<unknown> {
    const lines = (await this.datamover(['--json', ...args], more)).trim().split('\n');
    return JSON.parse(lines.at(-1) ?? '');
  }

  async backUp(path: string, ...options: string[]): Promise<BackupResult> {
    return (await this.json(['backup', `file:${path}`, '--volume', VOLUME, ...options])) as BackupResult;
  }

  /** Restores with our command, which verifies what it wrote, and gives the SHA-256 of what is there then. */
  async restoredHash(snapshot: string, volume = VOLUME): Promise<string> {
    const target = this.path(`restored-${snapshot.replaceAll('~', '-')}`);
    await this.datamover(['restore', snapshot, '--volume', volume, '--to', `file:${target}`, '--verify']);
    const hash = await hashOf(target);
    await rm(target);
    return hash;
  }

  /** Runs a peer, which must succeed, and gives what it prints. */
  async peer(peer: Peer, args: readonly string[], more: Environment = {}): Promise<string> {
    return (await this.tryPeer(peer, args, more, [0])).stdout;
  }

  async tryPeer(
    peer: Peer,
    args: readonly string[],
    more: Environment = {},
    accept: readonly number[] = Array.from({ length: 256 }, (_, status) => status),
  ): Promise<Output> {
    return run({ ...this.#command(peer, args, more), accept });
  }

  /** The SHA-256 of what a peer prints, however much that is. */
  async peerHash(peer: Peer, args: readonly string[]): Promise<string> {
    const running = await start(this.#command(peer, args, {}));
    const hash = createHash('sha256');
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) hash.update(chunk);
    await running.finished;
    return hash.digest('hex');
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  #command(peer: Peer, args: readonly string[], more: Environment) {
    const isRustic = peer.name === 'rustic';
    const env = this.environment({
      ...(isRustic && {
        RUSTIC_REPOSITORY: this.location,
        RUSTIC_PASSWORD: PASSWORD,
        RUSTIC_NO_CACHE: 'true',
        // Not the home of whoever runs the tests: rustic looks for its configuration there.
        HOME: this.folder,
      }),
      TZ: 'UTC',
      ...more,
    });
    return { file: peer.file, args: isRustic ? args : ['--no-cache', ...args], env };
  }
}

/** The summary of `datamover backup`, as far as proofs look at it. */
export interface BackupResult {
  readonly snapshot_id: string;
  readonly data_added: number;
  readonly data_added_packed: number;
  readonly deduplicated_bytes: number;
  readonly packs: number;
}

export async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}

/** The hash of the files `<folder>/<n>/data` one after the other: what `cat image/*\/data` gives. */
export async function hashOfSegments(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).sort()) {
    for await (const chunk of createReadStream(join(folder, name, 'data')) as AsyncIterable<Buffer>) {
      hash.update(chunk);
    }
  }
  return hash.digest('hex');
}

/** Writes a folder of files for the peers' own backups. */
export async function writeTree(folder: string, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}
