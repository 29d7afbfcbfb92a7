import { DatamoverError } from '../../errors.ts';
import { commandFailure, run } from '../../process/spawn.ts';
import { accessOptions, type RbdConnection } from './command.ts';
import { checkImageName, type ImageName } from './image-name.ts';

/** What a CSI handle of ceph-csi points at. */
export interface CsiObject {
  readonly kind: 'snapshot' | 'volume';
  readonly poolId: number;
  readonly uuid: string;
  /** The namespace of the pool that ceph-csi's configuration gives the cluster. */
  readonly radosNamespace?: string;
}

/** The image behind a handle. */
export interface CsiImage {
  readonly name: ImageName;
  /** The volume that a snapshot was taken of; it may be deleted meanwhile. */
  readonly source?: ImageName;
}

const OPERATION = 'look up in the journal of ceph-csi';

/**
 * Asks ceph-csi's journal, which lies beside the images as omap of objects `csi.snap.<uuid>` and `csi.volume.<uuid>`: keys
 * `csi.imagename` and, of a snapshot, `csi.source`. Without the first the image has the default name.
 */
export async function findCsiImage(
  connection: RbdConnection,
  object: CsiObject,
  signal?: AbortSignal,
): Promise<CsiImage> {
  const pool = await poolName(connection, object.poolId, signal);
  const place: Omit<ImageName, 'image'> = {
    pool,
    ...(object.radosNamespace === undefined ? {} : { namespace: object.radosNamespace }),
  };
  const journal = new Journal(connection, place, object, signal);
  const prefix = object.kind === 'snapshot' ? 'csi-snap-' : 'csi-vol-';
  const keys = await journal.keys();
  const image = keys.has('csi.imagename') ? await journal.value('csi.imagename') : `${prefix}${object.uuid}`;
  const source =
    object.kind === 'snapshot' && keys.has('csi.source') ? await journal.value('csi.source') : undefined;
  return {
    name: checkImageName({ ...place, image }),
    ...(source === undefined ? {} : { source: checkImageName({ ...place, image: source }) }),
  };
}

async function poolName(connection: RbdConnection, poolId: number, signal?: AbortSignal): Promise<string> {
  const patience = String(Math.max(1, Math.ceil(connection.patience ?? 30)));
  const subject = `pool ${poolId}`;
  const { stdout } = await run({
    file: 'ceph',
    args: [
      ...['osd', 'lspools', '--format', 'json', '--connect-timeout', patience],
      ...accessOptions(connection),
    ],
    operation: OPERATION,
    subject,
    ...(signal === undefined ? {} : { signal }),
  });
  const pools: unknown = JSON.parse(stdout);
  const list: unknown[] = Array.isArray(pools) ? pools : [];
  const named = list.find((pool) => fieldOf(pool, 'poolnum') === poolId);
  const name = fieldOf(named, 'poolname');
  if (typeof name === 'string') return name;
  throw new DatamoverError({
    operation: OPERATION,
    subject,
    cause: 'the cluster has no pool of this number',
    hint: 'check that the handle belongs to this cluster',
  });
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === field)?.[1]
    : undefined;
}

/** The journal's object of one volume or snapshot. */
class Journal {
  readonly #connection: RbdConnection;
  readonly #place: Omit<ImageName, 'image'>;
  readonly #object: string;
  readonly #signal: AbortSignal | undefined;

  constructor(
    connection: RbdConnection,
    place: Omit<ImageName, 'image'>,
    { kind, uuid }: CsiObject,
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#place = place;
    this.#object = `csi.${kind === 'snapshot' ? 'snap' : 'volume'}.${uuid}`;
    this.#signal = signal;
  }

  async keys(): Promise<Set<string>> {
    const lines = await this.#rados('listomapkeys', this.#object);
    return new Set(lines.split('\n').filter((line) => line !== ''));
  }

  async value(key: string): Promise<string> {
    // A file of its own would be the other way to have the value: rados cannot write into our pipe by a path.
    return fromHexDump(await this.#rados('getomapval', this.#object, key), `${key} of ${this.#object}`);
  }

  async #rados(...args: string[]): Promise<string> {
    const { pool, namespace } = this.#place;
    const patience = String(Math.max(1, Math.ceil(this.#connection.patience ?? 30)));
    const where = namespace === undefined ? [] : ['--namespace', namespace];
    try {
      const { stdout } = await run({
        file: 'rados',
        args: [
          ...['--pool', pool, ...where, '--client-mount-timeout', patience],
          ...accessOptions(this.#connection),
          ...args,
        ],
        operation: OPERATION,
        subject: `${pool}/${this.#object}`,
        ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      });
      return stdout;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #explain(error: unknown): unknown {
    const failure = commandFailure(error);
    if (failure?.stderr.includes('No such file or directory') !== true) return error;
    return new DatamoverError({
      operation: OPERATION,
      subject: `${this.#place.pool}/${this.#object}`,
      cause: 'ceph-csi knows no such volume or snapshot',
      hint: 'it was deleted, or the handle belongs to another cluster or namespace of the pool',
    });
  }
}

/** Reads `value (18 bytes) :` and lines of `00000000  63 73 69 2d …  |csi-…|`. */
function fromHexDump(dump: string, subject: string): string {
  const length = /^value \((\d+) bytes\) :/m.exec(dump)?.[1];
  const bytes = [...dump.matchAll(/^[0-9a-f]{8} ((?: {1,2}[0-9a-f]{2}){1,16})/gm)].flatMap(([, hex = '']) =>
    hex
      .trim()
      .split(/ +/)
      .map((digits) => Number.parseInt(digits, 16)),
  );
  if (length === undefined || bytes.length !== Number(length)) {
    const cause = `rados printed ${bytes.length} bytes of ${length ?? 'an unknown number'}`;
    throw new DatamoverError({ operation: OPERATION, subject, cause });
  }
  return Buffer.from(bytes).toString('utf8');
}
