import { DatamoverError } from '../../errors.ts';

/** What somebody may have set on a volume and wants to have again. */
export const CARRIED = [
  ...[
    'recordsize',
    'compression',
    'checksum',
    'copies',
    'dedup',
    'xattr',
    'acltype',
    'atime',
    'quota',
    'refquota',
  ],
  ...['reservation', 'refreservation', 'logbias', 'primarycache', 'sync', 'snapdev'],
];

/** Of recorded properties those that somebody had set, as `zfs` takes them. */
export function carried(properties: unknown, names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  if (typeof properties !== 'object' || properties === null) return found;
  const known = properties as Partial<Record<string, unknown>>;
  for (const name of names) {
    const property = known[name];
    if (typeof property !== 'object' || property === null) continue;
    const { value, source } = property as { value?: unknown; source?: unknown };
    const isSet = source === 'local' || source === 'received';
    if (isSet && typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value)) found[name] = value;
  }
  return found;
}

/** Native and user properties (zfsprops(7)); what a new volume must not be given: its size and blocks have wishes of their own. */
const NAME = /^[a-z0-9][a-z0-9:._-]{0,255}$/;
const OWN = ['volsize', 'volblocksize', 'readonly', 'volmode'];

/** @throws DatamoverError (usage) that names a property which `zfs` would not take, or that the restore itself decides on. */
export function checkProperties(location: string, properties: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(properties)) {
    const cause = strangeness(name, value);
    if (cause === undefined) continue;
    throw new DatamoverError({ operation: 'restore to', subject: location, cause, kind: 'usage' });
  }
}

function strangeness(name: string, value: string): string | undefined {
  if (!NAME.test(name)) return `${JSON.stringify(name)} is no property of ZFS`;
  if (OWN.includes(name)) return `${name} cannot be wished for`;
  const isText = /^\P{Cc}{1,1024}$/u.test(value);
  return isText ? undefined : `the value of ${name} is none`;
}
