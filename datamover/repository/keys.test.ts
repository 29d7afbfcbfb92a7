import { beforeAll, describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { MemoryStore } from '../store/memory.ts';
import { decodeConfig } from './config.ts';
import { seal } from './crypto/cipher.ts';
import { sha256 } from './id.ts';
import { executeInit, planInit } from './init.ts';
import { createKeyFile, decodeKeyFile, encodeKeyFile, newMasterKey, openKeyFile } from './key-file.ts';
import {
  addKey,
  changePassword,
  executeKeyRemoval,
  listKeys,
  MAX_KEYS_TRIED,
  planKeyRemoval,
  type KeyRing,
} from './keys.ts';
import { Repository } from './repository.ts';

const QUICK = { N: 16, r: 1, p: 1 };
const PASSWORD = 'correct horse';

/** What a call fails with, as the people and the exit code see it. */
async function failure(promise: Promise<unknown>): Promise<{ kind: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof DatamoverError) return { kind: error.kind, message: error.message };
    throw error;
  }
  throw new Error('it did not fail');
}

async function names(store: MemoryStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list(['keys'])) found.push(name);
  return found;
}

async function saveKey(store: MemoryStore, bytes: Uint8Array): Promise<void> {
  await store.save({ type: 'keys', name: sha256(bytes) }, bytes);
}

describe('key files', () => {
  test('open with their password alone', async () => {
    const master = newMasterKey();
    const file = await createKeyFile(master, PASSWORD, { username: 'u', hostname: 'h' }, QUICK);
    const again = decodeKeyFile(encodeKeyFile(file), 'key');
    expect(await openKeyFile(again, PASSWORD, 'key')).toEqual(master);
    expect(await openKeyFile(again, `${PASSWORD} `, 'key')).toBeUndefined();
    expect([again.username, again.hostname]).toEqual(['u', 'h']);
  });

  test('F-05 hold no word of the master key in the clear', async () => {
    const master = newMasterKey();
    const text = Buffer.from(encodeKeyFile(await createKeyFile(master, PASSWORD, {}, QUICK))).toString();
    for (const part of [master.encrypt, master.macK, master.macR]) {
      expect(text).not.toContain(Buffer.from(part).toString('base64'));
    }
    expect(text).not.toContain(PASSWORD);
  });

  test.each([
    ['kdf', { kdf: 'argon2' }],
    ['N', { N: '16' }],
    ['salt', { salt: '***' }],
    ['data', { data: undefined }],
    ['r', { r: 1.5 }],
  ])('F-33 a bad %s is named', async (field, change) => {
    const file = await createKeyFile(newMasterKey(), PASSWORD, {}, QUICK);
    const json = { ...(JSON.parse(Buffer.from(encodeKeyFile(file)).toString()) as object), ...change };
    expect(() => decodeKeyFile(Buffer.from(JSON.stringify(json)), 'key 1a2b3c4d')).toThrow(
      new RegExp(`^read key 1a2b3c4d: field ${field} `),
    );
  });

  test('F-33 a sealed master key of wrong lengths is refused, not read out of bounds', async () => {
    const master = newMasterKey();
    const file = await createKeyFile({ ...master, macK: master.macK.subarray(0, 15) }, PASSWORD, {}, QUICK);
    await expect(openKeyFile(file, PASSWORD, 'key 1')).rejects.toThrow(
      'read key 1: field k has 15 bytes instead of 16',
    );
  });
});

