import { randomBytes } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import { isAuthentic, openUnchecked, seal } from './crypto/cipher.ts';
import { checkKdf, DEFAULT_KDF, deriveKey, maskR, splitKey, type KdfParameters } from './crypto/kdf.ts';
import {
  asObject,
  base64Field,
  countField,
  encodeDocument,
  malformed,
  parseDocument,
  stringField,
  toBase64,
  type JsonObject,
} from './document.ts';
import type { MasterKey } from './types.ts';

/**
 * A key file: plain JSON that holds the master key, sealed with a key derived from one password. A repository has one for each
 * password. Everything but `data` is readable by anybody who can list the store.
 */
export interface KeyFile extends KdfParameters {
  readonly created: string;
  readonly username: string;
  readonly hostname: string;
  readonly kdf: 'scrypt';
  readonly salt: Uint8Array;
  /** The sealed master key. */
  readonly data: Uint8Array;
}

const SALT_LENGTH = 64;

/** Who made a key, for people who look at the list of keys. */
export interface KeyOwner {
  readonly username?: string;
  readonly hostname?: string;
}

export function newMasterKey(): MasterKey {
  return splitKey(randomBytes(64));
}

/** Seals the master key with a password. */
export async function createKeyFile(
  master: MasterKey,
  password: string,
  owner: KeyOwner = {},
  parameters: KdfParameters = DEFAULT_KDF,
): Promise<KeyFile> {
  const salt = randomBytes(SALT_LENGTH);
  const userKey = await deriveKey(password, salt, parameters);
  const plain = encodeDocument({
    mac: { k: toBase64(master.macK), r: toBase64(master.macR) },
    encrypt: toBase64(master.encrypt),
  });
  return {
    created: new Date().toISOString(),
    username: owner.username ?? currentUser(),
    hostname: owner.hostname ?? hostname(),
    kdf: 'scrypt',
    ...parameters,
    salt,
    data: seal(userKey, plain),
  };
}

/** The master key; `undefined` where the password is not this file's. Fails where the file itself cannot be right. */
export async function openKeyFile(
  file: KeyFile,
  password: string,
  subject: string,
): Promise<MasterKey | undefined> {
  const userKey = await deriveKey(password, file.salt, file, subject);
  if (!isAuthentic(userKey, file.data)) return undefined;
  const document = parseDocument(openUnchecked(userKey, file.data), subject);
  const mac = asObject(document['mac'], subject, 'field mac');
  return {
    encrypt: keyBytes(document, 'encrypt', 32, subject),
    macK: keyBytes(mac, 'k', 16, subject),
    macR: maskR(keyBytes(mac, 'r', 16, subject)),
  };
}

export function encodeKeyFile(file: KeyFile): Uint8Array<ArrayBuffer> {
  return encodeDocument({
    created: file.created,
    username: file.username,
    hostname: file.hostname,
    kdf: file.kdf,
    N: file.N,
    r: file.r,
    p: file.p,
    salt: toBase64(file.salt),
    data: toBase64(file.data),
  });
}

/** Reads a key file and checks its derivation parameters against the bounds of `kdf.ts`. */
export function decodeKeyFile(bytes: Uint8Array, subject: string): KeyFile {
  const document = parseDocument(bytes, subject);
  const kdf = stringField(document, 'kdf', subject);
  if (kdf !== 'scrypt') throw malformed(subject, 'field kdf is not "scrypt"');
  const file: KeyFile = {
    created: note(document, 'created'),
    username: note(document, 'username'),
    hostname: note(document, 'hostname'),
    kdf,
    N: countField(document, 'N', subject),
    r: countField(document, 'r', subject),
    p: countField(document, 'p', subject),
    salt: base64Field(document, 'salt', subject),
    data: base64Field(document, 'data', subject),
  };
  checkKdf(file, file.salt, subject);
  return file;
}

/** What is there for people only; rustic writes `null` for what it does not know. */
function note(document: JsonObject, name: string): string {
  const value = document[name];
  return typeof value === 'string' ? value : '';
}

function keyBytes(object: JsonObject, name: string, length: number, subject: string): Uint8Array {
  const bytes = base64Field(object, name, subject);
  if (bytes.length !== length)
    throw malformed(subject, `field ${name} has ${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function currentUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that no passwd file knows; the name is for people only.
    return '';
  }
}
