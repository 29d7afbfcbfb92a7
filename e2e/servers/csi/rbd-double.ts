import { status } from '@grpc/grpc-js';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../../datamover/process/spawn.ts';
import { CsiFailure, type CsiDriver, type MadeSnapshot, type MadeVolume } from './driver.ts';
import { OneAtATime } from './one-at-a-time.ts';
import { formatRbdHandle, parseRbdHandle, type RbdHandle } from './rbd-handle.ts';
import { ignoreMissing, RbdJournal, type CephTool, type JournalKind } from './rbd-journal.ts';

export const RBD_DRIVER = 'rbd.csi.ceph.com';

export interface RbdDoubleOptions {
  /** `CEPH_CONF` of a ceph.conf that says where the monitors are. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where it may keep files with its users' keys. */
  readonly home: string;
  readonly clusterId: string;
  readonly pool: string;
  readonly poolId: number;
}

type Texts = Readonly<Record<string, string>>;

const MEBIBYTE = 2 ** 20;
const GIBIBYTE = 2 ** 30;
const FEATURES = 'layering,exclusive-lock,object-map,fast-diff,deep-flatten';

/**
 * A double of ceph-csi's controller service on a real Ceph: images, clones, snapshots, journal and trash as ceph-csi leaves them
 * (internal/rbd of https://github.com/ceph/ceph-csi, v3.12). Its module is not served by module proxies, so the real one cannot be
 * built here. Left out: encryption, clones of volumes, groups, mirroring, limits of snapshots and clone depth.
 */
export class RbdDouble implements CsiDriver {
  readonly name = RBD_DRIVER;
  readonly topology = false;
  readonly #options: RbdDoubleOptions;
  readonly #journal: RbdJournal;
  readonly #queue = new OneAtATime();

  constructor(options: RbdDoubleOptions) {
    this.#options = options;
    this.#journal = new RbdJournal(options.pool);
  }

