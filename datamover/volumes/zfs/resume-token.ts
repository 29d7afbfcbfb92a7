import { inflateSync } from 'node:zlib';
import { DatamoverError } from '../../errors.ts';
import { readNvlist } from './nvlist.ts';

/** How far an interrupted receive came: everything before this place of this stream is there. Guids are decimal. */
export interface ResumePoint {
  readonly toGuid: string;
  readonly fromGuid: string | undefined;
  readonly object: number;
  /** Bytes of that object. */
  readonly offset: number;
  /** Of the stream, that were received. */
  readonly bytes: number;
}

/**
 * Reads `receive_resume_token` (OpenZFS, module/zfs/dsl_dataset.c, get_receive_resume_token_impl): version, checksum, length
 * of the unpacked list, and the list, packed with zlib, all hexadecimal with dashes between them.
 */
export function readResumeToken(token: string): ResumePoint {
  const [version, , length, hex] = token.split('-');
  try {
    if (version !== '1' || hex === undefined) throw new Error(`version ${version ?? ''} is unknown`);
    const list = readNvlist(inflateSync(Buffer.from(hex, 'hex'), { maxOutputLength: 1 << 20 }));
    const field = (name: string): bigint | undefined => {
      const value = list.get(name);
      return typeof value === 'bigint' ? value : undefined;
    };
    const [toGuid, object, offset] = [field('toguid'), field('object'), field('offset')];
    if (toGuid === undefined || object === undefined || offset === undefined) {
      throw new Error(`it does not tell where to go on (${length ?? ''} bytes)`);
    }
    const fromGuid = field('fromguid') ?? 0n;
    return {
      toGuid: String(toGuid),
      fromGuid: fromGuid === 0n ? undefined : String(fromGuid),
      object: Number(object),
      offset: Number(offset),
      bytes: Number(field('bytes') ?? 0n),
    };
  } catch (cause) {
    throw new DatamoverError({
      operation: 'read ZFS resume token',
      cause,
      hint: 'zfs receive -A gives up what was received, and the restore begins anew',
    });
  }
}
