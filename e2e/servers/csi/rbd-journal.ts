import { randomUUID } from 'node:crypto';
import { commandFailure } from '../../../datamover/process/spawn.ts';

/** Runs one of Ceph's tools with a user's rights. */
export type CephTool = (file: 'rbd' | 'rados' | 'ceph', ...args: string[]) => Promise<string>;

const KINDS = {
  volume: { list: 'csi.volumes.default', entry: 'csi.volume.', name: 'csi.volname', image: 'csi-vol-' },
  snapshot: { list: 'csi.snaps.default', entry: 'csi.snap.', name: 'csi.snapname', image: 'csi-snap-' },
} as const;

export type JournalKind = keyof typeof KINDS;

/**
 * ceph-csi's journal: omap of objects beside the images. A list holds `csi.volume.NAME` -> uuid, an object for each uuid its image
 * and what else there is to know. The list's entry is made first and taken away last, so that a name never gets two images.
 */
export class RbdJournal {
  readonly #pool: string;

  constructor(pool: string) {
    this.#pool = pool;
  }

  /** The uuid of a name that was reserved before. */
  async find(tool: CephTool, kind: JournalKind, name: string): Promise<string | undefined> {
    const { list, entry } = KINDS[kind];
    return this.#value(tool, list, `${entry}${name}`);
  }

  /** Reserves a name for a new image, and tells what the image shall be called. */
  async reserve(
    tool: CephTool,
    kind: JournalKind,
    name: string,
    more: Readonly<Record<string, string>>,
  ): Promise<{ uuid: string; image: string }> {
    const { list, entry, ...keys } = KINDS[kind];
    const uuid = randomUUID();
    const image = `${keys.image}${uuid}`;
    await this.#rados(tool, 'setomapval', list, `${entry}${name}`, uuid);
    await this.note(tool, kind, uuid, { [keys.name]: name, 'csi.imagename': image, ...more });
    return { uuid, image };
  }

  /** Writes down more of an image. */
  async note(
    tool: CephTool,
    kind: JournalKind,
    uuid: string,
    entries: Readonly<Record<string, string>>,
  ): Promise<void> {
    const object = `${KINDS[kind].entry}${uuid}`;
    for (const [key, value] of Object.entries(entries))
      await this.#rados(tool, 'setomapval', object, key, value);
  }

  /** What was reserved under this uuid. */
  async read(
    tool: CephTool,
    kind: JournalKind,
    uuid: string,
  ): Promise<{ name: string; image: string; source: string | undefined } | undefined> {
    const { entry, ...keys } = KINDS[kind];
    const name = await this.#value(tool, `${entry}${uuid}`, keys.name);
    if (name === undefined) return undefined;
    const image = await this.#value(tool, `${entry}${uuid}`, 'csi.imagename');
    const source = kind === 'snapshot' ? await this.#value(tool, `${entry}${uuid}`, 'csi.source') : undefined;
    return { name, image: image ?? `${keys.image}${uuid}`, source };
  }

  async release(tool: CephTool, kind: JournalKind, uuid: string, name: string): Promise<void> {
    const { list, entry } = KINDS[kind];
    await this.#rados(tool, 'rm', `${entry}${uuid}`).catch(ignoreMissing);
    await this.#rados(tool, 'rmomapkey', list, `${entry}${name}`);
  }

  async #value(tool: CephTool, object: string, key: string): Promise<string | undefined> {
    const dump = await this.#rados(tool, 'getomapval', object, key).catch(ignoreMissing);
    if (dump?.startsWith('value (') !== true) return undefined;
    const bytes = [...dump.matchAll(/^[0-9a-f]{8} ((?: {1,2}[0-9a-f]{2}){1,16})/gm)].map(([, hex = '']) =>
      Buffer.from(hex.replaceAll(' ', ''), 'hex'),
    );
    return Buffer.concat(bytes).toString('utf8');
  }

  #rados(tool: CephTool, ...args: string[]): Promise<string> {
    return tool('rados', '--pool', this.#pool, ...args);
  }
}

/** For what may be gone already: undefined in place of Ceph's "no such", which rados prints on stdout. */
export function ignoreMissing(error: unknown): undefined {
  const failure = commandFailure(error);
  const said = `${failure?.stderr ?? ''}${failure?.stdout ?? ''}`;
  if (!/No such (file|key)|\(2\)/.test(said)) throw error;
  return undefined;
}