describe('init', () => {
  test('makes a repository that opens; the plan says what will be', async () => {
    const store = new MemoryStore();
    const plan = await planInit(store, { polynomial: '25b468838dcb75', kdf: QUICK });
    expect(plan).toMatchObject({ action: 'init', location: 'memory', interruptedKeys: [] });
    expect(await failure(Repository.open(store, PASSWORD))).toMatchObject({ kind: 'no-repository' });
    await executeInit(store, plan, PASSWORD);
    const repository = await Repository.open(store, PASSWORD);
    expect(repository.config).toEqual(plan.config);
    expect(repository.config.chunker_polynomial).toBe('25b468838dcb75');
  });

  test('F-08 never goes over a repository, nor over what is left of one', async () => {
    const store = new MemoryStore();
    const plan = await planInit(store, { kdf: QUICK });
    await executeInit(store, plan, PASSWORD);
    expect((await failure(planInit(store, { kdf: QUICK }))).message).toContain(
      'there is a repository already',
    );
    expect((await failure(executeInit(store, plan, PASSWORD))).message).toContain(
      'somebody else has just done it',
    );
    await store.remove({ type: 'config', name: '' });
    await store.save({ type: 'snapshots', name: 'ab'.repeat(32) }, Buffer.from('x'));
    expect((await failure(planInit(store, { kdf: QUICK }))).message).toContain(
      'there are backups but no config',
    );
  });

  test('takes up an init that was interrupted between key and config, with its password only', async () => {
    const store = new MemoryStore();
    await executeInit(store, await planInit(store, { kdf: QUICK }), PASSWORD);
    const before = await names(store);
    await store.remove({ type: 'config', name: '' });
    expect((await failure(executeInit(store, await planInit(store, { kdf: QUICK }), 'another'))).kind).toBe(
      'wrong-password',
    );
    await executeInit(store, await planInit(store, { kdf: QUICK }), PASSWORD);
    expect(await names(store)).toEqual(before);
    expect((await Repository.open(store, PASSWORD)).keyId).toBe(before[0]);
  });

  test('refuses an empty password', async () => {
    const store = new MemoryStore();
    expect((await failure(executeInit(store, await planInit(store, { kdf: QUICK }), ''))).message).toContain(
      'the password is empty',
    );
    expect(await names(store)).toEqual([]);
  });
});

describe('opening', () => {
  let store: MemoryStore;
  let ring: KeyRing;
  beforeAll(async () => {
    store = new MemoryStore();
    ring = await Repository.init(store, PASSWORD, { kdf: QUICK });
  });

  test('F-06 a wrong password is `wrong-password`, no config is `no-repository`', async () => {
    expect(await failure(Repository.open(store, 'wrong'))).toEqual({
      kind: 'wrong-password',
      message: 'open repository memory: wrong password: it opens no key file',
    });
    expect(await failure(Repository.open(new MemoryStore(), PASSWORD))).toMatchObject({
      kind: 'no-repository',
    });
  });

  test('F-06 a config without keys, and a damaged config, say so', async () => {
    const bare = new MemoryStore();
    await bare.save({ type: 'config', name: '' }, seal(ring.key, Buffer.from('{}')));
    expect((await failure(Repository.open(bare, PASSWORD))).message).toContain('not a single key file');
    for (const length of [0, 20]) {
      await bare.save({ type: 'config', name: '' }, new Uint8Array(length));
      expect((await failure(Repository.open(bare, PASSWORD))).message).toContain(
        `config file is damaged: it has ${length} bytes`,
      );
    }
  });

  test('F-33 passes over damaged key files and names them if no other opens', async () => {
    const other = new MemoryStore();
    await other.save({ type: 'config', name: '' }, await store.load({ type: 'config', name: '' }));
    await other.save({ type: 'keys', name: '00'.repeat(32) }, new Uint8Array(0));
    await saveKey(other, Buffer.from('{"kdf":"scrypt"'));
    const message = (await failure(Repository.open(other, PASSWORD))).message;
    expect(message).toContain('read key 00000000: its 0 bytes do not have the SHA-256 that names it');
    const good = await store.load({ type: 'keys', name: ring.keyId });
    await saveKey(other, good);
    expect((await Repository.open(other, PASSWORD)).keyId).toBe(ring.keyId);
    expect((await failure(Repository.open(other, 'wrong'))).message).toContain(
      'wrong password: it opens none of 3 key files, and 2 could not be read',
    );
  });

  test('F-04 the config is sealed but not compressed', async () => {
    const { open } = await import('./crypto/cipher.ts');
    const plain = open(ring.key, await store.load({ type: 'config', name: '' }));
    expect(Buffer.from(plain).toString()).toMatch(
      /^{"version":2,"id":"[0-9a-f]{64}","chunker_polynomial":"[0-9a-f]+"}$/,
    );
    expect(decodeConfig(plain, 'config').version).toBe(2);
  });

  test('tries twenty keys at most, the hinted one first', async () => {
    const crowded = new MemoryStore();
    await crowded.save({ type: 'config', name: '' }, await store.load({ type: 'config', name: '' }));
    for (let i = 0; i < MAX_KEYS_TRIED + 5; i++) {
      await saveKey(crowded, encodeKeyFile(await createKeyFile(newMasterKey(), `password ${i}`, {}, QUICK)));
    }
    const own = encodeKeyFile(await createKeyFile(ring.key, PASSWORD, {}, QUICK));
    await saveKey(crowded, own);
    const opened = await Repository.open(crowded, PASSWORD, { keyHint: sha256(own).slice(0, 8) });
    expect(opened.keyId).toBe(sha256(own));
    expect((await failure(Repository.open(crowded, 'wrong'))).message).toContain(
      'none of the first 20 of 26 key files',
    );
  });

  test('passes over a key that opens but belongs to another repository', async () => {
    const mixed = new MemoryStore();
    await mixed.save({ type: 'config', name: '' }, await store.load({ type: 'config', name: '' }));
    const stranger = encodeKeyFile(await createKeyFile(newMasterKey(), PASSWORD, {}, QUICK));
    await saveKey(mixed, stranger);
    expect((await failure(Repository.open(mixed, PASSWORD))).message).toContain(
      'it does not open the config',
    );
    await saveKey(mixed, await store.load({ type: 'keys', name: ring.keyId }));
    expect((await Repository.open(mixed, PASSWORD, { keyHint: sha256(stranger) })).keyId).toBe(ring.keyId);
  });
});

