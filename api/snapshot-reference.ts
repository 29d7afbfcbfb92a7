import { NAME, NAMESPACE_NAME } from './references.ts';

/**
 * A backup as one printable string, for Velero's `DataUpload.status.snapshotID`: Velero hands nothing else of ours on to a restore
 * or a deletion, which may run in another cluster.
 *
 *     datamover.io/v1?repository=s3:https://minio:9000/backups/shop&snapshot=0123…&protected=velero&secret=default-volsync-restic
 *       &namespace=shop&claim=db&driver=rbd&format=image&bytes=21474836480
 *
 * Version 1: these fields in this order, each once, values as encodeURIComponent writes them save `/` and `:`. Another version has
 * another word before the question mark.
 */
export interface SnapshotReference {
  /** The repository itself, in restic's spelling and without credentials. */
  readonly repository: string;
  /** The restic snapshot, all 64 digits. */
  readonly snapshotID: string;
  /** Where the secret or the BackupTarget lies. */
  readonly protectedNamespace: string;
  readonly openedBy: { readonly secret: string } | { readonly target: string };
  /** The claim that was backed up. */
  readonly sourceNamespace: string;
  readonly claim: string;
  /** Of its volume. */
  readonly driver: 'zfs' | 'rbd' | 'file';
  readonly format: 'image' | 'stream';
  readonly bytes: number;
}

const VERSION = 'datamover.io/v1';
const LONGEST = 4096;
/** No user, no query: what follows the scheme and stands before the first slash has no `@`. */
const REPOSITORY = /^(s3:(https?:\/\/)?[^/?#@\s]+(\/[^/?#\s]+)+|(\/[^/?#\s]+)+)$/;

/** Throws an Error with what is wrong: what cannot be read back is not written. */
export function formatSnapshotReference(reference: SnapshotReference): string {
  const { openedBy } = reference;
  const text = `${VERSION}?${[
    ['repository', reference.repository],
    ['snapshot', reference.snapshotID],
    ['protected', reference.protectedNamespace],
    'secret' in openedBy ? ['secret', openedBy.secret] : ['target', openedBy.target],
    ['namespace', reference.sourceNamespace],
    ['claim', reference.claim],
    ['driver', reference.driver],
    ['format', reference.format],
    ['bytes', String(reference.bytes)],
  ]
    .map(([key = '', value = '']) => `${key}=${encode(value)}`)
    .join('&')}`;
  parseSnapshotReference(text);
  return text;
}

/** Throws an Error with what is wrong with the text. */
export function parseSnapshotReference(text: string): SnapshotReference {
  if (text === '') throw new Error('it is empty: the backup had failed');
  if (text.length > LONGEST) throw new Error(`it is longer than ${LONGEST} characters`);
  const mark = text.indexOf('?');
  const version = text.slice(0, Math.max(mark, 0));
  if (version !== VERSION) {
    throw new Error(
      version.startsWith('datamover.io/')
        ? `its version is ${version}, known is ${VERSION}`
        : `it does not begin with ${VERSION}: another data mover made it`,
    );
  }
  const fields = new Fields(text.slice(mark + 1));
  const repository = fields.take('repository', REPOSITORY);
  const snapshotID = fields.take('snapshot', /^[0-9a-f]{64}$/);
  const protectedNamespace = fields.take('protected', NAMESPACE);
  const openedBy =
    fields.next() === 'target'
      ? { target: fields.take('target', OBJECT) }
      : { secret: fields.take('secret', OBJECT) };
  const sourceNamespace = fields.take('namespace', NAMESPACE);
  const claim = fields.take('claim', OBJECT);
  const driver = fields.take('driver', /^(zfs|rbd|file)$/) as SnapshotReference['driver'];
  const format = fields.take('format', /^(image|stream)$/) as SnapshotReference['format'];
  const bytes = Number(fields.take('bytes', /^(0|[1-9][0-9]{0,15})$/));
  fields.end();
  if (!Number.isSafeInteger(bytes)) throw new Error('its bytes are too many');
  const claimed = { sourceNamespace, claim, driver, format, bytes };
  return { repository, snapshotID, protectedNamespace, openedBy, ...claimed };
}

const OBJECT = new RegExp(NAME.pattern ?? '');
const NAMESPACE = new RegExp(NAMESPACE_NAME.pattern ?? '');

/** The fields of a text, which must come in order. */
class Fields {
  readonly #parts: (readonly [key: string, value: string])[];

  constructor(query: string) {
    this.#parts = query.split('&').map((part) => {
      const equals = part.indexOf('=');
      return [part.slice(0, equals), part.slice(equals + 1)];
    });
  }

  /** The key of the next field. */
  next(): string | undefined {
    return this.#parts[0]?.[0];
  }

  take(key: string, pattern: RegExp): string {
    const [found, encoded = ''] = this.#parts.shift() ?? [];
    if (found !== key) throw new Error(`it has no ${key} where one belongs`);
    const value = decode(encoded);
    // One spelling of each reference: two that are equal as text are equal.
    if (value === undefined || encode(value) !== encoded)
      throw new Error(`its ${key} is not encoded as it should be`);
    if (!pattern.test(value) || value.length > 1024)
      throw new Error(`its ${key} cannot be ${JSON.stringify(value.slice(0, 100))}`);
    return value;
  }

  end(): void {
    if (this.#parts.length > 0) throw new Error('it goes on where it should end');
  }
}

function encode(value: string): string {
  return encodeURIComponent(value).replaceAll('%2F', '/').replaceAll('%3A', ':');
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
