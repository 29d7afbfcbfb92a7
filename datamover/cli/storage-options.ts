import type { Command } from 'commander';
import { openDriver, type OpenedDriver, type StorageOptions } from '../volumes/open-driver.ts';
import { usage } from './settings.ts';

/** The options that tell how a storage is reached, as commander parses them. */
export interface StorageFlags {
  readonly cephConf?: string;
  readonly cephId?: string;
  readonly cephKeyring?: string;
  readonly raw?: boolean;
}

export function addStorageOptions(command: Command): Command {
  return command
    .option(
      '--ceph-conf <file>',
      'of rbd: the cluster’s configuration (default: /etc/ceph/ceph.conf) [CEPH_CONF]',
    )
    .option('--ceph-id <name>', 'of rbd: the cephx user, without client. (default: admin)')
    .option('--ceph-keyring <file>', "of rbd: the file with that user's key");
}

/** Finds the driver of `SCHEME:LOCATION`. An option that means nothing to it is a mistake; the environment is not. */
export function openStorage(
  operation: string,
  url: string,
  flags: StorageFlags,
  env: NodeJS.ProcessEnv,
): OpenedDriver {
  const opened = openDriver(url, storageOptions(flags, env));
  const { name } = opened.driver;
  const strange = name === 'rbd' ? undefined : cephFlag(flags);
  if (strange !== undefined) throw usage(operation, `${strange} is for rbd:, not for ${name}:`);
  if (flags.raw === true && name !== 'zfs') throw usage(operation, `--raw is for zfs:, not for ${name}:`);
  return opened;
}

/** At the end of a job, however it ended; nothing of what is no storage. */
export async function closeStorage(
  place: { readonly kind: string } | (Pick<OpenedDriver, 'driver'> & { readonly kind: 'driver' }),
): Promise<void> {
  if ('driver' in place) await place.driver.close();
}

/** For jobs that talk to no storage at all. */
export function refuseStorageFlags(operation: string, flags: StorageFlags, otherwise: string): void {
  const strange = cephFlag(flags) ?? (flags.raw === true ? '--raw' : undefined);
  if (strange !== undefined) throw usage(operation, `${strange} does not go together with ${otherwise}`);
}

function cephFlag({ cephConf, cephId, cephKeyring }: StorageFlags): string | undefined {
  const given = { '--ceph-conf': cephConf, '--ceph-id': cephId, '--ceph-keyring': cephKeyring };
  return Object.entries(given).find(([, value]) => value !== undefined)?.[0];
}

function storageOptions(flags: StorageFlags, env: NodeJS.ProcessEnv): StorageOptions {
  const conf = flags.cephConf ?? env['CEPH_CONF'];
  return {
    ceph: {
      ...(conf !== undefined && conf !== '' && { conf }),
      ...(flags.cephId !== undefined && { user: flags.cephId }),
      ...(flags.cephKeyring !== undefined && { keyring: flags.cephKeyring }),
    },
    zfs: { ...(flags.raw === true && { raw: true }) },
  };
}