describe('passwords', () => {
  test('F-07 come and go, but never the one in use nor the last', async () => {
    const store = new MemoryStore();
    const ring: KeyRing = await Repository.init(store, PASSWORD, { kdf: QUICK });
    expect((await failure(planKeyRemoval(ring, ring.keyId))).message).toContain('it is the key in use');
    expect((await failure(planKeyRemoval({ ...ring, keyId: '' }, ring.keyId))).message).toContain(
      'it is the last key',
    );
    const second = await addKey(ring, 'second', { username: 'bob', hostname: 'b' });
    const other = await Repository.open(store, 'second');
    expect(other.keyId).toBe(second);
    expect(other.key).toEqual(ring.key);
    const entries = await listKeys(ring);
    expect(entries.map(({ id, current, file }) => [id, current, file.username === 'bob']).sort()).toEqual(
      [
        [ring.keyId, true, false],
        [second, false, true],
      ].sort(),
    );
    const plan = await planKeyRemoval(ring, second.slice(0, 10));
    expect(plan).toEqual({ action: 'remove key', id: second, remaining: 1 });
    await executeKeyRemoval(ring, plan);
    expect(await failure(Repository.open(store, 'second'))).toMatchObject({ kind: 'wrong-password' });
    expect((await failure(planKeyRemoval(ring, second))).message).toContain('there is no such key');
    expect((await failure(planKeyRemoval(ring, ''))).message).toContain('there is no such key');
  });

  test('change: the new key is there before the old one goes', async () => {
    const store = new MemoryStore();
    const ring: KeyRing = await Repository.init(store, PASSWORD, { kdf: QUICK });
    const id = await changePassword(ring, 'new password');
    expect(await names(store)).toEqual([id]);
    expect((await Repository.open(store, 'new password')).key).toEqual(ring.key);
    expect(await failure(Repository.open(store, PASSWORD))).toMatchObject({ kind: 'wrong-password' });
    expect((await failure(addKey(ring, ''))).kind).toBe('usage');
  });
});