  createVolume(request: Parameters<CsiDriver['createVolume']>[0]): Promise<MadeVolume> {
    return this.#queue.run(request.name, async () => {
      const { parameters, snapshot } = request;
      const tool = await this.#tool(request.secrets);
      const bytes = rounded(request.bytes);
      const features = parameters['imageFeatures'] ?? FEATURES;
      const known = await this.#journal.find(tool, 'volume', request.name);
      const owner = parameters['csi.storage.k8s.io/pvc/namespace'] ?? '';
      const { uuid } =
        known === undefined
          ? await this.#journal.reserve(tool, 'volume', request.name, { 'csi.volume.owner': owner })
          : { uuid: known };
      const image = `csi-vol-${uuid}`;
      if ((await this.#info(tool, image)) === undefined) {
        if (snapshot === undefined)
          await this.#rbd(
            tool,
            'create',
            '--size',
            `${bytes}B`,
            '--image-feature',
            features,
            this.#spec(image),
          );
        else await this.#clone(tool, await this.#existing(tool, 'snapshot', snapshot), image, features);
      }
      const made = await this.#info(tool, image);
      if (made === undefined) throw new CsiFailure(status.INTERNAL, `${image} is not there`);
      if (made.size > bytes)
        throw new CsiFailure(status.INVALID_ARGUMENT, `volume size ${bytes} is smaller than ${made.size}`);
      if (made.size < bytes) await this.#rbd(tool, 'resize', '--size', `${bytes}B`, this.#spec(image));
      await this.#journal.note(tool, 'volume', uuid, { 'csi.imageid': made.id });
      const context = Object.fromEntries(
        Object.entries(parameters).filter(([key]) => !key.startsWith('csi.storage.k8s.io/')),
      );
      return {
        handle: this.#handle(uuid),
        bytes,
        context: { ...context, imageName: image, journalPool: this.#options.pool },
      };
    });
  }

  async deleteVolume(handle: string, secrets: Texts): Promise<void> {
    await this.#delete('volume', handle, secrets, async (tool, image) => {
      await this.#bin(tool, image);
    });
  }

  createSnapshot(request: Parameters<CsiDriver['createSnapshot']>[0]): Promise<MadeSnapshot> {
    return this.#queue.run(request.name, async () => {
      const tool = await this.#tool(request.secrets);
      const source = await this.#existing(tool, 'volume', request.volume);
      const known = await this.#journal.find(tool, 'snapshot', request.name);
      const { uuid } =
        known === undefined
          ? await this.#journal.reserve(tool, 'snapshot', request.name, { 'csi.source': source.image })
          : { uuid: known };
      const image = `csi-snap-${uuid}`;
      if ((await this.#info(tool, image)) === undefined) {
        const taken = `${source.image}@${image}`;
        await this.#rbd(tool, 'snap', 'create', '--no-progress', this.#spec(taken)).catch(ignoreExisting);
        await this.#clone(tool, { image: source.image, snap: image }, image, 'layering,deep-flatten');
        // The clone keeps it alive in the trash namespace of the source's snaps.
        await this.#rbd(tool, 'snap', 'rm', '--no-progress', this.#spec(taken));
      }
      await this.#rbd(tool, 'snap', 'create', '--no-progress', this.#spec(`${image}@${image}`)).catch(
        ignoreExisting,
      );
      const made = await this.#info(tool, image);
      if (made === undefined) throw new CsiFailure(status.INTERNAL, `${image} is not there`);
      await this.#journal.note(tool, 'snapshot', uuid, { 'csi.imageid': made.id });
      return this.#madeSnapshot(uuid, request.volume, made);
    });
  }

  async deleteSnapshot(handle: string, secrets: Texts): Promise<void> {
    await this.#delete('snapshot', handle, secrets, async (tool, image) => {
      const snap = this.#spec(`${image}@${image}`);
      await this.#rbd(tool, 'snap', 'rm', '--no-progress', snap).catch(ignoreMissing);
      await this.#bin(tool, image);
    });
  }

  readonly findSnapshot = async (handle: string, secrets: Texts): Promise<MadeSnapshot | undefined> => {
    const parsed = this.#parse(handle);
    const tool = await this.#tool(secrets);
    const entry = parsed && (await this.#journal.read(tool, 'snapshot', parsed.uuid));
    const made = entry && (await this.#info(tool, entry.image));
    if (parsed === undefined || entry === undefined || made === undefined) return undefined;
    const source = (entry.source ?? '').replace('csi-vol-', '');
    return this.#madeSnapshot(parsed.uuid, this.#handle(source), made);
  };

  /** Of either kind: an unknown handle is gone already; otherwise the image goes, then its place in the journal. */
  async #delete(
    kind: JournalKind,
    handle: string,
    secrets: Texts,
    remove: (tool: CephTool, image: string) => Promise<void>,
  ): Promise<void> {
    await this.#queue.run(handle, async () => {
      const parsed = this.#parse(handle);
      if (parsed === undefined) return;
      const tool = await this.#tool(secrets);
      const entry = await this.#journal.read(tool, kind, parsed.uuid);
      if (entry === undefined) return;
      await remove(tool, entry.image);
      await this.#journal.release(tool, kind, parsed.uuid, entry.name);
    });
  }

  async #existing(
    tool: CephTool,
    kind: JournalKind,
    handle: string,
  ): Promise<{ image: string; snap: string }> {
    const parsed = this.#parse(handle);
    const entry = parsed && (await this.#journal.read(tool, kind, parsed.uuid));
    if (entry === undefined) throw new CsiFailure(status.NOT_FOUND, `${kind} ${handle} is not known`);
    return { image: entry.image, snap: entry.image };
  }

  async #clone(
    tool: CephTool,
    from: { image: string; snap: string },
    to: string,
    features: string,
  ): Promise<void> {
    const parent = this.#spec(`${from.image}@${from.snap}`);
    const options = ['--rbd-default-clone-format', '2', '--image-feature', features];
    await this.#rbd(tool, 'clone', ...options, parent, this.#spec(to));
  }

  /** Into the trash, and out of it as far as children allow: what is left over goes with the last child. */
  async #bin(tool: CephTool, image: string): Promise<void> {
    const open = await this.#rbd(tool, 'status', this.#spec(image), '--format', 'json').catch(ignoreMissing);
    if (open === undefined) return;
    if ((JSON.parse(open) as { watchers?: unknown[] }).watchers?.length)
      throw new CsiFailure(status.INTERNAL, `rbd ${image} is still being used`);
    await this.#rbd(tool, 'trash', 'mv', this.#spec(image));
    // ceph-csi leaves this to a task of the manager, which tries again for as long as it takes.
    await this.#queue.run('trash', async () => {
      const { pool } = this.#options;
      const listed = await this.#rbd(tool, 'trash', 'ls', '--pool', pool, '--format', 'json');
      for (const { id } of JSON.parse(listed) as { id: string }[])
        await this.#rbd(tool, 'trash', 'rm', '--no-progress', this.#spec(id)).catch(() => undefined);
    });
  }

  async #info(tool: CephTool, image: string): Promise<ImageInfo | undefined> {
    const said = await this.#rbd(tool, 'info', this.#spec(image), '--format', 'json').catch(ignoreMissing);
    return said === undefined ? undefined : (JSON.parse(said) as ImageInfo);
  }

  #madeSnapshot(uuid: string, volume: string, made: ImageInfo): MadeSnapshot {
    const created = new Date(`${made.create_timestamp} UTC`);
    return { handle: this.#handle(uuid), volume, bytes: made.size, created, ready: true };
  }

  #handle(uuid: string): string {
    const { clusterId, poolId } = this.#options;
    return formatRbdHandle({ clusterId, poolId, uuid });
  }

  #parse(handle: string): RbdHandle | undefined {
    const parsed = parseRbdHandle(handle);
    if (parsed === undefined) return undefined;
    const { clusterId, poolId } = this.#options;
    if (parsed.clusterId === clusterId && parsed.poolId === poolId) return parsed;
    throw new CsiFailure(status.INTERNAL, `cluster ${parsed.clusterId} or its pool is not configured`);
  }

  #spec(image: string): string {
    return `${this.#options.pool}/${image}`;
  }

  #rbd(tool: CephTool, ...args: string[]): Promise<string> {
    return tool('rbd', ...args);
  }

  /** With the rights of the user that the class's secret names, as ceph-csi does: a wrong secret is a failure. */
  async #tool(secrets: Texts): Promise<CephTool> {
    const { userID, userKey } = secrets;
    if (userID === undefined || userKey === undefined)
      throw new CsiFailure(status.INVALID_ARGUMENT, 'missing ID field userID or userKey in secrets');
    const digest = createHash('sha256').update(userKey).digest('hex').slice(0, 16);
    const keyFile = join(this.#options.home, `key-${digest}`);
    if (!existsSync(keyFile)) await writeFile(keyFile, userKey, { mode: 0o600 });
    return async (file, ...args) => {
      const access = ['--id', userID, '--keyfile', keyFile];
      return (await run({ file, args: [...access, ...args], env: this.#options.environment })).stdout;
    };
  }
}

interface ImageInfo {
  readonly id: string;
  readonly size: number;
  readonly create_timestamp: string;
}

/** As ceph-csi rounds: to mebibytes, and from one gibibyte on to gibibytes. */
function rounded(bytes: number): number {
  const unit = bytes < GIBIBYTE ? MEBIBYTE : GIBIBYTE;
  return Math.max(1, Math.ceil(bytes / unit)) * unit;
}

function ignoreExisting(error: unknown): undefined {
  if (!String(error).includes('File exists')) throw error;
  return undefined;
}
