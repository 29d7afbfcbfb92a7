import { DatamoverError } from '../../errors.ts';

/** A dataset (filesystem or volume), or one of its snapshots. */
export interface ZfsName {
  /** `pool/folder/volume`. */
  readonly dataset: string;
  readonly snapshot?: string;
}

/**
 * Narrower than ZFS, which also takes blanks: letters, digits and . _ : - in every part, and a pool that begins with a letter
 * (OpenZFS, module/zcommon/zfs_namecheck.c). So no name can be taken for an option of a command.
 */
const PART = /^[A-Za-z0-9._:-]+$/;
const POOL = /^[A-Za-z][A-Za-z0-9._:-]*$/;
/** ZFS_MAX_DATASET_NAME_LEN, its NUL not counted. */
const LONGEST = 255;

/** Reads `pool/volume` or `pool/volume@snapshot`. Throws for anything else. */
export function parseZfsName(text: string): ZfsName {
  const [dataset = '', snapshot, ...more] = text.split('@');
  if (more.length > 0 || text.length > LONGEST) {
    throw unnamed(text, `it is not of the form pool/volume@snapshot, ${LONGEST} characters at most`);
  }
  const [pool = '', ...folders] = dataset.split('/');
  if (!POOL.test(pool)) throw unnamed(text, `${JSON.stringify(pool)} is no name of a pool`);
  for (const part of [...folders, ...(snapshot === undefined ? [] : [snapshot])]) {
    if (!PART.test(part) || part === '.' || part === '..') {
      throw unnamed(text, `its part ${JSON.stringify(part)} is no name`);
    }
  }
  return { dataset, ...(snapshot !== undefined && { snapshot }) };
}

/** Reads the name of a dataset, not of a snapshot. */
export function parseDataset(text: string): string {
  const { dataset, snapshot } = parseZfsName(text);
  if (snapshot !== undefined) throw unnamed(text, 'it names a snapshot, not a volume');
  return dataset;
}

/** The dataset that this one lies in; undefined for a pool. */
export function parentOf(dataset: string): string | undefined {
  const end = dataset.lastIndexOf('/');
  return end < 0 ? undefined : dataset.slice(0, end);
}

/** Of a dataset or a snapshot. */
export function poolOf(name: string): string {
  return /^[^/@#]*/.exec(name)?.[0] ?? '';
}

/** A snapshot's guid as ZFS prints it and as `volume.json` keeps it: an unsigned 64-bit number, decimal. */
export function isGuid(value: unknown): value is string {
  return typeof value === 'string' && /^[1-9][0-9]{0,19}$/.test(value);
}

function unnamed(text: string, cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'name ZFS volume',
    subject: JSON.stringify(text),
    cause,
    hint: 'letters, digits and . _ : - make a name, for example tank/db@monday',
    kind: 'usage',
  });
}
