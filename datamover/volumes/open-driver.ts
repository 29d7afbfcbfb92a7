import { DatamoverError } from '../errors.ts';
import type { DriverName, VolumeDriver } from './driver.ts';
import { FileDriver } from './file/driver.ts';
import type { RbdConnection } from './rbd/command.ts';
import { RbdDriver } from './rbd/driver.ts';
import { ZfsDriver, type ZfsOptions } from './zfs/driver.ts';

export type { ZfsOptions } from './zfs/driver.ts';

/** How storages are reached and read. Printable: keys and passwords are in files that are named here. */
export interface StorageOptions {
  readonly ceph?: RbdConnection;
  readonly zfs?: ZfsOptions;
}

/** A volume on a storage: the driver, and the volume's name in the storage's own spelling. */
export interface OpenedDriver {
  readonly driver: VolumeDriver;
  readonly location: string;
}

interface Scheme {
  /** How a volume is written, for messages. */
  readonly form: string;
  open(options: StorageOptions): VolumeDriver;
}

/** A new storage is one entry here. */
const SCHEMES: Readonly<Partial<Record<DriverName, Scheme>>> = {
  file: { form: 'file:PATH', open: () => new FileDriver() },
  rbd: { form: 'rbd:POOL/IMAGE[@SNAP]', open: ({ ceph = {} }) => new RbdDriver(ceph) },
  zfs: { form: 'zfs:POOL/VOLUME[@SNAPSHOT]', open: ({ zfs = {} }) => new ZfsDriver(zfs) },
};

/**
 * The driver for `SCHEME:LOCATION`. Nothing is asked of the storage yet.
 * @throws DatamoverError (usage) where there is no such scheme, or nothing behind it.
 */
export function openDriver(url: string, options: StorageOptions = {}): OpenedDriver {
  const [, name = '', location = ''] = /^([a-z]+):(.*)$/s.exec(url) ?? [];
  const scheme = Object.entries(SCHEMES).find(([known]) => known === name)?.[1];
  if (scheme === undefined) throw unnamed(url, `a volume is written ${volumeForms()}`);
  if (location === '') throw unnamed(url, `it names no volume: write ${scheme.form}`);
  return { driver: scheme.open(options), location };
}

/** `file:PATH or rbd:…`: how volumes are written. */
export function volumeForms(): string {
  const forms = Object.values(SCHEMES).map(({ form }) => form);
  return [forms.slice(0, -1).join(', '), ...forms.slice(-1)].filter((part) => part !== '').join(' or ');
}

function unnamed(url: string, cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'find the driver of',
    subject: JSON.stringify(url),
    cause,
    kind: 'usage',
  });
}
