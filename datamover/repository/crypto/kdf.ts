import { DatamoverError } from '../../errors.ts';
import type { MasterKey } from '../types.ts';
import { scrypt64, type KdfParameters } from './scrypt.ts';

export type { KdfParameters } from './scrypt.ts';

/** 32 MiB a lane and 0.1 to 0.2 CPU-seconds: OWASP's recommendation for this amount of memory, and within restic's own 60 MiB. */
export const DEFAULT_KDF: KdfParameters = { N: 32768, r: 8, p: 3 };

/**
 * What a key file may ask for. Key files are not authenticated before the derivation, so a hostile one must not be able to eat
 * the machine: 512 MiB (rustic's default takes 128 MiB) and sixteen times rustic's work.
 */
export const MAX_KDF_MEMORY = 512 * 1024 * 1024;
export const MAX_KDF_WORK = 2 ** 24;
const MAX_SALT = 1024;

export function checkKdf({ N, r, p }: KdfParameters, salt: Uint8Array, subject: string): void {
  const refuse = (cause: string): never => {
    throw new DatamoverError({
      operation: 'derive key',
      subject,
      cause,
      hint: 'the key file is damaged or hostile',
    });
  };
  if (![N, r, p].every((value) => Number.isSafeInteger(value) && value > 0)) {
    refuse('scrypt parameters must be positive whole numbers');
  }
  if (N < 2 || !Number.isInteger(Math.log2(N))) refuse(`scrypt N=${N} is not a power of two`);
  if (N >= 2 ** (16 * r)) refuse(`scrypt N=${N} is more than r=${r} allows (RFC 7914 section 2)`);
  if (128 * r * (N + p) > MAX_KDF_MEMORY)
    refuse(`scrypt N=${N} r=${r} p=${p} wants more than 512 MiB of memory`);
  if (N * r * p > MAX_KDF_WORK)
    refuse(`scrypt N=${N} r=${r} p=${p} wants more work than any honest key file`);
  if (salt.length === 0 || salt.length > MAX_SALT) refuse(`a salt of ${salt.length} bytes is not plausible`);
}

/** The user key of a password: 64 derived bytes, read as AES-256 key, MAC k and MAC r. */
export async function deriveKey(
  password: string,
  salt: Uint8Array,
  parameters: KdfParameters,
  subject = 'password',
): Promise<MasterKey> {
  checkKdf(parameters, salt, subject);
  try {
    return splitKey(await scrypt64(password, salt, parameters));
  } catch (cause) {
    throw new DatamoverError({ operation: 'derive key', subject, cause });
  }
}

/** 64 bytes as the three keys of a `MasterKey`, r masked. */
export function splitKey(bytes: Uint8Array): MasterKey {
  if (bytes.length !== 64) throw new RangeError(`a key has 64 bytes, not ${bytes.length}`);
  return { encrypt: bytes.slice(0, 32), macK: bytes.slice(32, 48), macR: maskR(bytes.slice(48, 64)) };
}

/** Clears the bits that Poly1305 wants clear: the top four of bytes 3, 7, 11, 15 and the low two of 4, 8, 12. */
export function maskR(r: Uint8Array): Uint8Array {
  const masked = Uint8Array.from(r);
  for (const i of [3, 7, 11, 15]) masked[i] = (masked[i] ?? 0) & 0x0f;
  for (const i of [4, 8, 12]) masked[i] = (masked[i] ?? 0) & 0xfc;
  return masked;
}
