import { DatamoverError } from '../../errors.ts';
import type { SourceVolume } from '../driver.ts';
import { findSnapshot, number, text } from './inspect.ts';
import { parseZfsName } from './name.ts';
import { recordOf, type ZfsRecord } from './record-facts.ts';

/** A snapshot that is there. */
export interface ZfsSource extends SourceVolume {
  readonly dataset: string;
  readonly record: ZfsRecord & Readonly<Record<string, unknown>>;
}

const OPERATION = 'back up';

/**
 * Looks at a snapshot. A volume becomes an image, a filesystem a stream; `raw` makes a stream of anything that is encrypted,
 * which needs no key, and changes nothing for what is not: there `send -w` would be `-L -e -c`, and `-e` loses attributes.
 */
export async function identifySnapshot(
  location: string,
  raw: boolean,
  signal?: AbortSignal,
): Promise<ZfsSource> {
  const { dataset, snapshot } = parseZfsName(location);
  if (snapshot === undefined) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: location,
      cause: 'it names no snapshot, and a volume that changes cannot be read as it is at one moment',
      hint: `make one: zfs snapshot ${location}@backup`,
      kind: 'usage',
    });
  }
  const found = await findSnapshot({ dataset, snapshot }, OPERATION, signal);
  if (found === undefined) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: location,
      cause: `there is no ${dataset}`,
      hint: 'zfs list shows what there is',
    });
  }
  const { volume, own } = found;
  const encrypted = (text(volume.properties, 'encryption') ?? 'off') !== 'off';
  const isRaw = raw && encrypted;
  if (encrypted && !raw && text(volume.properties, 'keystatus') !== 'available') {
    throw new DatamoverError({
      operation: OPERATION,
      subject: location,
      cause: 'it is encrypted, and its key is not loaded',
      hint: `zfs load-key ${dataset}, or ask for a raw backup, which stays encrypted and restores to ZFS alone`,
    });
  }
  const image = volume.type === 'volume' && !isRaw;
  const bytes = image ? number(own, 'volsize') : number(own, 'referenced');
  if (bytes === undefined) throw new Error(`zfs tells no size of ${location}`);
  return {
    driver: 'zfs',
    location,
    dataset,
    format: image ? 'image' : 'stream',
    bytes,
    record: recordOf(location, own, volume, isRaw),
  };
}
